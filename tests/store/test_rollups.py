"""The sums of executions: kept in the transaction that ends them, bounded, and quick to read."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fliqd.core.model import JobStatus
from fliqd.core.rollups import BOUNDS_MS, DAY_HOURS, DAYS_KEPT, HOUR_MS, HOURS_KEPT, MOST_KEYS, OTHERS, Scope, Sums
from fliqd.store.base import JobFilter, Recorded, Store
from fliqd.store.sqlite import queries
from fliqd.store.sqlite import rollups as sqlite_rollups
from tests.store.conftest import open_sqlite
from tests.store.test_conformance import NOW, a_job, add, claim, finish, the_end

HOUR = NOW // HOUR_MS
DAY = HOUR - HOUR % DAY_HOURS


async def run(store: Store, *numbers: int, status: JobStatus = JobStatus.SUCCESS, **fields: Any) -> None:
    jobs = await claim(store, await add(store, *(a_job(number, **fields) for number in numbers)))
    await store.attempts.finish_all([the_end(job, status) for job in jobs])


async def counted(store: Store, scope: Scope = Scope.JOBS, *keys: str, from_hour: int = 0) -> dict[str, int]:
    """Return how many there are, by how they ended."""
    found = [sums for _, sums in await store.rollups.sums(scope, keys or (OTHERS,), from_hour=from_hour, hours=1)]
    numbers = {
        "success": sum(sums.succeeded for sums in found),
        "failed": sum(sums.failed for sums in found),
        "interrupted": sum(sums.interrupted for sums in found),
    }
    assert sum((await store.rollups.counts(scope, keys or (OTHERS,), from_hour=from_hour, hours=1)).values()) == sum(
        numbers.values()
    )
    return {name: number for name, number in numbers.items() if number}


async def test_an_outcome_is_added_with_it_and_outlives_its_job(store: Store) -> None:
    await run(store, 1, 2, queue="mail")
    await run(store, 3, status=JobStatus.FAILED)
    assert await counted(store) == {"success": 2, "failed": 1}
    assert await counted(store, Scope.QUEUE, "mail") == {"success": 2}
    assert await counted(store, Scope.HOST, "b:80", "a:80") == {"success": 2, "failed": 1}
    assert await counted(store, from_hour=HOUR) == {"success": 2, "failed": 1}
    assert await counted(store, from_hour=HOUR + 1) == {}
    await store.delete_finished(before_ms=None, limit=9)
    assert (await store.jobs(JobFilter(), before_pk=None, limit=9)).jobs == []
    assert await counted(store) == {"success": 2, "failed": 1}
    sums = Sums(slot=BOUNDS_MS.index(4), succeeded=2, failed=1, duration_ms=12, late_ms=3, late_max_ms=1)
    assert await store.rollups.sums(Scope.JOBS, [""], from_hour=0, hours=24) == [(DAY, sums)]


async def test_an_outcome_that_was_not_ours_is_not_added(store: Store) -> None:
    [job] = await claim(store, await add(store, a_job(1)))
    await finish(store, the_end(job))
    assert await store.attempts.finish_all([the_end(job), the_end(job)]) == [Recorded(ours=False)] * 2
    assert await counted(store) == {"success": 1}


async def test_an_interrupted_one_is_added_too(store: Store) -> None:
    await claim(store, await add(store, a_job(1), a_job(2)))
    assert await store.attempts.recover(now_ms=NOW, reason="it died") == 2
    assert await counted(store) == {"interrupted": 2}
    assert await counted(store, Scope.HOST, "a:80") == {"interrupted": 2}


async def test_only_so_many_are_told_apart_in_an_hour(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rollups, "MOST_KEYS", dict(MOST_KEYS) | {Scope.QUEUE: 2})
    for number, queue in enumerate("abcad"):
        await run(store, number, queue=queue)
    assert [await counted(store, Scope.QUEUE, key) for key in ("a", "b", "c", "d", OTHERS)] == [
        {"success": 2},
        {"success": 1},
        {},
        {},
        {"success": 2},
    ]
    assert await store.rollups.lumped(Scope.QUEUE, from_hour=HOUR)
    assert not await store.rollups.lumped(Scope.QUEUE, from_hour=HOUR + 1)
    assert not await store.rollups.lumped(Scope.HOST, from_hour=0)


async def test_a_restart_remembers_which_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rollups, "MOST_KEYS", dict(MOST_KEYS) | {Scope.QUEUE: 1})
    for number, queue in enumerate("aba"):
        store = await open_sqlite(tmp_path / "fliqd.db", [])
        await run(store, number, queue=queue)
        await store.close()
    store = await open_sqlite(tmp_path / "fliqd.db", [])
    assert [await counted(store, Scope.QUEUE, key) for key in ("a", OTHERS)] == [{"success": 2}, {"success": 1}]
    await store.close()


def put(path: Path, rows: Sequence[tuple[str, str, int, int, int, int]]) -> None:
    """Write sums as if they had been added up: scope, key, hour, slot, succeeded, failed."""
    plain = sqlite3.connect(path)
    with plain:
        plain.executemany(queries.load()["rollup_add"], [(*row, 0, row[4] * 10, row[4], 1) for row in rows])
    plain.close()


async def tidied(store: Store, now_hour: int) -> int:
    for steps in range(10_000):
        if not await store.rollups.tidy(now_hour):
            return steps
    raise AssertionError


async def test_old_hours_become_days_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rollups, "MOST_KEYS", dict(MOST_KEYS) | {Scope.HOST: 2})
    path = tmp_path / "fliqd.db"
    store = await open_sqlite(path, [])
    old = DAY - HOURS_KEPT - 3 * DAY_HOURS
    rows = [("jobs", "", old + hour, 3, 2, 1) for hour in (0, 5, 23, 24)]
    rows += [("host", host, old + hour, 3, count, 0) for hour in (1, 2) for host, count in
             (("a:80", 1), ("b:80", 7), ("c:80", 5), ("d:80", 1))]  # fmt: skip
    rows += [("jobs", "", HOUR, 3, 1, 0), ("jobs", "", HOUR - DAYS_KEPT * DAY_HOURS - 1, 3, 9, 0)]
    put(path, rows)
    assert await tidied(store, HOUR) > 0
    plain = sqlite3.connect(path)
    kept = plain.execute("SELECT scope, key, hour, succeeded, failed FROM rollup ORDER BY 1, 2, 3").fetchall()
    plain.close()
    assert kept == [
        ("host", "", old, 4, 0),
        ("host", "b:80", old, 14, 0),
        ("host", "c:80", old, 10, 0),
        ("jobs", "", old, 6, 3),
        ("jobs", "", old + 24, 2, 1),
        ("jobs", "", HOUR, 1, 0),
    ]
    assert await tidied(store, HOUR) == 0
    await store.close()


async def test_a_year_of_ten_million_is_read_by_the_key(tmp_path: Path) -> None:
    """As much as there can be: the plans name the key, whatever stands beside it."""
    path = tmp_path / "fliqd.db"
    store = await open_sqlite(path, [])
    days = [("jobs", "", DAY - day * DAY_HOURS, slot, 2_000, 400) for day in range(8, 365) for slot in range(10, 20)]
    hours = [("jobs", "", HOUR - hour, slot, 700, 100) for hour in range(HOURS_KEPT) for slot in range(10, 20)]
    hosts = [("host", f"h{host}:80", HOUR - hour, 12, 5, 0) for host in range(100) for hour in range(100)]
    put(path, days + hours + hosts)
    assert sum((await counted(store)).values()) > 10_000_000
    assert len(await store.rollups.counts(Scope.JOBS, [""], from_hour=0, hours=DAY_HOURS)) >= 365
    await store.close()
    plain = sqlite3.connect(path)
    values = {"scope": "jobs", "keys": '[""]', "from_hour": DAY - 365 * 24, "hours": 24}
    for name in ("rollup_sums", "rollup_counts"):
        plan = " ".join(row[3] for row in plain.execute("EXPLAIN QUERY PLAN " + queries.load()[name], values))
        assert "SEARCH rollup USING PRIMARY KEY (scope=? AND key=? AND hour>?)" in plan, plan
    for name in ("rollup_lumped", "rollup_first", "rollup_delete", "rollup_keys"):
        values = {"scope": "host", "from_hour": HOUR, "hour": HOUR}
        plan = " ".join(row[3] for row in plain.execute("EXPLAIN QUERY PLAN " + queries.load()[name], values))
        assert "SEARCH rollup USING" in plan, plan
    plain.close()
