"""What is particular about the SQLite store: its files, its schema, its plans."""

import asyncio
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from fliqd.core import lifecycle
from fliqd.core.buffers import FIRST_ITEM_PK
from fliqd.core.model import HELD_MS, JobStatus
from fliqd.errors import FliqdError, StoreInUseError, StoreUnusableError
from fliqd.store.base import JobFilter
from fliqd.store.sqlite import queries, rows, schema
from fliqd.store.sqlite.store import PAGES_KEPT
from tests.store.conftest import open_sqlite
from tests.store.test_conformance import NOW, a_job

FILES = ("fliqd.db", "fliqd.db-wal", "fliqd.db-shm", "fliqd.db.lock", "store.marker")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "fliqd.db"


async def test_its_files_are_for_this_user_alone(path: Path) -> None:
    store = await open_sqlite(path, [])
    await store.create_jobs([a_job(1)])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await store.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(FILES, 0o600)


async def test_one_daemon_a_store_also_through_a_symlink(path: Path, tmp_path: Path) -> None:
    store = await open_sqlite(path, [])
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(StoreInUseError, match=r"in use by fliqd with pid \d+"):
            await open_sqlite(name, [])
    await store.close()
    await (await open_sqlite(link, [])).close()


async def test_what_deleted_jobs_took_is_given_back_to_the_disk(path: Path) -> None:
    """All of it but a little, a little at a time."""
    store = await open_sqlite(path, [])
    await store.create_jobs([a_job(number, body=bytes(40_000)) for number in range(1, 201)])
    for number in range(1, 201):
        await store.change_job(a_job(number).id, lambda job: lifecycle.cancel(job, NOW))

    def pages() -> tuple[int, int]:
        with closing(sqlite3.connect(path)) as plain:
            return (
                plain.execute("PRAGMA page_count").fetchone()[0],
                plain.execute("PRAGMA freelist_count").fetchone()[0],
            )

    full, _ = pages()
    assert await store.delete_finished(before_ms=None, limit=1_000) == 200
    _, free = pages()
    assert free > 2_000
    times = 1
    while await store.give_back():
        times += 1
    left, kept = pages()
    assert kept == PAGES_KEPT
    assert left <= full - free + PAGES_KEPT
    assert times >= 8
    changes = store.changes
    assert not await store.give_back()
    assert store.changes == changes  # nothing is written where there is nothing to give
    await store.close()


async def test_it_runs_as_it_promises(path: Path) -> None:
    """FULL is what makes a commit durable; WAL is a property of the file."""
    store = await open_sqlite(path, [])
    connection = store._connection  # noqa: SLF001 -- what only this connection knows
    assert list(await connection.execute_fetchall("PRAGMA synchronous")) == [(2,)]
    assert list(await connection.execute_fetchall("PRAGMA foreign_keys")) == [(1,)]
    for reader in store._readers:  # noqa: SLF001 -- likewise
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.execute("DELETE FROM job")
    await store.close()
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert plain.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    plain.close()


async def test_keys_are_never_used_again(path: Path) -> None:
    store = await open_sqlite(path, [])
    await store.create_jobs([a_job(1), a_job(2)])
    await store.close()
    store = await open_sqlite(path, [])
    await store.create_jobs([a_job(3)])
    assert [job.pk for job in (await store.jobs(JobFilter(), before_pk=None, limit=9)).jobs] == [3, 2, 1]
    await store.close()


async def test_a_migration_fails_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await open_sqlite(path, [])).close()
    known = schema.migrations()
    broken = "ALTER TABLE job ADD COLUMN extra TEXT; INSERT INTO no_such_table VALUES (1)"
    monkeypatch.setattr(schema, "migrations", lambda: [*known, (9, broken)])
    with pytest.raises(StoreUnusableError):
        await open_sqlite(path, [])
    monkeypatch.undo()
    await (await open_sqlite(path, [])).close()


@pytest.mark.parametrize(
    ("name", "more"),
    [("due_page", {}), ("due_page_of_lane", {"until_ms": NOW, "lane": "a:80"})],
)
async def test_the_due_window_is_read_from_the_index_alone(path: Path, name: str, more: dict[str, object]) -> None:
    await (await open_sqlite(path, [])).close()
    plain = sqlite3.connect(path)
    values = {"from_ms": 0, "from_pk": 0, "limit": 1000, "held_ms": NOW} | more
    plan = " ".join(row[3] for row in plain.execute("EXPLAIN QUERY PLAN " + queries.load()[name], values))
    plain.close()
    assert re.search(r"SEARCH job USING COVERING INDEX job_due", plan), plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    ("name", "more", "index"),
    [
        ("outbox_due_page", "", "COVERING INDEX outbox_due"),
        ("outbox_due_page_of_lane", "", "COVERING INDEX outbox_due"),
        ("outbox_newest_first", "AND status = :status AND status <> 'delivered'", "INDEX outbox_status"),
        ("outbox_newest_first", "AND job_id = :job_id", "INDEX outbox_job"),
        ("outbox_release", "", "INDEX outbox_job"),
        ("outbox_hand_back", "", "INDEX outbox_owner"),
    ],
)
async def test_the_outbox_is_never_gone_through(path: Path, name: str, more: str, index: str) -> None:
    await (await open_sqlite(path, [])).close()
    plain = sqlite3.connect(path)
    sql = queries.load()[name].replace("/* more */", more)
    values = dict.fromkeys(re.findall(r":(\w+)", sql))
    plan = " ".join(row[3] for row in plain.execute("EXPLAIN QUERY PLAN " + sql, values))
    plain.close()
    assert index in plan, plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("name", ["jobs_settle", "executions_close"])
