"""What can be done with schedules."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from fliqd.clock import Clock
from fliqd.core.accounting import account, next_run_ms, not_run, upcoming, without
from fliqd.core.drafts import Defaults, in_order
from fliqd.core.model import Job, Source
from fliqd.core.schedule import (
    TIMING,
    Missed,
    MissedReason,
    Schedule,
    ScheduleStatus,
    fault_of,
    job_of,
    run_ms,
    timing_of,
)
from fliqd.core.schedule_drafts import (
    SCHEDULE_ORDER,
    ScheduleDraft,
    has_rule,
    has_runs,
    judged,
    required_of_schedule,
    schedule_fields,
)
from fliqd.core.stand_ins import NATIVE
from fliqd.errors import ConflictError, InvalidError, Problem
from fliqd.store.base import Created, ScheduleFilter, Schedules, Step

TRIES: Final = 100  # a schedule comes due while it is changed, and others change it too; one gets on in each turn


class AskedSchedule(NamedTuple):
    """A draft as it came in, with what was already wrong with it."""

    draft: ScheduleDraft
    problems: Sequence[Problem] = ()


class ScheduleService:
    """Creates, reads and changes schedules; every rule is in `core`, every transaction in the store.

    A change is computed from what was read, and taken only if that still holds; else it is computed again. It
    settles first what is due, so that no due time is lost between an old timing and a new one.
    """

    def __init__(
        self, *, store: Schedules, clock: Clock, new_ulid: Callable[[], str], defaults: Callable[[], Defaults]
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_ulid = new_ulid
        self._defaults = defaults

    async def create(
        self, asked: AskedSchedule, *, dialect: str = NATIVE, token_id: str | None = None, raw: bytes | None = None
    ) -> Schedule:
        """Add a schedule; raise InvalidError with everything that is wrong, ConflictError for a name that is taken.

        `raw` is JSON that a stand-in API keeps with it, to show it again.
        """
        schedule = self._new_with_runs(asked, self._clock.now_ms(), dialect=dialect, token_id=token_id, raw=raw)
        return await self._store.create(schedule)

    async def create_with_job(
        self,
        asked: AskedSchedule,
        *,
        now_ms: int,
        dialect: str,
        token_id: str | None = None,
        raw: bytes | None = None,
        idempotency_key: str | None = None,
    ) -> Created:
        """Do so, and make the job of its first due time ahead, in the same transaction; return that job.

        `now_ms` is the instant that the draft's times were reckoned from: an interval may begin with it, at once.
        Where the key is held, neither is made, and the job that holds it comes back.
        """
        schedule = self._new_with_runs(asked, now_ms, dialect=dialect, token_id=token_id, raw=raw)
        slot_ms = timing_of(schedule).next_after(now_ms if schedule.every_ms is None else now_ms - 1)
        if slot_ms is None:
            raise InvalidError([Problem("ends_at", "no run comes before it")])
        due_ms = run_ms(schedule, slot_ms)
        job = job_of(schedule, job_id=f"job_{self._new_ulid()}", slot_ms=slot_ms, due_ms=due_ms, now_ms=now_ms)
        moved = msgspec.structs.replace(schedule, cursor_ms=slot_ms, run_count=1)
        return await self._store.create_with_job(
            msgspec.structs.replace(moved, next_run_ms=next_run_ms(moved)),
            msgspec.structs.replace(job, idempotency_key=idempotency_key),
        )

    def _new_with_runs(
        self, asked: AskedSchedule, now_ms: int, *, dialect: str, token_id: str | None, raw: bytes | None
    ) -> Schedule:
        schedule = self.new(asked, now_ms)
        problems = list(has_runs(schedule, now_ms))
        if problems:
            raise InvalidError(problems)
        return msgspec.structs.replace(schedule, dialect=dialect, token_id=token_id, asked=raw)

    def new(self, asked: AskedSchedule, now_ms: int) -> Schedule:
        """Return the schedule that is asked for; raise InvalidError with everything that is wrong."""
        problems = list(asked.problems)
        defaults = self._defaults()
        fields = schedule_fields(asked.draft, defaults, now_ms, problems)
        required_of_schedule(asked.draft, problems)
        if problems:
            raise InvalidError(in_order(problems, SCHEDULE_ORDER))
        ulid = self._new_ulid()
        fields["name"] = fields.get("name") or f"schedule-{ulid[-8:]}"
        for name in ("timeout_ms", "max_retries", "backoff", "timezone"):
            fields.setdefault(name, getattr(defaults, name))
        schedule = Schedule(id=f"sched_{ulid}", created_ms=now_ms, updated_ms=now_ms, cursor_ms=now_ms, **fields)
        schedule = started(schedule, now_ms, paused=asked.draft.paused is True)
        problems = list(judged(schedule, now_ms))
        if problems:
            raise InvalidError(in_order(problems, SCHEDULE_ORDER))
        return msgspec.structs.replace(schedule, next_run_ms=next_run_ms(schedule))

    async def get(self, schedule_id: str) -> Schedule:
        """Return a schedule; raise NotFoundError."""
        return await self._store.get(schedule_id)

    async def page(
        self, where: ScheduleFilter, *, before_pk: int | None, limit: int
    ) -> tuple[Sequence[Schedule], int | None]:
        """Return schedules, newest first, and the pk to go on before, None at the end."""
        found, more = await self._store.page(where, before_pk=before_pk, limit=limit)
        return found, found[-1].pk if more else None

    async def update(self, schedule_id: str, asked: AskedSchedule) -> Schedule:
        """Change a schedule. Jobs that are made stay as they are; the next run moves only with the timing."""
        now_ms = self._clock.now_ms()
        problems = list(asked.problems)
        fields = schedule_fields(asked.draft, self._defaults(), now_ms, problems)
        if "name" in fields and fields["name"] is None:
            problems.append(Problem("name", "cannot be taken away"))
        if problems:
            raise InvalidError(in_order(problems, SCHEDULE_ORDER))
        paused = asked.draft.paused

        def step(old: Schedule, now_ms: int) -> Step:
            _refuse_managed(old)
            return self.edit(old, fields, now_ms, paused=paused if isinstance(paused, bool) else None)

        return await self._change(schedule_id, step)

    def edit(
        self, old: Schedule, fields: dict[str, Any], now_ms: int, *, paused: bool | None, may_be_over: bool = False
    ) -> Step:
        """Return the step that gives a schedule new fields; raise InvalidError.

        `may_be_over` takes a timing that has no run left: a file may still hold what has ended.
        """
        new_timing = any(name in fields and fields[name] != getattr(old, name) for name in TIMING)

        def change(settled: Schedule) -> Schedule:
            new = msgspec.structs.replace(settled, **fields, updated_ms=now_ms)
            if new_timing:
                keeps = new.every_ms is not None and new.every_ms == old.every_ms and new.starts_ms == old.starts_ms
                new = msgspec.structs.replace(new, cursor_ms=max(now_ms, settled.cursor_ms), error=None)
                new = new if keeps else anchored(new, now_ms)
            if paused is not None and paused != (new.paused_ms is not None):
                new = msgspec.structs.replace(new, paused_ms=now_ms if paused else None)
            return planned(new)

        wanted = change(old)
        if problems := list(has_rule(wanted)):
            raise InvalidError(problems)
        if new_timing and wanted.error is not None:
            raise InvalidError([Problem("timezone" if "zone" in wanted.error else "cron", wanted.error)])
        if wanted.error is None:
            problems = list(judged(wanted, now_ms))
            problems += has_runs(wanted, now_ms) if new_timing and not may_be_over else ()
            if problems:
                raise InvalidError(in_order(problems, SCHEDULE_ORDER))
        if new_timing and fault_of(old):
            # No one knows what was due while it was parked. As near as can be said: what is due by the new timing.
            old = msgspec.structs.replace(wanted, cursor_ms=old.cursor_ms, paused_ms=old.paused_ms)
        return self._settled(old, now_ms, change, begun=new_timing)

    async def pause(self, schedule_id: str) -> Schedule:
        """Make no more jobs until it is resumed; those that are made go on. Nothing, if it is paused."""
        return await self._change(schedule_id, self.pausing)

    def pausing(self, old: Schedule, now_ms: int) -> Step | None:
        """Return the step that pauses a schedule, None for one that is paused."""
        if old.paused_ms is not None:
            return None
        return self._settled(old, now_ms, lambda settled: _paused(settled, now_ms))

    async def resume(self, schedule_id: str) -> Schedule:
        """Go on from now: what was due meanwhile is missed. Nothing, if it is not paused."""
        return await self._change(schedule_id, self.resuming)

    def resuming(self, old: Schedule, now_ms: int) -> Step | None:
        """Return the step that resumes a schedule, None for one that is not paused."""
        if old.paused_ms is None:
            return None

        def change(settled: Schedule) -> Schedule:
            return planned(msgspec.structs.replace(settled, paused_ms=None, updated_ms=now_ms))

        return self._settled(old, now_ms, change)

    async def delete(self, schedule_id: str) -> None:
        """Delete a schedule: jobs that never started are cancelled, its history stays readable by its id."""

        def step(old: Schedule, now_ms: int) -> Step:
            _refuse_managed(old)
            return self.deleting(old, now_ms)

        await self._change(schedule_id, step)

    def deleting(self, old: Schedule, now_ms: int) -> Step:
        """Return the step that deletes a schedule."""
        reason = MissedReason.PAUSED if old.paused_ms is not None else MissedReason.MISFIRE
        due = None if fault_of(old) else not_run(old, reason, now_ms)

        def change(settled: Schedule) -> Schedule:
            return msgspec.structs.replace(
                settled,
                deleted_ms=now_ms,
                updated_ms=now_ms,
                cursor_ms=max(now_ms, settled.cursor_ms),
                next_run_ms=None,
            )

        return Step(old=old, now_ms=now_ms, due=due, change=change)

    async def run(self, schedule_id: str) -> Job:
        """Make a job now, beside the due times, whatever its state; return it."""
        made: list[Job] = []

        def step(old: Schedule, now_ms: int) -> Step:
            made[:] = [job_of(old, job_id=f"job_{self._new_ulid()}", slot_ms=None, due_ms=now_ms, now_ms=now_ms)]
            return Step(old=old, now_ms=now_ms, jobs=tuple(made))

        await self._change(schedule_id, step)
        return made[0]

    async def next_runs(self, schedule_id: str, count: int) -> Sequence[int]:
        """Return when it runs next, at most `count` times, jitter included; for a paused one, as if it went on now."""
        schedule = await self._store.get(schedule_id)
        if fault := fault_of(schedule):
            raise ConflictError(f"its next runs cannot be computed: {fault}", "not_computable")
        # A thousand runs take up to a tenth of a second to find, which the loop has not.
        return await asyncio.to_thread(lambda: list(upcoming(schedule, count, self._clock.now_ms())))

    async def missed(
        self, schedule_id: str, *, before_pk: int | None, limit: int
    ) -> tuple[Sequence[Missed], int | None]:
        """Return what was missed, noted last first; a pause that still goes on is its own first entry."""
        schedule = await self._store.get(schedule_id, deleted_too=True)
        goes_on = schedule.status is ScheduleStatus.PAUSED and schedule.deleted_ms is None
        now: tuple[Missed, ...] = ()
        if before_pk is None and goes_on and not fault_of(schedule):
            paused = not_run(schedule, MissedReason.PAUSED, self._clock.now_ms())
            made = await self._store.slots(schedule, schedule.cursor_ms + 1, paused.cursor_ms)
            now = tuple(rest for found in paused.missed for rest in without(schedule, found, made))[: -limit - 1 : -1]
        found, next_pk = await self._store.missed(schedule, before_pk=before_pk, limit=limit - len(now))
        return [*now, *found], next_pk

    async def known(self, schedule_id: str) -> None:
        """Raise NotFoundError for a schedule that has never been."""
        await self._store.get(schedule_id, deleted_too=True)

    def _settled(
        self, old: Schedule, now_ms: int, change: Callable[[Schedule], Schedule], *, begun: bool = False
    ) -> Step:
        """Return a step that accounts for all up to now before it makes the change."""
        if fault_of(old):
            return Step(old=old, now_ms=now_ms, change=change)
        if old.paused_ms is not None:
            due = not_run(old, MissedReason.PAUSED, now_ms, begun=begun)
        else:
            due = account(old, now_ms=now_ms, lead_ms=0, new_id=lambda: f"job_{self._new_ulid()}", begun=begun)
        return Step(old=old, now_ms=now_ms, due=due, change=change)

    async def _change(self, schedule_id: str, step: Callable[[Schedule, int], Step | None]) -> Schedule:
        for _ in range(TRIES):
            old = await self._store.get(schedule_id)
            wanted = step(old, self._clock.now_ms())
            if wanted is None:
                return old
            [new] = await self._store.take([wanted])
            if new is not None:
                return new
        raise ConflictError(f"schedule {schedule_id} changes all the time; try again", "busy")


def anchored(schedule: Schedule, now_ms: int) -> Schedule:
    """Give an interval its first slot: when it starts, else one interval from now."""
    if schedule.every_ms is None:
        return msgspec.structs.replace(schedule, anchor_ms=None)
    anchor_ms = now_ms + schedule.every_ms if schedule.starts_ms is None else schedule.starts_ms
    return msgspec.structs.replace(schedule, anchor_ms=anchor_ms)


def started(schedule: Schedule, now_ms: int, *, paused: bool) -> Schedule:
    """Return a new schedule as it begins."""
    return msgspec.structs.replace(anchored(schedule, now_ms), paused_ms=now_ms if paused else None)


def planned(schedule: Schedule) -> Schedule:
    """Compute the next run anew, or say why it cannot be."""
    if fault := fault_of(schedule):
        return msgspec.structs.replace(schedule, next_run_ms=None, error=f"its next run cannot be computed: {fault}")
    settled = msgspec.structs.replace(schedule, error=None)
    return msgspec.structs.replace(settled, next_run_ms=next_run_ms(settled))


def _paused(schedule: Schedule, now_ms: int) -> Schedule:
    return msgspec.structs.replace(schedule, paused_ms=now_ms, updated_ms=now_ms, next_run_ms=None, error=None)


def _refuse_managed(schedule: Schedule) -> None:
    if schedule.source is Source.CONFIG:
        raise ConflictError(
            f'the schedule "{schedule.name}" is declared in the configuration file: change it there and reload',
            "managed_by_config",
        )
