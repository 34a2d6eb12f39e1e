"""The stores that the conformance suite runs against."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from fliqd.errors import FliqdError
from fliqd.store.base import Store
from fliqd.store.sqlite.store import SqliteStore


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    assert request.param == "sqlite"
    failures: list[FliqdError] = []
    opened = await open_sqlite(tmp_path / "fliqd.db", failures)
    yield opened
    await opened.close()
    assert failures == []


async def open_sqlite(path: Path, failures: list[FliqdError]) -> SqliteStore:
    numbers = count()
    return await SqliteStore.open(
        path,
        marker=path.with_name("store.marker"),
        durability="full",
        max_bytes=2**40,
        new_execution_id=lambda: f"exec_{next(numbers)}",
        new_event_id=lambda: f"evt_{next(numbers)}",
        on_fatal=failures.append,
    )