async def test_what_has_ended_is_found_by_its_key(path: Path, name: str) -> None:
    """Not by going through all jobs, nor through all that are running."""
    await (await open_sqlite(path, [])).close()
    plain = sqlite3.connect(path)
    sql = queries.load()[name]
    plan = " ".join(row[3] for row in plain.execute("EXPLAIN QUERY PLAN " + sql, [None] * sql.count("?")))
    plain.close()
    assert re.search(r"SEARCH (job|execution) USING (INTEGER )?PRIMARY KEY", plan), plan


async def test_the_schema_restates_the_states(path: Path) -> None:
    """What the transition table does not know cannot be written either."""
    failures: list[FliqdError] = []
    store = await open_sqlite(path, failures)
    await store.create_jobs([a_job(1)])
    await store.close()
    plain = sqlite3.connect(path)
    for wrong in (
        "status = 'lost'",
        "status = 'running'",
        "owner = 'me'",
        "next_attempt_ms = NULL",
        "finished_ms = 1",
        "status = 'success', next_attempt_ms = NULL",
        "attempts = 1",
        "max_retries = 'many'",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            plain.execute(f"UPDATE job SET {wrong}")  # noqa: S608 -- texts of this test
    plain.close()


def test_a_summary_reads_indexes_alone(tmp_path: Path) -> None:
    """A million jobs are counted within milliseconds only as long as the table is not touched."""
    with sqlite3.connect(tmp_path / "fliqd.db", isolation_level=None) as plain:
        schema.migrate(plain)
        asked = {"since_ms": 0, "first_item_pk": FIRST_ITEM_PK, "held_ms": HELD_MS}
        plan = [row[3] for row in plain.execute("EXPLAIN QUERY PLAN " + queries.load()["counts"], asked)]
    plain.close()
    assert [step for step in plan if "job" in step and "USING COVERING INDEX" not in step] == []


async def test_a_page_is_right_while_its_rows_change(path: Path) -> None:
    """What is read twice is no snapshot: a list answered 500 when all its rows had changed in between."""
    store = await open_sqlite(path, [])
    made = [a_job(number) for number in range(40)]
    await store.create_jobs(made)
    pages = 0

    async def change() -> None:
        for job in made:
            await store.change_job(job.id, lambda found: lifecycle.cancel(found, NOW))

    changing = asyncio.create_task(change())
    while not changing.done():
        page = await store.jobs(JobFilter(status=JobStatus.SCHEDULED), before_pk=None, limit=20)
        assert len(page.jobs) <= 20
        pages += 1
    await changing
    assert pages > 1
    await store.close()


def test_a_plain_job_is_written_as_any_other(tmp_path: Path) -> None:
    """The statement for what most jobs have leaves the rest as the one for everything does."""
    job = a_job(1, headers={"X-A": "1"}, body=b"{}", body_is_json=True, idempotency_key="k", token_id="tok")
    values = rows.job_values(job, 1)
    plain = rows.plain_job_values(job, 1)
    assert plain is not None
    assert rows.plain_job_values(msgspec.structs.replace(job, tags=("x",)), 1) is None
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        schema.migrate(connection)
        written = []
        for name, taken in (("job_insert_plain", plain), ("job_insert", values)):
            connection.execute(queries.load()[name], taken)
            written += connection.execute("SELECT * FROM job").fetchall()
            connection.execute("DELETE FROM job")
    assert written[0] == written[1]
    assert rows.job(written[0]) == msgspec.structs.replace(job, pk=1)


async def test_long_bodies_do_not_stay_in_memory(path: Path) -> None:
    """A statement keeps what it was given; so what hundreds of jobs bring at once is not given to one."""
    store = await open_sqlite(path, [])
    large = bytes(1_000_000)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

    try:
        await store.create_jobs([a_job(1, body=large)])
        before = resident()
        await store.create_jobs([a_job(number, body=large) for number in range(2, 102)])
        assert resident() - before < 30_000_000
    finally:
        await store.close()
