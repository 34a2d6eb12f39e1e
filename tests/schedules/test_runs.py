"""When a schedule runs: on time, at the ends of its life, across changes of the clocks, and what it says of it."""

from datetime import timedelta
from typing import Any

import pytest

from fliqd.core.times import format_time, parse_time
from tests.support import FakeClock, RunningDaemon, Target, until

from .conftest import Schedules, at


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> FakeClock:
    return FakeClock(getattr(request, "param", "2027-03-01T12:00:00Z"))


async def test_a_run_carries_what_the_schedule_says(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(
        name="report", every="1h", url=f"{target.url}?a=1", http_method="PUT", headers={"X-Tenant": "acme"},
        query={"b": "2"}, json={"kind": "full"}, tags=["x"], queue="mail", max_retries=2, description="d",
    )  # fmt: skip
    schedules.advance(hours=1)
    [hit] = await target.received(1)
    assert (hit.method, hit.path, hit.body) == ("PUT", "/hook?a=1&b=2", b'{"kind": "full"}')
    assert hit.headers["X-Tenant"] == "acme"
    assert hit.headers["X-Fliq-Schedule-Id"] == schedule_id
    assert hit.headers["X-Fliq-Scheduled-At"] == "2027-03-01T13:00:00.000Z"
    [job] = await schedules.ended(schedule_id, 1)
    assert job["id"] == hit.headers["X-Fliq-Delivery-Id"]
    assert (job["name"], job["tags"], job["queue"], job["max_retries"]) == ("report", ["x"], "mail", 2)
    assert (job["schedule_id"], job["source"]) == (schedule_id, "api")


async def test_it_says_how_its_last_run_stands(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="1h")
    released = target.hold()
    schedules.advance(hours=1)
    await target.received(1)
    shown = await schedules.get(schedule_id)
    assert (shown["last_status"], shown["last_run_at"]) == ("running", "2027-03-01T13:00:00.000Z")
    released.set()
    await schedules.ended(schedule_id, 1)
    assert (await schedules.get(schedule_id))["last_status"] == "success"
    target.answers = [500]
    schedules.advance(hours=1)
    await schedules.ended(schedule_id, 1, "failed")
    shown = await schedules.get(schedule_id)
    assert (shown["last_status"], shown["last_run_at"]) == ("failed", "2027-03-01T14:00:00.000Z")
    assert shown["run_count"] == 2
    assert (await schedules.ask("GET", "")).body["schedules"] == [shown]


async def test_nothing_leaves_before_its_time(schedules: Schedules, target: Target) -> None:
    """Though the job is made a moment ahead."""
    schedule_id = await schedules.create(every="1h")
    schedules.advance(minutes=59, seconds=59, milliseconds=900)

    async def made() -> list[dict[str, Any]] | None:
        return await schedules.jobs(schedule_id) or None

    [job] = await until(made, "the job")
    assert (job["status"], job["executions"], target.hits) == ("scheduled", 0, [])
    schedules.advance(milliseconds=99)
    assert target.hits == []
    schedules.advance(milliseconds=1)
    await target.received(1)


async def test_an_interval_keeps_its_anchor(schedules: Schedules) -> None:
    """Over restarts, pauses, and changes of anything but itself."""
    schedule_id = await schedules.create(every="1h", name="a")
    await schedules.away(minutes=17)
    schedules.advance(minutes=1)
    await schedules.do(schedule_id, "pause")
    schedules.advance(minutes=1)
    await schedules.do(schedule_id, "resume")
    await schedules.change(schedule_id, name="b", jitter="1s", every="60m")
    await schedules.change(schedule_id, jitter=None, max_runs=9, ends_at="2027-04-01T00:00:00Z", every=3600)
    assert (await schedules.next(schedule_id))[:2] == ["2027-03-01T13:00:00.000Z", "2027-03-01T14:00:00.000Z"]
    changed = await schedules.change(schedule_id, every="30m")
    assert changed["next_run_at"] == "2027-03-01T12:49:00.000Z"


async def test_starts_at_is_the_first_run_of_an_interval(schedules: Schedules, target: Target) -> None:
    future = await schedules.create(every="1h", starts_at="2027-03-01T15:20:00Z")
    assert (await schedules.next(future, 2)) == ["2027-03-01T15:20:00.000Z", "2027-03-01T16:20:00.000Z"]
    past = await schedules.create(every="1h", starts_at="2027-01-01T00:07:00Z")
    assert (await schedules.next(past, 1)) == ["2027-03-01T12:07:00.000Z"]
    cron = await schedules.create(cron="*/30 * * * *", starts_at="2027-03-01T15:00:00Z")
    assert (await schedules.next(cron, 1)) == ["2027-03-01T15:00:00.000Z"], "inclusive"
    assert await schedules.missed(past) == []
    schedules.advance(hours=4)
    await schedules.moved_past(future)
    assert at(await schedules.jobs(future)) == ["15:20"]


async def test_it_ends(schedules: Schedules, target: Target) -> None:
    by_time = await schedules.create(every="1h", ends_at="2027-03-01T14:00:00Z")
    by_count = await schedules.create(every="1h", max_runs=2)
    assert len(await schedules.next(by_time)) == len(await schedules.next(by_count)) == 2
    for hours in (1, 2):
        schedules.advance(hours=1)
        await target.received(2 * hours)
    for schedule_id in (by_time, by_count):
        await schedules.ended(schedule_id, 2)
        shown = await schedules.moved_past(schedule_id)
        assert (shown["status"], shown["next_run_at"], shown["run_count"]) == ("ended", None, 2)
        assert await schedules.next(schedule_id) == []
    assert len((await schedules.ask("GET", "?status=ended")).body["schedules"]) == 2
    await schedules.away(days=3)
    await schedules.do(by_count, "pause")
    schedules.advance(days=3)
    await schedules.do(by_count, "resume")
    assert (await schedules.missed(by_time), await schedules.missed(by_count)) == ([], [])
    again = await schedules.change(by_count, max_runs=3)
    assert (again["status"], again["next_run_at"]) == ("active", "2027-03-07T15:00:00.000Z")
    assert await schedules.missed(by_count) == []
    refused = await schedules.ask("PATCH", f"/{by_time}", {"misfire_grace": "2m"})
    assert refused.status == 200, "what has ended may still be changed"


async def test_run_makes_a_job_beside_the_due_times(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="1h", max_runs=1, paused=True)
    job = await schedules.do(schedule_id, "run")
    assert (job["status"], job["schedule_id"], job["scheduled_at"][11:16]) == ("scheduled", schedule_id, "12:00")
    await schedules.ended(schedule_id, 1)
    shown = await schedules.get(schedule_id)
    assert (shown["run_count"], shown["status"], shown["last_status"]) == (0, "paused", "success")
    await schedules.do(schedule_id, "resume")
    schedules.advance(hours=1)
    await schedules.ended(schedule_id, 2)
    assert (await schedules.get(schedule_id))["status"] == "ended"
    await schedules.do(schedule_id, "run")
    await schedules.ended(schedule_id, 3)


async def test_the_next_runs_with_their_jitter_are_those_that_come(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="10m", jitter="9m")
    told = await schedules.next(schedule_id, 6)
    assert told[0] == (await schedules.get(schedule_id))["next_run_at"]
    grid = [parse_time("2027-03-01T12:00:00Z") + number * 600_000 for number in range(1, 7)]
    assert all(slot <= parse_time(run) <= slot + 540_000 for slot, run in zip(grid, told, strict=True))
    assert told != [format_time(slot) for slot in grid]
    for number in range(1, 76):
        schedules.advance(minutes=1)
        await schedules.moved_past(schedule_id)
        # One that is still under way would hold up the next.
        await target.received(sum(parse_time(run) <= schedules.fliqd.clock.now_ms() for run in told))
        await schedules.ended(schedule_id, len(target.hits))
        if number == 35:
            await schedules.away(seconds=1)
    hits = await target.received(6)
    assert sorted(hit.headers["X-Fliq-Scheduled-At"] for hit in hits)[:6] == told
    assert await schedules.missed(schedule_id) == []


async def test_a_thousand_next_runs(schedules: Schedules) -> None:
    schedule_id = await schedules.create(cron="0 0 29 2 *")
    assert (await schedules.next(schedule_id, 2)) == ["2028-02-29T00:00:00.000Z", "2032-02-29T00:00:00.000Z"]
    every_minute = await schedules.create(cron="* * * * *")
    assert len(set(await schedules.next(every_minute, 1000))) == 1000


DST = [
    # the night, the zone, what is asked for; the runs of the next hours
    ("2027-03-27T23:30:00Z", "Europe/Berlin", {"cron": "30 2 * * *"}, ["2027-03-28T01:00", "2027-03-29T00:30"]),
    ("2027-10-30T22:30:00Z", "Europe/Berlin", {"cron": "30 2 * * *"}, ["2027-10-31T00:30", "2027-11-01T01:30"]),
    ("2027-03-27T23:30:00Z", "Europe/Berlin", {"cron": "30 2 * * *", "dst": {"gap": "skip"}}, ["2027-03-29T00:30"]),
    ("2027-10-30T22:30:00Z", "Europe/Berlin", {"cron": "30 2 * * *", "dst": {"overlap": "both"}},
     ["2027-10-31T00:30", "2027-10-31T01:30", "2027-11-01T01:30"]),
    ("2027-03-28T00:15:00Z", "Europe/Berlin", {"cron": "*/30 * * * *"},
     ["2027-03-28T00:30", "2027-03-28T01:00", "2027-03-28T01:30"]),
    ("2027-10-31T00:15:00Z", "Europe/Berlin", {"cron": "*/30 * * * *"},
     ["2027-10-31T00:30", "2027-10-31T01:00", "2027-10-31T01:30"]),
    ("2027-03-14T05:00:00Z", "America/New_York", {"cron": "15 2 * * *"}, ["2027-03-14T07:00", "2027-03-15T06:15"]),
    ("2027-11-07T04:00:00Z", "America/New_York", {"cron": "15 1 * * *"}, ["2027-11-07T05:15", "2027-11-08T06:15"]),
    ("2027-04-03T12:00:00Z", "Australia/Lord_Howe", {"cron": "45 1 * * *"}, ["2027-04-03T14:45", "2027-04-04T15:15"]),
    ("2027-10-02T12:00:00Z", "Australia/Lord_Howe", {"cron": "15 2 * * *"}, ["2027-10-02T15:30", "2027-10-03T15:15"]),
    ("2027-03-27T23:30:00Z", "Europe/Berlin", {"every": "1h"}, ["2027-03-28T00:30", "2027-03-28T01:30"]),
]  # fmt: skip


@pytest.mark.parametrize(("clock", "zone", "asked", "runs"), DST, indirect=["clock"])
async def test_the_nights_of_a_change(
    schedules: Schedules, target: Target, zone: str, asked: dict[str, Any], runs: list[str]
) -> None:
    """In twins, March and October: what is told comes, once each, and nothing else between."""
    schedule_id = await schedules.create(**asked, timezone=zone)
    told = await schedules.next(schedule_id, len(runs))
    assert [run[:16] for run in told] == runs
    while schedules.fliqd.clock.now_ms() < parse_time(told[-1]):
        schedules.advance(minutes=15)
        await schedules.moved_past(schedule_id)
        now = format_time(schedules.fliqd.clock.now_ms())
        await schedules.ended(schedule_id, sum(run <= now for run in told))
    jobs = await schedules.ended(schedule_id, len(runs))
    assert [job["scheduled_at"] for job in jobs] == told
    assert await schedules.missed(schedule_id) == []


async def test_retention_of_jobs_leaves_schedules_alone(
    fliqd: RunningDaemon, schedules: Schedules, clock: FakeClock
) -> None:
    """What a schedule says of its last run outlives the job; old notes of what it missed go as jobs do."""
    schedule_id = await schedules.create(cron="0 13 1 * *", misfire="skip")
    await schedules.away(hours=2)
    await schedules.moved_past(schedule_id)
    assert await schedules.missed(schedule_id) == [("13:00", "13:00", 1, "misfire")]
    await schedules.do(schedule_id, "run")
    await schedules.ended(schedule_id, 1)
    before = await schedules.get(schedule_id)
    clock.advance(timedelta(days=29))
    assert fliqd.daemon is not None
    await fliqd.daemon._janitor.sweep()  # noqa: SLF001
    assert len(await schedules.missed(schedule_id)) == len(await schedules.jobs(schedule_id)) == 1
    clock.advance(timedelta(days=1, hours=1))
    await fliqd.daemon._janitor.sweep()  # noqa: SLF001
    assert (await schedules.jobs(schedule_id), await schedules.missed(schedule_id)) == ([], [])
    assert await schedules.get(schedule_id) == before
    clock.advance(timedelta(days=2))
    await schedules.moved_past(schedule_id)
    assert await schedules.missed(schedule_id) == [("13:00", "13:00", 1, "misfire")]
