"""What was not run: pauses, misfires, the end; and that nothing is both run and missed."""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.support import RunningDaemon, Target, until

from .conftest import Schedules, at


async def test_a_pause_misses_what_was_due_in_it_and_bursts_at_no_end(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="1h", misfire="all", overlap="allow")
    schedules.advance(hours=1)
    await schedules.ended(schedule_id, 1)
    paused = await schedules.do(schedule_id, "pause")
    assert (paused["status"], paused["next_run_at"], paused["paused_at"][11:16]) == ("paused", None, "13:00")
    assert await schedules.do(schedule_id, "pause") == paused, "once more is nothing"
    assert await schedules.missed(schedule_id) == []
    schedules.advance(hours=3, minutes=30)
    assert await schedules.missed(schedule_id) == [("14:00", "16:00", 3, "paused")], "while it goes on"
    assert (await schedules.next(schedule_id, 1)) == ["2027-03-01T17:00:00.000Z"]
    resumed = await schedules.do(schedule_id, "resume")
    assert (resumed["status"], resumed["next_run_at"], resumed["paused_at"]) == (
        "active", "2027-03-01T17:00:00.000Z", None,
    )  # fmt: skip
    assert (await schedules.do(schedule_id, "resume")) == resumed
    assert await schedules.missed(schedule_id) == [("14:00", "16:00", 3, "paused")]
    schedules.advance(minutes=30)
    await target.received(2)
    assert at(await schedules.ended(schedule_id, 2)) == ["13:00", "17:00"]


async def test_a_pause_over_a_restart(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="1h")
    await schedules.do(schedule_id, "pause")
    await schedules.away(hours=2, minutes=30)
    await schedules.do(schedule_id, "resume")
    assert await schedules.missed(schedule_id) == [("13:00", "14:00", 2, "paused")]
    assert (await schedules.jobs(schedule_id), target.hits) == ([], [])


async def test_jobs_that_are_made_go_on_through_a_pause(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="1h", max_retries=1, backoff={"kind": "fixed", "initial": 60})
    target.answers = [500]
    schedules.advance(hours=1)
    await target.received(1)
    await schedules.do(schedule_id, "pause")

    async def waits() -> bool | None:
        return (await schedules.jobs(schedule_id))[0]["attempts"] == 1 or None

    await until(waits, "the wait for a retry")
    schedules.advance(minutes=2)
    await target.received(2)
    await schedules.ended(schedule_id, 1)


@pytest.mark.parametrize(
    ("asked", "runs", "missed"),
    [
        ({}, ["16:00"], [("13:00", "15:00", 3, "misfire")]),
        ({"misfire": "skip"}, [], [("13:00", "16:00", 4, "misfire")]),
        ({"misfire": "all"}, ["13:00", "14:00", "15:00", "16:00"], []),
        ({"misfire": "all", "overlap": "allow"}, ["13:00", "14:00", "15:00", "16:00"], []),
        ({"misfire_grace": "2h"}, ["15:00", "16:00"], [("13:00", "14:00", 2, "misfire")]),
        ({"misfire": "skip", "misfire_grace": "1h"}, ["16:00"], [("13:00", "15:00", 3, "misfire")]),
        ({"max_runs": 1}, ["16:00"], [("13:00", "15:00", 3, "misfire")]),
        ({"max_runs": 2, "misfire": "all"}, ["13:00", "14:00"], []),
        ({"ends_at": "2027-03-01T15:30:00Z"}, [], [("13:00", "15:00", 3, "expired")]),
        ({"ends_at": "2027-03-01T17:30:00Z"}, ["16:00"], [("13:00", "15:00", 3, "misfire")]),
        ({"cron": "0 * * * *", "every": None}, ["16:00"], [("13:00", "15:00", 3, "misfire")]),
    ],
)
@pytest.mark.parametrize("how", ["down", "step"])
async def test_misfires(
    schedules: Schedules, target: Target, asked: dict[str, Any], runs: list[str], missed: list[Any], how: str
) -> None:
    """After the daemon was down, the machine asleep or the clock wrong alike; what runs does so oldest first."""
    schedule_id = await schedules.create(**{"every": "1h", **asked})
    if how == "down":
        await schedules.away(hours=4, minutes=30)
    else:
        schedules.advance(hours=4, minutes=30)
    await schedules.moved_past(schedule_id)
    assert at(await schedules.ended(schedule_id, len(runs))) == runs
    due = [hit.headers["X-Fliq-Scheduled-At"][11:16] for hit in target.hits]
    assert sorted(due) == runs
    if asked.get("overlap") != "allow":
        assert due == runs
    assert await schedules.missed(schedule_id) == missed


