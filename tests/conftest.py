"""The fixtures that tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import FakeClock, RunningDaemon, Target, serve_target

settings.register_profile("fliqd", deadline=None)  # a time is never asserted
settings.load_profile("fliqd")


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
