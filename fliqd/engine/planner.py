"""Makes a job for each due time of each schedule, or notes why not; and moves the schedule on."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from fliqd.clock import Clock
from fliqd.core.accounting import account, next_run_ms
from fliqd.core.due_heap import DueEntry
from fliqd.core.schedule import MissedReason, Schedule, WhileRunning, fault_of
from fliqd.engine.scheduler import SCHEDULES_LEAD_MS
from fliqd.errors import FliqdError, StoreIOError, StoreUnusableError, UnavailableError
from fliqd.store.base import Schedules, Step

log = structlog.get_logger()

BATCH: Final = 100  # schedules a transaction: a create may have to wait for it
FAR_MS: Final = 3 * 3_600_000  # ahead of the clock: then the clock was wrong when the schedule got there
TOO_LATE: Final = (MissedReason.MISFIRE, MissedReason.EXPIRED)  # nobody has asked for these not to run
BACK_OFF_S: Final = 1.0  # after the store could not write, before it is asked again


class Planner:
    """Takes due schedules in batches, decides in a thread of its own, writes through the store.

    A schedule is settled a moment ahead of its due time, so that its job is on disk when it is due. One that
    skips while an earlier run goes on is settled at that time itself: the run may end until then.
    """

    def __init__(
        self,
        *,
        store: Schedules,
        clock: Clock,
        new_ulid: Callable[[], str],
        give_back: Callable[[Sequence[DueEntry]], None],
        on_missed: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._on_missed = on_missed
        self._store = store
        self._clock = clock
        self._new_ulid = new_ulid
        self._give_back = give_back
        self._due: dict[int, int | None] = {}  # pks in order, with when they were due; None for the parked
        self._set_back = True  # the clock has been, or may have been before the start
        self._changed = asyncio.Event()

    def hand_over(self, entries: Sequence[DueEntry]) -> None:
        """Take in schedules that are due."""
        self._due.update((entry.pk, entry.due_ms) for entry in entries)
        self._changed.set()

    def clock_set_back(self) -> None:
        """Take note that the clock has been set back."""
        self._set_back = True
        self._changed.set()

    async def run(self) -> None:
        """Settle what is due, for ever; first what could not be settled before: the zones may have changed."""
        begun = False
        while True:
            if not self._due and not self._set_back:
                self._changed.clear()
                await self._changed.wait()
            batch = {pk: self._due.pop(pk) for pk in list(self._due)[:BATCH]}
            try:
                if self._set_back:
                    await self._rewind()
                if not begun:
                    self._due.update(dict.fromkeys(await self._store.parked()))
                    begun = True
                await self._settle(batch)
            except UnavailableError as err:
                log.warning("planner.waits", error=str(err))
                self._due = batch | self._due
                await asyncio.sleep(BACK_OFF_S)

    async def _rewind(self) -> None:
        """Bring back schedules that a wrong clock has taken far ahead, or they would stand still until then.

        What has run there has its job, and does not run again.
        """
        now_ms = self._clock.now_ms()
        far = [schedule for schedule in await self._store.all() if schedule.cursor_ms > now_ms + FAR_MS]
        for first in range(0, len(far), BATCH):
            steps = [
                Step(old=old, now_ms=now_ms, ahead_of_ms=now_ms, change=partial(_brought_back, now_ms=now_ms))
                for old in far[first : first + BATCH]
                if fault_of(old) is None
            ]
            await self._store.take(steps)
        self._set_back = False
        if far:
            log.warning("schedules.brought_back", schedules=len(far), hint="the clock was far ahead of now")

    async def _settle(self, batch: Mapping[int, int | None]) -> None:
        """Settle those that are still due; one that has changed since was offered anew by that change."""
        now_ms = self._clock.now_ms()
        schedules = []
        for schedule in await self._store.by_pk(list(batch)):
            due_ms = schedule.next_run_ms
            if due_ms is None:
                if schedule.error is not None and schedule.paused_ms is None:
                    schedules.append(schedule)
            elif due_ms > now_ms and schedule.overlap is WhileRunning.SKIP:
                self._clock.call_at(due_ms, partial(self.hand_over, [DueEntry(due_ms, schedule.pk, "")]))
            elif due_ms <= now_ms + SCHEDULES_LEAD_MS:
                schedules.append(schedule)
            elif due_ms == batch[schedule.pk]:
                # The clock has been set back since it was handed over: it is due, but not yet again.
                self._give_back([DueEntry(due_ms, schedule.pk, "")])
        if not schedules:
            return
        # Ten thousand due at once are a second of arithmetic, which the loop has not.
        steps = await asyncio.to_thread(lambda: [self.step(schedule, now_ms) for schedule in schedules])
        late: dict[str, int] = {}
        for step, result in zip(steps, await self._take(steps), strict=True):
            if result is not None and result.error is not None:
                log.error("schedule.parked", schedule_id=result.id, name=result.name, error=result.error)
            elif result is not None and step.due is not None and step.due.missed:
                count = sum(missed.count for missed in step.due.missed)
                log.warning("schedule.missed", schedule_id=result.id, name=result.name, count=count)
                if misfired := sum(one.count for one in step.due.missed if one.reason in TOO_LATE):
                    late[result.name] = misfired
        if late:
            self._on_missed(late)

    async def _take(self, steps: Sequence[Step]) -> Sequence[Schedule | None]:
        """Have the store take steps; one that it cannot take is parked, and takes no other along."""
        try:
            return await self._store.take(steps)
        except (UnavailableError, StoreIOError, StoreUnusableError):
            raise
        except Exception as err:
            if len(steps) > 1:
                return [(await self._take([step]))[0] for step in steps]
            [step] = steps
            if not isinstance(err, FliqdError):
                log.exception("schedule.crashed", schedule_id=step.old.id)
            return await self._store.take([_parking(step.old, step.now_ms, f"its job cannot be made: {err}")])

    def step(self, schedule: Schedule, now_ms: int) -> Step:
        """Return what brings a schedule up to now; one that cannot be computed is parked, with the reason."""
        try:
            due = account(schedule, now_ms=now_ms, lead_ms=SCHEDULES_LEAD_MS, new_id=lambda: f"job_{self._new_ulid()}")
        except Exception as err:
            if not isinstance(err, ValueError | FliqdError):
                log.exception("schedule.crashed", schedule_id=schedule.id)
            return _parking(schedule, now_ms, f"its next run cannot be computed: {err}")
        return Step(old=schedule, now_ms=now_ms, due=due)


def _brought_back(old: Schedule, *, now_ms: int) -> Schedule:
    back = msgspec.structs.replace(old, cursor_ms=now_ms)
    return msgspec.structs.replace(back, next_run_ms=next_run_ms(back))


def _parking(schedule: Schedule, now_ms: int, error: str) -> Step:
    """Return the step after which a schedule is left alone until it is changed, or fliqd starts anew."""
    return Step(
        old=schedule,
        now_ms=now_ms,
        change=lambda old: msgspec.structs.replace(old, next_run_ms=None, error=error),
    )