async def test_an_outage_of_ten_years_is_no_walk(schedules: Schedules) -> None:
    every = await schedules.create(every="1s", misfire="skip", overlap="allow")
    cron = await schedules.create(cron="* * * * *", timezone="Europe/Berlin", misfire="all", overlap="allow")
    await schedules.away(days=3653, seconds=30.5)
    await schedules.moved_past(every)
    await schedules.moved_past(cron)
    [(_, _, count, reason)] = await schedules.missed(every)
    assert (count + len(await schedules.jobs(every)), reason) == (3653 * 86_400 + 30, "misfire")
    [(_, _, count, _)] = await schedules.missed(cron)
    assert count == 3653 * 1440 - 100
    assert len(await schedules.ended(cron, 100)) == 100


async def test_a_clock_that_is_set_back_runs_nothing_again(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="1h")
    schedules.advance(hours=2)
    await schedules.moved_past(schedule_id)
    ran = at(await schedules.ended(schedule_id, 1))
    assert ran == ["14:00"]
    for _ in range(8):
        schedules.fliqd.clock.step(-timedelta(minutes=15))
    for _ in range(8):
        schedules.advance(minutes=15)
    schedules.advance(hours=1)
    await target.received(2)
    assert at(await schedules.ended(schedule_id, 2)) == ["14:00", "15:00"]
    assert await schedules.missed(schedule_id) == [("13:00", "13:00", 1, "misfire")]


async def test_a_pause_after_the_clock_was_set_back_does_not_miss_what_has_run(schedules: Schedules) -> None:
    schedule_id = await schedules.create(every="1h")
    schedules.advance(hours=6)
    assert at(await schedules.ended(schedule_id, 1)) == ["18:00"]
    schedules.fliqd.clock.step(-timedelta(hours=5, minutes=30))

    async def brought_back() -> bool | None:
        return (await schedules.get(schedule_id))["next_run_at"][11:16] == "13:00" or None

    await until(brought_back, "the return to the clock")
    await schedules.do(schedule_id, "pause")
    schedules.advance(hours=8)
    missed = [("19:00", "20:00", 2, "paused"), ("13:00", "17:00", 5, "paused")]
    assert await schedules.missed(schedule_id) == missed, "while it goes on"
    await schedules.do(schedule_id, "resume")
    assert sorted(await schedules.missed(schedule_id)) == sorted(missed)


async def test_pages_of_what_was_missed(schedules: Schedules) -> None:
    schedule_id = await schedules.create(every="1h", misfire="skip")
    schedules.advance(minutes=10)
    for _ in range(4):
        await schedules.away(hours=3, minutes=30)
        await schedules.moved_past(schedule_id)
        await schedules.do(schedule_id, "pause")
        schedules.advance(hours=2)
        await schedules.do(schedule_id, "resume")
    await schedules.do(schedule_id, "pause")
    schedules.advance(hours=5)
    whole = (await schedules.ask("GET", f"/{schedule_id}/missed?limit=100")).body
    assert whole["next_cursor"] is None
    assert len(whole["missed"]) == 9
    assert [one["noted_at"] for one in whole["missed"]] == sorted(
        (one["noted_at"] for one in whole["missed"]), reverse=True
    )
    assert sum(one["count"] for one in whole["missed"]) == 4 * 5 + 2 + 5
    for limit in (1, 2, 3, 8):
        seen, cursor = [], ""
        while cursor is not None:
            query = f"?limit={limit}{cursor and '&cursor=' + cursor}"
            page = (await schedules.ask("GET", f"/{schedule_id}/missed{query}")).body
            seen += page["missed"]
            cursor = page["next_cursor"]
            assert len(page["missed"]) == limit or cursor is None
        assert seen == whole["missed"]


