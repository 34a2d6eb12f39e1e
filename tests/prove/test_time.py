"""Nights in which clocks change, and clocks that are set, drift, sleep or have a leap second, under a running daemon.

Six zones, whose changes are of an hour, of thirty minutes (Lord Howe), of two hours (Troll), at a quarter to three
(Chatham) and around Ramadan (Casablanca): every night of a change in 2027, in fast motion, for expressions of all
kinds. What should have run is worked out by another program, which walks through time as cron does. Then clocks that
are put on and back by up to a day, put on by ten years, suspended, slewed, and leap seconds. Each due time is found
among the jobs, and its request at the target, or in `/missed`: once, and in one of the two.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fliqd.core.times import format_time, parse_time
from tests.core.cron_oracle import Spec, offset, walk
from tests.prove.proof import Proof
from tests.support import FakeClock, RunningDaemon, Target, delivery_ids, until

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Chatham",
         "Africa/Casablanca")  # fmt: skip
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEAR = 2027
AHEAD_MS = 200  # a due time has its job a moment before


def every_day(_day: date) -> bool:
    return True


def field(text: str, low: int, high: int) -> frozenset[int]:
    """Return what a field means; only of the kinds below."""
    whole, _, step = text.partition("/")
    if whole == "*":
        return frozenset(range(low, high + 1, int(step or 1)))
    found: set[int] = set()
    for part in whole.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return frozenset(found)


def daily(minute: str, hour: str) -> Spec:
    months = frozenset(range(1, 13))
    return Spec(f"{minute} {hour} * * *", field(minute, 0, 59), field(hour, 0, 23), months, every_day, every_day)


def some_spec(chance: random.Random) -> Spec:
    """Return an expression for the small hours."""
    minute = chance.choice(
        ["0", "15", "30", "45", "59", "*/15", "*/20", "5,35", "10-50/20", "*/7", str(chance.randrange(60))]
    )
    hour = chance.choice(["*", "0", "1", "2", "3", "0-4", "1,2,3", "*/2", "23", "22-23", str(chance.randrange(24))])
    return daily(minute, hour)


def changes(zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the hours of the year in which a zone changes its offset."""
    at = datetime(YEAR, 1, 2, tzinfo=UTC)
    while at.year == YEAR:
        if offset(int(at.timestamp()), zone) != offset(int((at + HOUR).timestamp()), zone):
            yield at
        at += HOUR


