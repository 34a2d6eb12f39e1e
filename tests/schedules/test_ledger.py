"""Whatever is done to a schedule, each due time has a job or is missed, never both: over the real store.

A client pauses, resumes, changes, runs; the daemon looks, is down, has its clock set; runs take long or fail. The
law is checked against slots that are counted one by one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fliqd.core.drafts import Defaults
from fliqd.core.model import HELD_MS, Job, JobStatus
from fliqd.core.schedule import Missed, Schedule, WhileRunning, run_ms
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.engine.planner import Planner
from fliqd.service.schedules import AskedSchedule, ScheduleService
from fliqd.store.base import JobFilter
from fliqd.store.sqlite.store import SqliteStore
from tests.store.test_conformance import finish, the_end
from tests.support import FakeClock

S, M = 1_000, 60_000


@dataclass
class Segment:
    """A stretch of a schedule's life with one timing: its slots come after `from_ms`."""

    anchor_ms: int
    every_ms: int
    from_ms: int
    until_ms: int = 0


@dataclass
class World:
    """A store, what works on it, and a schedule in it."""

    store: SqliteStore
    clock: FakeClock
    schedules: ScheduleService
    planner: Planner
    id: str = ""
    segments: list[Segment] = field(default_factory=list)

    async def schedule(self) -> Schedule:
        return await self.store.schedules.get(self.id)

    async def jobs(self) -> list[Job]:
        return (await self.store.jobs(JobFilter(schedule_id=self.id), before_pk=None, limit=100_000)).jobs

    async def missed(self) -> list[Missed]:
        found: list[Missed] = []
        place = None
        while True:
            page, place = await self.schedules.missed(self.id, before_pk=place, limit=3)
            assert len(page) <= 3
            found += page
            if place is None:
                return found

    async def create(self, **asked: Any) -> None:
        made = await self.schedules.create(AskedSchedule(ScheduleDraft(url="http://a/", **asked)))
        self.id = made.id
        self._begins(made)

    def _begins(self, schedule: Schedule) -> None:
        assert schedule.anchor_ms is not None
        assert schedule.every_ms is not None
        self.segments.append(Segment(schedule.anchor_ms, schedule.every_ms, schedule.cursor_ms))

    async def change(self, **asked: Any) -> None:
        before = await self.schedule()
        now_ms = self.clock.now_ms()
        changed = await self.schedules.update(self.id, AskedSchedule(ScheduleDraft(**asked)))
        if changed.every_ms != before.every_ms:
            self.segments[-1].until_ms = max(now_ms, before.cursor_ms)
            self._begins(changed)

    async def look(self) -> None:
        """Settle what is due, as the planner does."""
        while True:
            schedule = await self.schedule()
            due_ms = schedule.next_run_ms
            if due_ms is None or due_ms > self.clock.now_ms():
                return
            [taken] = await self.store.schedules.take([self.planner.step(schedule, self.clock.now_ms())])
            assert taken is not None

    async def work(self, *, fail: bool, most: int) -> None:
        """Let up to `most` jobs that are due start, and end."""
        now_ms = self.clock.now_ms()
        due = [entry for entry in await self.store.due_page(start=(-1, 0), limit=most) if entry.due_ms <= now_ms]
        for job in await self.store.attempts.claim(due, owner="me", now_ms=now_ms, until_ms=now_ms):
            assert job.scheduled_ms <= now_ms
            await finish(self.store, the_end(job, JobStatus.FAILED if fail else JobStatus.SUCCESS))

    async def check(self) -> None:
        schedule = await self.schedule()
        jobs = await self.jobs()
        slots = [job.slot_ms for job in jobs if job.slot_ms is not None]
        assert len(set(slots)) == len(slots)
        live = [job for job in jobs if job.finished_ms is None]
        held = [job for job in live if job.next_attempt_ms == HELD_MS]
        assert len(live) > len(held) or not held, "held by nobody"
        if schedule.overlap is WhileRunning.QUEUE and schedule.misfire.value == "latest":
            assert len(held) <= 1
        every = self._slots(max(schedule.cursor_ms, self.clock.now_ms()))
        accounted = dict.fromkeys(slots, "job")
        for one in await self.missed():
            covered = [slot for slot in every if one.first_ms <= slot <= one.last_ms]
            assert (covered[0], covered[-1], len(covered)) == (one.first_ms, one.last_ms, one.count)
            assert not accounted.keys() & set(covered)
            accounted |= dict.fromkeys(covered, str(one.reason))
        open_ = sorted(set(every) - accounted.keys())
        assert accounted.keys() <= set(every)
        # What is neither is still ahead: it comes after all that is settled, and is due later than now.
        assert all(slot > schedule.cursor_ms for slot in open_)
        if schedule.paused_ms is not None:
            assert all(run_ms(schedule, slot) > self.clock.now_ms() for slot in open_)

    def _slots(self, until_ms: int) -> list[int]:
        self.segments[-1].until_ms = until_ms
        return [
            slot
            for part in self.segments
            for slot in range(part.anchor_ms, part.until_ms + 1, part.every_ms)
            if slot > part.from_ms
        ]


