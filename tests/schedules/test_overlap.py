"""What becomes of a due time while an earlier run goes on: it waits, runs beside it, or is missed."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import RunningDaemon, Target

from .conftest import Schedules, at


async def one_runs(schedules: Schedules, target: Target, **asked: Any) -> str:
    """Return a schedule of every hour whose first run waits for its answer."""
    schedule_id = await schedules.create(**{"every": "1h", **asked})
    schedules.advance(hours=1)
    await target.received(1)
    return schedule_id


async def hours_pass(schedules: Schedules, schedule_id: str, hours: int) -> None:
    for _ in range(hours):
        schedules.advance(hours=1)
        await schedules.moved_past(schedule_id)


async def test_queue_has_one_wait_and_the_rest_missed(
    fliqd: RunningDaemon, schedules: Schedules, target: Target
) -> None:
    released = target.hold()
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 4)
    first, second = await schedules.jobs(schedule_id)
    assert at([first, second]) == ["13:00", "14:00"]
    assert (second["status"], second["next_attempt_at"], second["executions"]) == ("scheduled", None, 0)
    why = (await fliqd("GET", f"/v1/jobs/{second['id']}/why")).body["waits_for"]
    assert [reason["reason"] for reason in why] == ["overlap"]
    assert schedule_id in why[0]["message"]
    assert await schedules.missed(schedule_id) == [("15:00", "17:00", 3, "overlap")]
    assert (await schedules.get(schedule_id))["run_count"] == 2
    released.set()
    hits = await target.received(2)
    assert hits[1].headers["X-Fliq-Scheduled-At"] == "2027-03-01T14:00:00.000Z"
    await schedules.ended(schedule_id, 2)
    await hours_pass(schedules, schedule_id, 1)
    await schedules.ended(schedule_id, 3)
    assert await schedules.missed(schedule_id) == [("15:00", "17:00", 3, "overlap")]


async def test_skip_misses_all_of_them(schedules: Schedules, target: Target) -> None:
    released = target.hold()
    schedule_id = await one_runs(schedules, target, overlap="skip")
    await hours_pass(schedules, schedule_id, 3)
    assert await schedules.missed(schedule_id) == [("14:00", "16:00", 3, "overlap")]
    released.set()
    await schedules.ended(schedule_id, 1)
    await hours_pass(schedules, schedule_id, 1)
    assert at(await schedules.ended(schedule_id, 2)) == ["13:00", "17:00"]
    assert len(target.hits) == 2


async def test_skip_looks_at_the_due_time_itself(schedules: Schedules, target: Target) -> None:
    """A run that ends in the last moment before makes room."""
    released = target.hold()
    schedule_id = await one_runs(schedules, target, overlap="skip")
    schedules.advance(minutes=59, seconds=59, milliseconds=950)
    released.set()
    await schedules.ended(schedule_id, 1)
    schedules.advance(milliseconds=50)
    assert at(await schedules.ended(schedule_id, 2)) == ["13:00", "14:00"]
    assert await schedules.missed(schedule_id) == []


async def test_allow_runs_beside_it(schedules: Schedules, target: Target) -> None:
    released = target.hold(3)
    schedule_id = await one_runs(schedules, target, overlap="allow")
    for number in (2, 3):
        schedules.advance(hours=1)
        await target.received(number)
    assert [job["status"] for job in await schedules.jobs(schedule_id)] == ["running"] * 3
    released.set()
    await schedules.ended(schedule_id, 3)
    assert await schedules.missed(schedule_id) == []


@pytest.mark.parametrize("overlap", ["queue", "skip"])
async def test_a_run_that_waits_for_its_retry_has_not_ended(schedules: Schedules, target: Target, overlap: str) -> None:
    target.answers = [500]
    schedule_id = await one_runs(
        schedules, target, overlap=overlap, max_retries=1, backoff={"kind": "fixed", "initial": "90m"}
    )
    await hours_pass(schedules, schedule_id, 1)
    assert len(target.hits) == 1
    schedules.advance(minutes=31)
    hits = await target.received(2 if overlap == "skip" else 3)
    assert [hit.headers["X-Fliq-Attempt"] for hit in hits][:2] == ["1", "2"]
    assert await schedules.missed(schedule_id) == ([("14:00", "14:00", 1, "overlap")] if overlap == "skip" else [])


async def test_a_failed_run_lets_the_next_one_go(schedules: Schedules, target: Target) -> None:
    released = target.hold()
    schedule_id = await one_runs(schedules, target, success_statuses=[204])
    await hours_pass(schedules, schedule_id, 1)
    target.answers = [204]
    released.set()
    await target.received(2)
    await schedules.ended(schedule_id, 1)
    assert [job["status"] for job in await schedules.jobs(schedule_id)] == ["failed", "success"]


async def test_the_one_that_waits_can_be_run_at_once(
    fliqd: RunningDaemon, schedules: Schedules, target: Target
) -> None:
    """Beside the one it would wait for; then there is room to wait for the next."""
    released = target.hold()
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 1)
    _, held = await schedules.jobs(schedule_id)
    assert held["actions"] == ["cancel", "run", "update"]
    answer = await fliqd("POST", f"/v1/jobs/{held['id']}/run")
    assert answer.status == 200
    await target.received(2)
    await fliqd.until(held["id"], "success")
    await hours_pass(schedules, schedule_id, 1)
    assert [job["status"] for job in await schedules.jobs(schedule_id)] == ["running", "success", "scheduled"]
    released.set()
    await schedules.ended(schedule_id, 3)
    assert await schedules.missed(schedule_id) == []


async def test_the_one_that_waits_can_be_cancelled(fliqd: RunningDaemon, schedules: Schedules, target: Target) -> None:
    released = target.hold()
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 1)
    _, held = await schedules.jobs(schedule_id)
    assert (await fliqd("DELETE", f"/v1/jobs/{held['id']}")).status == 204
    await hours_pass(schedules, schedule_id, 1)
    released.set()
    assert at(await schedules.ended(schedule_id, 2)) == ["13:00", "15:00"]
    assert len(target.hits) == 2


async def test_the_one_that_waits_can_be_changed(fliqd: RunningDaemon, schedules: Schedules, target: Target) -> None:
    """What it sends, and it waits on; or its time, and then it is a job like any other."""
    released = target.hold()
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 1)
    _, held = await schedules.jobs(schedule_id)
    changed = await fliqd("PATCH", f"/v1/jobs/{held['id']}", {"body": "changed"})
    assert (changed.status, changed.body["next_attempt_at"]) == (200, None)
    released.set()
    hits = await target.received(2)
    assert hits[1].body == b"changed"


async def test_cancelling_the_run_before_lets_it_go(fliqd: RunningDaemon, schedules: Schedules, target: Target) -> None:
    """One that waits for its retry can be cancelled, and is what the next one waits for."""
    target.answers = [500]
    schedule_id = await one_runs(schedules, target, max_retries=1, backoff={"kind": "fixed", "initial": "20h"})
    await hours_pass(schedules, schedule_id, 1)
    first, _ = await schedules.jobs(schedule_id)
    assert len(target.hits) == 1
    assert (await fliqd("DELETE", f"/v1/jobs/{first['id']}")).status == 204
    await target.received(2)
    await schedules.ended(schedule_id, 1)
    assert (await schedules.get(schedule_id))["last_status"] == "success"


@pytest.mark.parametrize("env", [{"FLIQD_DISPATCH__SHUTDOWN_GRACE": "0s"}])
async def test_a_line_survives_a_restart(schedules: Schedules, target: Target) -> None:
    """The run is cut off by the stop and sent again; the next one still waits for its end."""
    released = target.hold(2)
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 1)
    await schedules.away(seconds=1)
    await target.received(2)
    first, second = await schedules.jobs(schedule_id)
    assert (first["status"], second["status"], second["next_attempt_at"]) == ("running", "scheduled", None)
    released.set()
    hits = await target.received(3)
    assert [hit.headers["X-Fliq-Attempt"] for hit in hits] == ["1", "2", "1"]
    assert at(await schedules.ended(schedule_id, 2)) == ["13:00", "14:00"]


async def test_what_is_made_up_for_runs_one_after_the_other(schedules: Schedules, target: Target) -> None:
    """Also when an earlier run still goes on; and what comes due meanwhile finds them waiting."""
    released = target.hold()
    schedule_id = await one_runs(schedules, target, misfire="all")
    schedules.advance(hours=3, minutes=30)
    await schedules.moved_past(schedule_id)
    assert len(await schedules.jobs(schedule_id)) == 4
    schedules.advance(minutes=30)
    await schedules.moved_past(schedule_id)
    assert await schedules.missed(schedule_id) == [("17:00", "17:00", 1, "overlap")]
    released.set()
    await schedules.ended(schedule_id, 4)
    due = [hit.headers["X-Fliq-Scheduled-At"][11:16] for hit in target.hits]
    assert due == ["13:00", "14:00", "15:00", "16:00"]


async def test_a_clock_that_is_set_back_does_not_stretch_the_wait(schedules: Schedules, target: Target) -> None:
    """Who waits for the end of a run goes when it has ended, whatever the clock said when that had begun."""
    first, second = target.hold(), target.hold()
    schedule_id = await one_runs(schedules, target, misfire="all")
    schedules.advance(hours=2, minutes=30)
    await schedules.moved_past(schedule_id)
    first.set()
    await target.received(2)
    schedules.fliqd.clock.step(timedelta(minutes=-20))
    second.set()
    hits = await target.received(3)
    assert [hit.headers["X-Fliq-Scheduled-At"][11:16] for hit in hits] == ["13:00", "14:00", "15:00"]


async def test_deleting_a_schedule_with_a_line(schedules: Schedules, target: Target) -> None:
    released = target.hold()
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 2)
    assert (await schedules.ask("DELETE", f"/{schedule_id}")).status == 204
    assert [job["status"] for job in await schedules.jobs(schedule_id)] == ["running", "cancelled"]
    released.set()
    await schedules.ended(schedule_id, 1)
    schedules.advance(hours=5)
    await schedules.away(hours=5)
    assert len(target.hits) == 1
    assert await schedules.missed(schedule_id) == [("15:00", "15:00", 1, "overlap")]


async def test_pausing_a_schedule_with_a_line(schedules: Schedules, target: Target) -> None:
    """Jobs that are made go on, those that wait among them."""
    released = target.hold()
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 1)
    await schedules.do(schedule_id, "pause")
    released.set()
    await schedules.ended(schedule_id, 2)


async def test_a_run_that_was_asked_for_is_a_run_too(schedules: Schedules, target: Target) -> None:
    released = target.hold()
    schedule_id = await schedules.create(every="1h", overlap="skip")
    await schedules.do(schedule_id, "run")
    await target.received(1)
    await hours_pass(schedules, schedule_id, 1)
    assert await schedules.missed(schedule_id) == [("13:00", "13:00", 1, "overlap")]
    released.set()
    await schedules.ended(schedule_id, 1)


async def test_a_due_time_that_awaits_approval_joins_the_line_when_it_is_approved(
    fliqd: RunningDaemon, schedules: Schedules, target: Target
) -> None:
    released = target.hold()
    schedule_id = await schedules.create(every="1h", requires_approval=True)
    await hours_pass(schedules, schedule_id, 1)
    [first] = await schedules.jobs(schedule_id)
    await fliqd("POST", f"/v1/jobs/{first['id']}/approve")
    await target.received(1)
    await hours_pass(schedules, schedule_id, 1)
    first, second = await schedules.jobs(schedule_id)
    assert (first["status"], second["status"], second["next_attempt_at"]) == ("running", "awaiting_approval", None)
    await fliqd("POST", f"/v1/jobs/{second['id']}/approve")
    why = (await fliqd("GET", f"/v1/jobs/{second['id']}/why")).body["waits_for"]
    assert [reason["reason"] for reason in why] == ["overlap"]
    released.set()
    assert at(await schedules.ended(schedule_id, 2)) == ["13:00", "14:00"]


async def test_after_downtime_each_run_that_is_made_up_for_awaits_approval(
    fliqd: RunningDaemon, schedules: Schedules, target: Target
) -> None:
    schedule_id = await schedules.create(every="1h", requires_approval=True, misfire="all")
    await schedules.away(hours=3, minutes=30)
    await schedules.moved_past(schedule_id)
    jobs = await schedules.jobs(schedule_id)
    assert at(jobs) == ["13:00", "14:00", "15:00"]
    assert {job["status"] for job in jobs} == {"awaiting_approval"}
    for job in reversed(jobs):
        assert (await fliqd("POST", f"/v1/jobs/{job['id']}/approve")).status == 200
    await schedules.ended(schedule_id, 3)
    assert len(target.hits) == 3


async def test_what_waits_in_line_is_not_held_back_as_well(
    fliqd: RunningDaemon, schedules: Schedules, target: Target
) -> None:
    released = target.hold()
    schedule_id = await one_runs(schedules, target)
    await hours_pass(schedules, schedule_id, 1)
    _, waiting = await schedules.jobs(schedule_id)
    answer = await fliqd("POST", f"/quedup/jobs/{waiting['id']}/pause")
    assert answer.status == 409
    assert answer.body == {"error": "the job waits for an earlier run of its schedule; pause the schedule"}
    released.set()
    await schedules.ended(schedule_id, 2)
