"""The fixtures that tests share, and the loops that they run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from fliqd import loop
from tests.support import FakeClock, RunningDaemon, Target, serve_target

settings.register_profile("fliqd", deadline=None)  # a time is never asserted
settings.load_profile("fliqd")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
ON_BOTH = ("api", "engine", "wire")  # what has to do with sockets and timers


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Run tests on the loop that the daemon runs on, and those that a loop may make a difference to on either."""
    uvloop = loop.factory()
    if uvloop is None:
        return {"asyncio": asyncio.SelectorEventLoop}
    if item.path.parent.name in ON_BOTH:
        return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop}
    return {"uvloop": uvloop}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with serve_target() as running:
        yield running


@pytest.fixture
def env() -> dict[str, str]:
    """What a test module sets in the environment of its daemon."""
    return {}


@pytest.fixture
async def fliqd(tmp_path: Path, clock: FakeClock, env: dict[str, str]) -> AsyncIterator[RunningDaemon]:
    daemon = RunningDaemon(tmp_path / "state", clock, env)
    await daemon.start()
    yield daemon
    await daemon.stop()
    await daemon.close()