@dataclass
class Watched:
    """A schedule, and what should become of it."""

    id: str
    spec: Spec
    zone: str

    def due(self, since_ms: int, until_ms: int) -> list[int]:
        """Return its due times after `since_ms`, up to `until_ms`, as the oracle sees them."""
        runs = walk(self.spec, ZoneInfo(self.zone), since_ms // 1000 + 1, until_ms // 1000 + 1)
        return sorted({run * 1000 for run in runs})


@pytest.fixture
def env() -> dict[str, str]:
    return {"FLIQD_RETENTION__FINISHED_JOBS": "36500d"}


async def watch(fliqd: RunningDaemon, target: Target, spec: Spec, zone: str, **asked: Any) -> Watched:
    document = {"cron": spec.text, "timezone": zone, "url": target.url, "overlap": "allow", **asked}
    answer = await fliqd("POST", "/v1/schedules", document)
    assert answer.status == 201, answer.body
    return Watched(str(answer.body["id"]), spec, zone)


async def settled(fliqd: RunningDaemon) -> None:
    """Wait until nothing is due any more, and what was has ended."""
    now_ms = fliqd.clock.now_ms()
    now, after = format_time(now_ms), format_time(now_ms + 1)

    async def done() -> bool | None:
        # In this order: a schedule moves on in the transaction that makes its job, which waits before it runs.
        for schedule in await everything(fliqd, "/v1/schedules", "schedules"):
            if schedule["next_run_at"] is not None and schedule["next_run_at"] <= now:
                return None
        for question in (f"status=scheduled&scheduled_before={after}", "status=running"):
            if (await fliqd("GET", f"/v1/jobs?limit=1&{question}")).body["jobs"]:
                return None
        return True

    await until(done, "the end of what is due")


async def brought_back(fliqd: RunningDaemon, made: Sequence[Watched]) -> None:
    """Wait until no schedule is further ahead of a clock that was put back than it may stay, which is three hours."""
    far_ms = fliqd.clock.now_ms() + 3 * 3_600_000

    async def done() -> bool | None:
        for one in made:
            next_at = (await fliqd("GET", f"/v1/schedules/{one.id}")).body["next_run_at"]
            if one.due(far_ms, parse_time(next_at) - 1):
                return None
        return True

    await until(done, "the return of schedules to the clock")


async def everything(fliqd: RunningDaemon, path: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await fliqd("GET", f"{path}?limit=100{cursor and '&cursor=' + cursor}")).body
        found += page[name]
        cursor = page["next_cursor"]
    return found


async def account(
    fliqd: RunningDaemon, one: Watched, target: Target, since_ms: int, until_ms: int, earliest_ms: int | None = None
) -> tuple[int, int]:
    """Check that each due time has one fate, and each job one request; return how many ran and how many did not.

    Where the clock was put back to before the schedule was made, to `earliest_ms`, the times from there may have one.
    """
    due = one.due(since_ms if earliest_ms is None else earliest_ms, until_ms + AHEAD_MS)
    jobs = await everything(fliqd, f"/v1/schedules/{one.id}/jobs", "jobs")
    ran = Counter(parse_time(job["scheduled_at"]) for job in jobs)
    fate: Counter[int] = Counter(ran)
    for gap in await everything(fliqd, f"/v1/schedules/{one.id}/missed", "missed"):
        covered = [at for at in due if parse_time(gap["first_at"]) <= at <= parse_time(gap["last_at"])]
        covered = [at for at in covered if at not in ran or gap["count"] == len(covered)]
        assert len(covered) == gap["count"], (one, gap)
        fate.update(covered)
    wrong = (set(fate) - set(due)) | {at for at in due if since_ms < at <= until_ms and at not in fate}
    assert not wrong, (one, [format_time(at) for at in sorted(wrong)])
    assert set(fate.values()) <= {1}, (one, [format_time(at) for at, times in fate.items() if times > 1])
    requests = Counter(delivery_ids(target.hits))
    over = [job for job in jobs if parse_time(job["scheduled_at"]) <= until_ms]
    assert not [job for job in over if requests[job["id"]] != 1 or job["status"] != "success"]
    return len(jobs), len(fate) - len(jobs)


async def to_the_next(fliqd: RunningDaemon, late: timedelta, most: timedelta) -> None:
    """Let time pass until something is due, and a little longer; no more than `most`."""
    status = (await fliqd("GET", "/v1/status")).body
    now_ms = fliqd.clock.now_ms()
    ahead = (
        most if status["next_due_at"] is None else timedelta(milliseconds=parse_time(status["next_due_at"]) - now_ms)
    )
    fliqd.clock.advance(max(min(ahead + late, most), timedelta(milliseconds=1)))
    await settled(fliqd)


NIGHTS = [(zone, at) for zone in ZONES for at in changes(ZoneInfo(zone))]


async def test_nights_of_a_change_run_what_cron_would(
    proof: Proof, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    """Each night for all zones at once: in five of them it is a night like others."""
    clock.advance(datetime(YEAR, 1, 1, tzinfo=UTC) - datetime.fromtimestamp(clock.now_ms() / 1000, UTC))
    figures: Counter[str] = Counter()
    nights = NIGHTS if proof.long else [proof.chance.choice([n for n in NIGHTS if n[0] == zone]) for zone in ZONES]
    nights = sorted(nights, key=lambda night: night[1])
    for zone, change in nights:
        begin = change - timedelta(hours=proof.times(short=3, long=14))
        clock.advance(begin - datetime.fromtimestamp(clock.now_ms() / 1000, UTC))
        await settled(fliqd)
        since_ms = clock.now_ms()
        specs = [daily("30", "2"), daily("*/15", "*"), daily("0", "*/2")]
        specs += [some_spec(proof.chance) for _ in range(proof.times(short=2, long=12))]
        others = [other for other in ZONES if other != zone][: proof.times(short=1, long=5)]
        made = [await watch(fliqd, target, spec, where) for spec in specs for where in (zone, *others)]
        end_ms = since_ms + proof.times(short=6, long=28) * 3_600_000
        while clock.now_ms() < end_ms:
            await to_the_next(fliqd, timedelta(seconds=proof.chance.choice([0, 0, 1, 30])), HOUR)
        for one in made:
            ran, missed = await account(fliqd, one, target, since_ms, clock.now_ms())
            assert not missed, "nothing was late"
            figures.update(schedules=1, runs=ran)
            assert (await fliqd("DELETE", f"/v1/schedules/{one.id}")).status == 204
        figures.update(nights=1)
    proof.saw(zones=len(ZONES), **figures)


async def test_clocks_that_are_set_drift_and_sleep(
    proof: Proof, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    """Whatever a clock does, each due time up to the latest that it has shown has one fate."""
    figures: Counter[str] = Counter()
    for _ in range(proof.times(short=3, long=150)):
        since_ms = earliest_ms = latest_ms = clock.now_ms()
        made = [
            await watch(fliqd, target, some_spec(proof.chance), proof.chance.choice(ZONES), misfire=misfire)
            for misfire in ("latest", "all", "skip")
            for _ in range(3)
        ]
        for _ in range(16):
            what = proof.chance.choice(["passes", "passes", "passes", "sleeps", "put_on", "put_back", "slewed"])
            by = timedelta(seconds=proof.chance.choice([1, 59, 3600, 86_400, proof.chance.randrange(1, 100_000)]))
            if what == "passes":
                await to_the_next(fliqd, timedelta(seconds=proof.chance.choice([0, 59, 61])), 3 * HOUR)
            elif what == "sleeps":
                clock.advance(by)
            elif what == "slewed":  # by less than is called a step
                clock.advance(timedelta(milliseconds=proof.chance.choice([-400, 400])))
            else:
                clock.step(-by if what == "put_back" else by)
                await brought_back(fliqd, made)
            await settled(fliqd)
            figures.update({what: 1})
            latest_ms, earliest_ms = max(latest_ms, clock.now_ms()), min(earliest_ms, clock.now_ms())
        clock.advance(timedelta(milliseconds=latest_ms - clock.now_ms()))
        await settled(fliqd)
        for one in made:
            ran, missed = await account(fliqd, one, target, since_ms, clock.now_ms(), earliest_ms)
            figures.update(runs=ran, missed=missed)
            assert (await fliqd("DELETE", f"/v1/schedules/{one.id}")).status == 204
    assert figures["runs"]
    assert figures["missed"], "it has proved little"
    proof.saw(**figures)


async def test_a_clock_put_on_by_ten_years_and_back(
    proof: Proof, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    """Nobody walks through them: one run makes up for all, the others are counted; and back, it runs on time again."""
    one = await watch(fliqd, target, daily("30", "2"), "Europe/Berlin")
    clock.step(timedelta(days=3653))
    await settled(fliqd)
    [missed] = (await fliqd("GET", f"/v1/schedules/{one.id}/missed")).body["missed"]
    assert missed["count"] == 3653 - 1, "once each night, in those of a change too"
    assert len(await target.received(1)) == 1
    clock.step(timedelta(days=-3653))
    await settled(fliqd)
    for number in range(2, 5):
        await to_the_next(fliqd, timedelta(), 2 * DAY)
        await target.received(number)
    assert (await fliqd("GET", f"/v1/schedules/{one.id}")).body["next_run_at"][:4] == str(YEAR)
    proof.saw(steps=2, nights_missed=missed["count"])


@pytest.mark.parametrize("clock_does", ["repeats the second", "is smeared"])
async def test_a_leap_second(
    proof: Proof, fliqd: RunningDaemon, target: Target, clock: FakeClock, clock_does: str
) -> None:
    """A job for 23:59:60 runs at the second after 23:59:59, once; so do those of every second around it."""
    clock.advance(datetime(YEAR, 12, 31, 23, 59, 30, tzinfo=UTC) - datetime.fromtimestamp(clock.now_ms() / 1000, UTC))
    jobs = [
        await fliqd.create(url=target.url, scheduled_at=f"{YEAR}-12-31T23:59:{second}Z")
        for second in ("58", "59", "59.999", "60", "60.5")
    ]
    jobs.append(await fliqd.create(url=target.url, scheduled_at=f"{YEAR + 1}-01-01T00:00:00Z"))
    assert [job["scheduled_at"][17:] for job in jobs[3:]] == ["00.000Z", "00.500Z", "00.000Z"]
    every = await fliqd("POST", "/v1/schedules", {"every": "1s", "url": target.url, "overlap": "allow"})
    began_ms = clock.now_ms()
    until_ms = parse_time(f"{YEAR + 1}-01-01T00:00:10Z")
    repeated = clock_does == "is smeared"
    while clock.now_ms() < until_ms:
        clock.advance(timedelta(milliseconds=250 if clock_does != "is smeared" else 251))
        if not repeated and clock.now_ms() % 60_000 >= 59_750:
            clock.step(timedelta(seconds=-1))
            repeated = True
        await settled(fliqd)
    ran = await everything(fliqd, f"/v1/schedules/{every.body['id']}/jobs", "jobs")
    seconds = [parse_time(job["scheduled_at"]) for job in ran]
    assert seconds[::-1] == list(range(min(seconds), max(seconds) + 1, 1000)), "one missing, or one twice"
    assert max(seconds) - min(seconds) >= until_ms - began_ms - 2000
    requests = Counter(delivery_ids(target.hits))
    assert all(requests[job["id"]] == 1 for job in (*jobs, *ran))
    proof.saw(leap_seconds=1, runs=len(ran))
