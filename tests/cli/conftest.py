"""One daemon for all that do not need their own, and targets."""

from collections.abc import Iterator

import pytest

from .running import Daemon, Target, serve, serve_target


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serve(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="session")
def sink() -> Iterator[Target]:
    """What the daemon calls."""
    with serve_target() as running:
        yield running


@pytest.fixture
def stranger() -> Iterator[Target]:
    """A server that is not fliqd."""
    with serve_target() as running:
        yield running
