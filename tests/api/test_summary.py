"""`/v1/summary`: the daemon in a few numbers."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from fliqd.service.summary import last_day
from tests.store.conftest import open_sqlite
from tests.store.test_conformance import a_job
from tests.support import FakeClock, RunningDaemon, Target, until

NUMBERS = {
    "uptime_seconds", "jobs_waiting", "jobs_awaiting_approval", "jobs_running", "jobs_finished_24h", "jobs_failed_24h",
    "items_waiting", "items_running", "items_failed_24h", "next_due_in_seconds", "late_seconds", "db_bytes",
}  # fmt: skip


async def test_it_is_flat_and_small(fliqd: RunningDaemon) -> None:
    answer = await fliqd("GET", "/v1/summary")
    assert answer.status == 200
    assert (answer.body["status"], answer.body["problem"]) == ("ok", "")
    assert (answer.body["next_due_at"], answer.body["next_due_in_seconds"]) == (None, None)
    assert all(isinstance(value, (str, int, type(None))) for value in answer.body.values())
    assert {name for name, value in answer.body.items() if isinstance(value, int)} | {"next_due_in_seconds"} == NUMBERS
    assert len(json.dumps(answer.body)) < 500
    assert (await fliqd("GET", "/summary")).body.keys() == answer.body.keys()
    assert (await fliqd("GET", "/v1/summary?days=2")).status == 400


async def test_it_counts_what_waits_runs_and_failed(fliqd: RunningDaemon, target: Target, clock: FakeClock) -> None:
    target.answers = [200, 500]
    for _ in range(2):
        job = await fliqd.create(url=target.url, delay=0)
        await fliqd.until(job["id"], "success", "failed")
    released = target.hold()
    await fliqd.create(url=target.url, delay=0)
    await target.received(3)
    await fliqd.create(url=target.url, delay="90s")

    async def counted() -> dict[str, Any] | None:
        seen: dict[str, Any] = (await fliqd("GET", "/v1/summary")).body
        return seen if seen["jobs_running"] == 1 and seen["jobs_waiting"] == 1 else None

    seen = await until(counted, "the count of what waits and runs")
    assert (seen["jobs_finished_24h"], seen["jobs_failed_24h"]) == (2, 1)
    assert (seen["next_due_at"], seen["next_due_in_seconds"]) == ("2027-03-01T12:01:30.000Z", 90)
    released.set()
    clock.advance(timedelta(hours=25))

    async def forgotten() -> bool | None:
        return (await fliqd("GET", "/v1/summary")).body["jobs_failed_24h"] == 0 or None

    await until(forgotten, "a new count")  # a count that took long is shared for a while


async def test_the_next_run_of_a_schedule_is_due_though_no_job_waits_for_it(fliqd: RunningDaemon) -> None:
    made = await fliqd("POST", "/v1/schedules", {"name": "s", "url": "http://127.0.0.1:9/", "cron": "*/5 * * * *"})
    assert made.status == 201
    await fliqd.create(url="http://127.0.0.1:9/", delay="10m")
    seen = (await fliqd("GET", "/v1/summary")).body
    assert (seen["jobs_waiting"], seen["late_seconds"]) == (1, 0)
    assert (seen["next_due_at"], seen["next_due_in_seconds"]) == ("2027-03-01T12:05:00.000Z", 300)


async def test_items_are_no_jobs(fliqd: RunningDaemon, target: Target) -> None:
    """And what only waits for others, as in a buffer that is paused, is due at no time."""
    buffer = (await fliqd("POST", "/v1/buffers", {"url": target.url, "name": "b", "paused": True})).body
    await fliqd("POST", f"/v1/buffers/{buffer['id']}/items", {"items": [{"body": "x"}] * 3})

    async def counted() -> dict[str, Any] | None:
        seen: dict[str, Any] = (await fliqd("GET", "/v1/summary")).body
        return seen if seen["items_waiting"] == 3 else None

    seen = await until(counted, "the count of items")
    assert (seen["jobs_waiting"], seen["next_due_at"], seen["late_seconds"]) == (0, None, 0)


async def test_it_needs_a_token_that_may_read(fliqd: RunningDaemon) -> None:
    assert (await fliqd("GET", "/v1/summary", headers={"Authorization": ""})).status == 401
    made = await fliqd("POST", "/v1/tokens", {"name": "dashboard", "scopes": ["read"]})
    fliqd.token = made.body["token"]
    assert (await fliqd("GET", "/v1/summary")).status == 200


class SlowMachine(FakeClock):
    """Here everything takes a second."""

    ticks = 0.0

    def monotonic(self) -> float:
        self.ticks += 1.0
        return self.ticks


async def test_a_dear_count_is_shared_for_a_while(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "fliqd.db", [])
    clock = SlowMachine()
    counted = last_day(store, clock)
    first = await counted.get()
    await store.create_jobs([a_job(1)])
    assert await counted.get() is first
    clock.ticks += 50
    assert (await counted.get()).waiting == 1
    await store.close()