async def test_a_change_of_its_times_counts_from_now_on(schedules: Schedules, target: Target) -> None:
    """What was due before has been settled by the old timing; jobs that are made stay as they are."""
    schedule_id = await schedules.create(every="1h", body="old")
    released = target.hold()
    schedules.advance(hours=1)
    await target.received(1)
    await schedules.change(schedule_id, every="20m", body="new")
    assert (await schedules.jobs(schedule_id))[0]["body"] == "old"
    assert (await schedules.get(schedule_id))["next_run_at"] == "2027-03-01T13:20:00.000Z"
    released.set()
    schedules.advance(minutes=20)
    hits = await target.received(2)
    assert [hit.body for hit in hits] == [b"old", b"new"]
    await schedules.change(schedule_id, description="nothing of its times")
    assert (await schedules.get(schedule_id))["next_run_at"] == "2027-03-01T13:40:00.000Z"
    assert await schedules.missed(schedule_id) == []


async def test_a_run_whose_jitter_is_not_over_survives_a_change(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="10h", jitter="9h")
    [due] = await schedules.next(schedule_id, 1)
    schedules.advance(hours=10, seconds=1)
    await schedules.change(schedule_id, max_runs=7)
    [job] = await schedules.jobs(schedule_id)
    assert (job["scheduled_at"], job["status"]) == (due, "scheduled")
    assert (await schedules.get(schedule_id))["run_count"] == 1
    schedules.advance(hours=9)
    await target.received(1)
    assert await schedules.missed(schedule_id) == []


async def test_a_pause_that_is_over_before_the_jitter_takes_no_run(schedules: Schedules, target: Target) -> None:
    schedule_id = await schedules.create(every="10h", jitter="9h")
    due = await schedules.next(schedule_id, 2)
    schedules.advance(hours=10, seconds=1)
    await schedules.do(schedule_id, "pause")
    schedules.advance(seconds=1)
    assert await schedules.next(schedule_id, 2) == due
    await schedules.do(schedule_id, "resume")
    assert await schedules.missed(schedule_id) == []
    assert (await schedules.get(schedule_id))["next_run_at"] == due[0]
    schedules.advance(hours=9)
    [hit] = await target.received(1)
    assert hit.headers["X-Fliq-Scheduled-At"] == due[0]


async def test_deleting(schedules: Schedules, target: Target) -> None:
    """What never started is cancelled, what retries goes on, and both can be read, with what was missed."""
    schedule_id = await schedules.create(
        every="1h", overlap="allow", max_retries=3, backoff={"kind": "fixed", "initial": 60}
    )
    await schedules.away(hours=1, minutes=30)
    await schedules.ended(schedule_id, 1)
    target.answers = [500]
    schedules.advance(minutes=30)
    await target.received(2)

    async def retries() -> bool | None:
        return (
            any(job["attempts"] == 1 and job["status"] == "scheduled" for job in await schedules.jobs(schedule_id))
            or None
        )

    await until(retries, "the wait for a retry")
    schedules.advance(minutes=59, seconds=59, milliseconds=900)

    async def made() -> bool | None:
        return len(await schedules.jobs(schedule_id)) == 3 or None

    await until(made, "the job of the next run")
    assert (await schedules.ask("DELETE", f"/{schedule_id}")).status == 204
    assert (await schedules.ask("GET", f"/{schedule_id}")).status == 404
    assert (await schedules.ask("DELETE", f"/{schedule_id}")).status == 404
    assert (await schedules.ask("POST", f"/{schedule_id}/run")).status == 404
    assert (await schedules.ask("GET", f"/{schedule_id}/next")).status == 404
    assert (await schedules.ask("GET", "")).body["schedules"] == []
    await schedules.ended(schedule_id, 2)
    assert at(await schedules.ended(schedule_id, 1, "cancelled")) == ["15:00"]
    assert await schedules.missed(schedule_id) == []
    schedules.advance(hours=5)
    await schedules.away(hours=5)
    assert len(await schedules.jobs(schedule_id)) == 3