@contextmanager
def world(runner: asyncio.Runner) -> Iterator[World]:
    async def opened(path: Path) -> World:
        numbers = count(1)
        clock = FakeClock()
        store = await SqliteStore.open(
            path / "fliqd.db",
            marker=path / "store.marker",
            durability="normal",  # thousands of commits, and no power cut
            max_bytes=2**40,
            new_execution_id=lambda: f"exec_{next(numbers)}",
            new_event_id=lambda: f"evt_{next(numbers)}",
            on_fatal=print,
        )
        more: dict[str, Any] = {"store": store.schedules, "clock": clock, "new_ulid": lambda: f"{next(numbers):026d}"}
        return World(
            store, clock, ScheduleService(**more, defaults=Defaults), Planner(**more, give_back=print, on_missed=print)
        )

    with TemporaryDirectory() as folder:
        made = runner.run(opened(Path(folder)))
        try:
            yield made
        finally:
            runner.run(made.store.close())


EVENTS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1, S, 20 * S, M, 3 * M])),
    st.tuples(st.just("pass"), st.sampled_from([1, S, 20 * S, M, 3 * M])),
    st.tuples(st.just("down"), st.sampled_from([30 * S, 10 * M, 200 * M])),
    st.tuples(st.just("back"), st.sampled_from([1, 30 * S, 10 * M])),
    st.tuples(st.just("work"), st.sampled_from([0, 1, 5])),
    st.tuples(st.just("fail"), st.sampled_from([1, 5])),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("every"), st.sampled_from([20 * S, M, 7 * M])),
    st.tuples(st.just("jitter"), st.sampled_from([0, 19 * S])),
    st.tuples(st.just("name"), st.integers(0, 9)),
    st.tuples(st.just("paused"), st.booleans()),
    st.tuples(st.just("run"), st.just(0)),
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(EVENTS, min_size=3, max_size=14),
    st.sampled_from([20 * S, M]),
    st.sampled_from([0, 19 * S]),
    st.sampled_from(["latest", "all", "skip"]),
    st.sampled_from(["queue", "allow", "skip"]),
    st.sampled_from([0, 45 * S, M, 30 * M]),
)
def test_each_due_time_has_one_fate(
    events: list[tuple[str, int]], every: int, jitter: int, misfire: str, overlap: str, grace: int
) -> None:
    with asyncio.Runner() as runner, world(runner) as made:
        asked = {"every": every / 1000, "jitter": jitter / 1000, "misfire_grace": grace / 1000}
        runner.run(live(made, events, asked | {"misfire": misfire, "overlap": overlap}))


async def live(made: World, events: list[tuple[str, int]], asked: dict[str, Any]) -> None:
    await made.create(**asked)
    for event, much in events:
        if event in {"pass", "down", "back"}:
            made.clock.advance(timedelta(milliseconds=-much if event == "back" else much))
            if event == "pass":
                await made.look()
        elif event in {"work", "fail"}:
            await made.work(fail=event == "fail", most=much)
        elif event == "pause":
            await made.schedules.pause(made.id)
        elif event == "resume":
            await resume(made)
        elif event in {"every", "jitter"}:
            await made.change(**{event: much / 1000})
        elif event == "name":
            await made.change(name=f"n{much}", paused=None)
        elif event == "paused":
            await made.change(paused=bool(much))
        else:
            await made.schedules.run(made.id)
        await made.check()
    await made.look()
    await made.check()


async def resume(made: World) -> None:
    """Go on; nothing of what was due meanwhile runs."""
    was_paused = (await made.schedule()).paused_ms is not None
    before = len(await made.jobs())
    await made.schedules.resume(made.id)
    await made.look()
    if was_paused:
        assert len(await made.jobs()) == before, "a burst"
