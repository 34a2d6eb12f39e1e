"""Schedules through the API: what they show, what they make, what becomes of changes."""

import asyncio
from datetime import timedelta
from typing import Any

from tests.support import FakeClock, RunningDaemon, Target, until


async def schedule(fliqd: RunningDaemon, **asked: Any) -> dict[str, Any]:
    answer = await fliqd("POST", "/v1/schedules", asked)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.body
    return made


async def test_a_job_for_each_due_time(fliqd: RunningDaemon, clock: FakeClock, target: Target) -> None:
    made = await schedule(fliqd, name="report", cron="0 * * * *", url=target.url, json={"kind": "full"})
    assert made["next_run_at"] == "2027-03-01T13:00:00.000Z"
    assert made["status"] == "active"
    clock.advance(timedelta(hours=1))
    [hit] = await target.received(1)
    assert hit.headers["X-Fliq-Scheduled-At"] == "2027-03-01T13:00:00.000Z"
    assert hit.headers["X-Fliq-Schedule-Id"] == made["id"]
    assert hit.body == b'{"kind": "full"}'

    async def ran() -> dict[str, Any] | None:
        body = (await fliqd("GET", f"/v1/schedules/{made['id']}")).body
        return body if body["last_status"] == "success" else None

    shown = await until(ran, "the run")
    assert shown["next_run_at"] == "2027-03-01T14:00:00.000Z"
    assert shown["run_count"] == 1
    clock.advance(timedelta(hours=1))
    await target.received(2)
    assert (await fliqd("GET", f"/v1/schedules/{made['id']}/missed")).body["missed"] == []
    jobs = (await fliqd("GET", f"/v1/schedules/{made['id']}/jobs")).body["jobs"]
    assert len(jobs) == 2


async def test_a_clock_far_ahead_that_is_set_back_loses_and_repeats_nothing(
    fliqd: RunningDaemon, clock: FakeClock, target: Target
) -> None:
    """Ten years ahead and back: what ran there does not run again, what was missed there is ahead again."""
    made = await schedule(fliqd, name="hourly", cron="0 * * * *", url=target.url)
    clock.step(timedelta(days=3653))
    await target.received(1)

    async def next_run() -> str | None:
        shown = (await fliqd("GET", f"/v1/schedules/{made['id']}")).body["next_run_at"]
        return shown if shown.startswith("2027-03-01T13") else None

    clock.step(timedelta(days=-3653))
    assert await until(next_run, "the next run near again") == "2027-03-01T13:00:00.000Z"
    assert (await fliqd("GET", f"/v1/schedules/{made['id']}/missed")).body["missed"] == []
    clock.advance(timedelta(hours=1))
    hits = await target.received(2)
    assert [hit.headers["X-Fliq-Scheduled-At"] for hit in hits] == [
        "2037-03-01T12:00:00.000Z",
        "2027-03-01T13:00:00.000Z",
    ]


async def test_runs_that_are_asked_for_at_once_are_all_made(fliqd: RunningDaemon, target: Target) -> None:
    """None of them changes the schedule, and none is told that it changes all the time."""
    made = await schedule(fliqd, every="1d", url=target.url)
    asked = [fliqd("POST", f"/v1/schedules/{made['id']}/run") for _ in range(60)]
    answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 60
    await target.received(60)