async def test_what_a_deleted_schedule_missed_can_be_read(schedules: Schedules) -> None:
    schedule_id = await schedules.create(every="1h", name="a")
    await schedules.do(schedule_id, "pause")
    schedules.advance(hours=3)
    await schedules.ask("DELETE", f"/{schedule_id}")
    schedules.advance(hours=3)
    assert await schedules.missed(schedule_id) == [("13:00", "15:00", 3, "paused")]
    again = await schedules.create(every="1h", name="a")
    assert again != schedule_id
    assert await schedules.missed(again) == []


# A schedule that cannot be computed


def edit(fliqd: RunningDaemon, sql: str) -> None:
    """Change the store behind the back of a daemon that is stopped."""
    with sqlite3.connect(fliqd.state_dir / "fliqd.db") as plain:
        plain.execute(sql)
    plain.close()


async def test_one_that_cannot_be_computed_is_parked_alone(
    fliqd: RunningDaemon, schedules: Schedules, target: Target, tmp_path: Path
) -> None:
    """As after an update of the zones that took one away: it shows why, the others go on, a new zone heals it."""
    lost = await schedules.create(cron="0 * * * *", timezone="Europe/Berlin", name="lost")
    fine = await schedules.create(cron="0 * * * *", timezone="Europe/Berlin", name="fine")
    await fliqd.stop()
    edit(fliqd, "UPDATE schedule SET timezone = 'Atlantis/Capital' WHERE name = 'lost'")
    await fliqd.start()
    schedules.advance(hours=1)
    await schedules.ended(fine, 1)

    async def parked() -> dict[str, Any] | None:
        shown = await schedules.get(lost)
        return shown if shown["error"] else None

    shown = await until(parked, "the error")
    assert "Atlantis/Capital" in shown["error"]
    assert (shown["status"], shown["next_run_at"], shown["timezone"]) == ("active", None, "Atlantis/Capital")
    assert (await schedules.jobs(lost), await schedules.missed(lost)) == ([], [])
    assert (await schedules.ask("GET", f"/{lost}/next")).code == "not_computable"
    assert (await schedules.change(lost, description="still"))["error"] == shown["error"]
    refused = await schedules.ask("PATCH", f"/{lost}", {"cron": "5 * * * *"})
    assert (refused.status, refused.code) == (400, "invalid_timezone")
    for what in ("pause", "resume"):
        await schedules.do(lost, what)
    assert (await schedules.get(lost))["error"] == shown["error"]
    await schedules.do(lost, "run")
    await schedules.ended(lost, 1)

    await schedules.away(hours=1, minutes=30)
    healed = await schedules.change(lost, timezone="Europe/Vienna")
    assert (healed["error"], healed["next_run_at"]) == (None, "2027-03-01T15:00:00.000Z")
    assert await schedules.missed(lost) == [("13:00", "13:00", 1, "misfire")]
    schedules.advance(minutes=30)
    assert at(await schedules.ended(lost, 3))[1:] == ["14:00", "15:00"]


