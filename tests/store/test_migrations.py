"""A file of an earlier version is brought up to date with all that is in it."""

import sqlite3
from pathlib import Path

import pytest

from fliqd.core.model import JobStatus, Source
from fliqd.store.base import JobFilter, QueueCounts
from fliqd.store.sqlite import queries, schema
from tests.store.conftest import open_sqlite
from tests.store.test_conformance import NOW, a_buffer, a_schedule, claim, finish, looked_at, push, the_end

# A job as the first version wrote it, of each kind.
COLUMNS = (
    "id, dialect, status, url, host, lane, http_method, body, body_is_json, timeout_ms, max_retries, on_interrupt,"
    " queue, name, idempotency_key, scheduled_ms, created_ms, updated_ms, started_ms, finished_ms, next_attempt_ms,"
    " due_ms, owner, executions, attempts, crashes"
)
JOBS = [
    ("job_1", "v1", "scheduled", None, None, NOW + 5, None, None, 0, 0),
    ("job_2", "v1", "success", NOW, NOW + 1, None, None, None, 1, 1),
    ("job_3", "v1", "running", NOW, None, None, NOW, "run_old", 1, 0),
    ("job_4", "v1", "scheduled", NOW, None, NOW + 9, None, None, 2, 1),
    ("job_5", "v1", "cancelled", None, NOW, None, None, None, 0, 0),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of schema 1, with jobs in every state."""
    path = tmp_path / "fliqd.db"
    [(number, sql), *_] = schema.migrations()
    assert number == 1
    with sqlite3.connect(path) as plain:
        plain.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {sql}; PRAGMA user_version = 1; COMMIT;")
        plain.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        for job_id, dialect, status, started, finished, next_ms, due, owner, executions, attempts in JOBS:
            values = (
                job_id, dialect, status, "http://a/", "a:80", "a:80", "POST", b"body", 0, 30_000, 3, "retry",
                "default", "n", f"key of {job_id}", NOW, NOW, NOW, started, finished, next_ms, due, owner,
                executions, attempts, 0,
            )  # fmt: skip
            plain.execute(f"INSERT INTO job ({COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
        plain.execute("INSERT INTO job_tag (tag, job_pk) SELECT 'x', pk FROM job WHERE id = 'job_1'")
        plain.execute(
            "INSERT INTO execution (job_pk, attempt_num, id, status, started_ms, late_ms, response_truncated)"
            " SELECT pk, 1, 'exec_1', 'running', ?, 0, 0 FROM job WHERE id = 'job_3'",
            (NOW,),
        )
    plain.close()
    return path


async def test_jobs_of_the_first_version_go_on(path: Path) -> None:
    store = await open_sqlite(path, [])
    found = (await store.jobs(JobFilter(), before_pk=None, limit=9)).jobs[::-1]
    assert [(job.id, job.status.value) for job in found] == [(job_id, status) for job_id, _, status, *_ in JOBS]
    for job in found:
        assert (job.source, job.schedule_id, job.slot_ms, job.has_references) == (Source.API, None, None, False)
        assert (job.body, job.name, job.idempotency_key) == (b"body", "n", f"key of {job.id}")
    assert [job.id for job in (await store.jobs(JobFilter(tag="x"), before_pk=None, limit=9)).jobs] == ["job_1"]
    assert await store.attempts.recover(now_ms=NOW + 1, reason="it died") == 1
    again = await claim(store, [await store.job(job.id) for job in found], NOW + 10)
    assert [job.id for job in again] == ["job_3", "job_1", "job_4"]
    for job in again:
        assert await finish(store, the_end(job))
    await store.close()


async def test_jobs_of_queues_go_on_in_a_file_of_the_second_version(path: Path) -> None:
    """What waits gets a lane of its queue, what ran goes through the quarantine first; both end there again."""
    [_, (number, sql), *_] = schema.migrations()
    with sqlite3.connect(path) as plain:
        plain.executescript(f"BEGIN; {sql}; PRAGMA user_version = {number}; COMMIT;")
        plain.execute("UPDATE job SET queue = 'mail' WHERE id IN ('job_1', 'job_2', 'job_3')")
    plain.close()
    store = await open_sqlite(path, [])
    try:
        lanes = {job.id: job.lane for job in (await store.jobs(JobFilter(), before_pk=None, limit=9)).jobs}
        assert lanes["job_1"] == "mail|a:80"
        assert lanes["job_2"] == lanes["job_4"] == "a:80"
        assert await store.buffers.queue_counts() == {"mail": QueueCounts(1, 1), "default": QueueCounts(1, 0)}
        assert await store.attempts.recover(now_ms=NOW + 1, reason="it died") == 1
        entries = await store.due_page(start=(0, 0), limit=9)
        assert {entry.lane for entry in entries} == {"!mail|a:80", "mail|a:80", "a:80"}
        claimed = await store.attempts.claim(entries, owner="me", now_ms=NOW + 9, until_ms=NOW + 9)
        for job in claimed:
            assert await finish(store, the_end(job, JobStatus.SCHEDULED, NOW + 99))
        again = {(await store.job(job.id)).id: (await store.job(job.id)).lane for job in claimed}
        assert again == {"job_1": "mail|a:80", "job_3": "mail|a:80", "job_4": "a:80"}
        buffer = await store.buffers.create(a_buffer(1))
        await push(store, buffer, "a")
        assert (await store.buffers.counts(buffer.id)).pending == 1
    finally:
        await store.close()


async def test_schedules_work_in_an_upgraded_file(path: Path) -> None:
    await (await open_sqlite(path, [])).close()
    store = await open_sqlite(path, [])
    made = await store.schedules.create(a_schedule(1))
    assert await store.schedules.take([looked_at(made, made.next_run_ms or 0)]) != [None]
    [job] = (await store.jobs(JobFilter(schedule_id=made.id), before_pk=None, limit=9)).jobs
    [running] = await claim(store, [job], made.next_run_ms or 0)
    await finish(store, the_end(running))
    assert (await store.schedules.get(made.id)).last_status is JobStatus.SUCCESS
    await store.close()


async def test_an_upgraded_file_has_the_shape_of_a_new_one(path: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh" / "fliqd.db"
    shapes = []
    for file in (path, fresh):
        await (await open_sqlite(file, [])).close()
        with sqlite3.connect(file) as plain:
            shapes.append(plain.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall())
            assert plain.execute("PRAGMA user_version").fetchone() == (schema.newest(),)
        plain.close()
    assert shapes[0] == shapes[1]


def test_what_is_asked_of_buffers_is_found_by_an_index(tmp_path: Path) -> None:
    """However many items have ended, a push and an end look at a few."""
    with sqlite3.connect(tmp_path / "fliqd.db") as plain:
        schema.migrate(plain)
        for name, index in {
            "item_first": "job_buffer_status (buffer_id=? AND status=?)",
            "item_next": "job_buffer_status (buffer_id=? AND status=?)",
            "items_pause": "job_buffer_status (buffer_id=? AND status=?)",
            "items_counts": "job_buffer_status (buffer_id=? AND status=?)",
            "items_delete": "job_buffer (buffer_id=?)",
            "items_newest_first": "job_buffer (buffer_id=? AND pk<?)",
            "queue_live": "job_queue_live (queue=?)",
            "buffer_name_taken": "buffer_name (name=?)",
        }.items():
            values = dict.fromkeys(("id", "held_ms", "limit", "before_pk", "name", "pk"), 1)
            steps = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {queries.load()[name]}", values)]
            assert any(index in step for step in steps), (name, steps)
            assert not [step for step in steps if step.startswith("SCAN job")], (name, steps)
            assert "USE TEMP B-TREE FOR ORDER BY" not in steps, (name, steps)
    plain.close()


def test_what_is_asked_of_schedules_is_found_by_an_index(tmp_path: Path) -> None:
    """However many jobs and schedules there are, neither the planner nor the end of a run reads them all."""
    with sqlite3.connect(tmp_path / "fliqd.db") as plain:
        schema.migrate(plain)
        for name in (
            "schedules_live", "schedules_slots", "schedules_moved", "schedule_versions", "held_release",
            "schedule_jobs_cancel", "schedules_due_page",
            "schedule_name_taken", "schedule_ended", "missed_last", "missed_newest_first", "missed_delete",
        ):  # fmt: skip
            sql = queries.load()[name]
            values = dict.fromkeys(
                ("id", "held_ms", "first_ms", "last_ms", "now_ms", "from_ms", "from_pk", "limit", "name", "pk",
                 "schedule_pk", "before_pk", "before_ms", "ids", "spans", "moves", "pks"), "[1]",
            )  # fmt: skip
            given = values if ":" in sql else (1,) * sql.count("?")
            steps = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {sql}", given)]
            scans = [
                step for step in steps if step.startswith("SCAN") and "VIRTUAL" not in step and "INDEX" not in step
            ]
            assert not scans, (name, steps)
    plain.close()