@pytest.mark.parametrize(
    ("asked", "runs", "missed"),
    [
        ({}, ["15:00"], [("13:00", "14:00", 2, "misfire")]),
        ({"misfire": "all"}, ["13:00", "14:00", "15:00"], []),
        ({"misfire": "skip"}, [], [("13:00", "15:00", 3, "misfire")]),
        ({"misfire_grace": "1h"}, ["15:00"], [("13:00", "14:00", 2, "misfire")]),
    ],
)
@pytest.mark.parametrize("by", ["patch", "reload"])
async def test_what_was_due_while_one_was_parked_follows_its_policy(
    fliqd: RunningDaemon,
    schedules: Schedules,
    target: Target,
    asked: dict[str, Any],
    runs: list[Any],
    missed: Any,
    by: str,
) -> None:
    """As after downtime, by the timing that mends it: no one can say what was due by the one that is lost."""
    entry = {"name": "lost", "url": target.url, "cron": "0 * * * *", "timezone": "Europe/Berlin", **asked}
    file = fliqd.state_dir.with_name("fliqd.toml")
    if by == "reload":
        file.write_text(tomli_w.dumps({"schedules": [entry]}))
        await fliqd.stop()
        await fliqd.start()
        schedule_id = str((await schedules.ask("GET", "")).body["schedules"][0]["id"])
    else:
        schedule_id = await schedules.create(**entry)
    await fliqd.stop()
    edit(fliqd, "UPDATE schedule SET timezone = 'Atlantis/Capital'")
    if by == "reload":
        file.write_text(tomli_w.dumps({"schedules": [entry | {"timezone": "Europe/Vienna"}]}))
    fliqd.clock.advance(timedelta(hours=3, minutes=30))
    await fliqd.start()
    if by == "patch":
        await schedules.change(schedule_id, timezone="Europe/Vienna")
    assert at(await schedules.ended(schedule_id, len(runs))) == runs
    assert await schedules.missed(schedule_id) == missed
    assert len(target.hits) == len(runs)


async def test_one_that_can_be_computed_again_goes_on(fliqd: RunningDaemon, schedules: Schedules) -> None:
    """The zones are back at the next start: what was due meanwhile is a misfire."""
    schedule_id = await schedules.create(cron="0 * * * *", timezone="Europe/Berlin")
    await fliqd.stop()
    edit(fliqd, "UPDATE schedule SET timezone = 'Atlantis/Capital'")
    fliqd.clock.advance(timedelta(minutes=150))
    await fliqd.start()

    async def parked() -> bool | None:
        return (await schedules.get(schedule_id))["error"] is not None or None

    await until(parked, "the error")
    await fliqd.stop()
    edit(fliqd, "UPDATE schedule SET timezone = 'Europe/Berlin'")
    await fliqd.start()
    assert at(await schedules.ended(schedule_id, 1)) == ["14:00"]
    assert await schedules.missed(schedule_id) == [("13:00", "13:00", 1, "misfire")]
    shown = await schedules.get(schedule_id)
    assert (shown["error"], shown["next_run_at"]) == (None, "2027-03-01T15:00:00.000Z")


async def test_one_that_the_store_refuses_is_parked_alone(
    fliqd: RunningDaemon, schedules: Schedules, target: Target
) -> None:
    broken = await schedules.create(every="1h", name="broken")
    others = [await schedules.create(every="1h") for _ in range(3)]
    await fliqd.stop()
    refuses = "BEFORE INSERT ON job WHEN new.name = 'broken' BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    edit(fliqd, f"CREATE TRIGGER refuse {refuses}")
    await fliqd.start()
    schedules.advance(hours=1)
    for other in others:
        await schedules.ended(other, 1)

    async def parked() -> str | None:
        error: str | None = (await schedules.get(broken))["error"]
        return error

    assert "not this one" in await until(parked, "the error")
    assert (await fliqd("GET", "/readyz")).status == 200
    await fliqd.stop()
    edit(fliqd, "DROP TRIGGER refuse")
    await fliqd.start()
    await schedules.ended(broken, 1)


async def test_what_the_file_declares_is_changed_in_the_file(fliqd: RunningDaemon, schedules: Schedules) -> None:
    """It may be paused, run and read by anyone who may."""
    schedule_id = await schedules.create(every="1h", name="a")
    await fliqd.stop()
    edit(fliqd, "UPDATE schedule SET source = 'config'")
    await fliqd.start()
    for answer in (
        await schedules.ask("PATCH", f"/{schedule_id}", {"description": "d"}),
        await schedules.ask("DELETE", f"/{schedule_id}"),
    ):
        assert (answer.status, answer.code) == (409, "managed_by_config")
    assert (await schedules.do(schedule_id, "pause"))["status"] == "paused"
    assert (await schedules.do(schedule_id, "resume"))["status"] == "active"
    await schedules.do(schedule_id, "run")
    await schedules.ended(schedule_id, 1)
    assert (await schedules.get(schedule_id))["source"] == "config"
