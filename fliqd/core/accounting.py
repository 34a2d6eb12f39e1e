"""Which due times of a schedule run now and which are missed: every slot up to now, none left out, none twice.

It comes in two pure steps. `account` goes from the clock to the slots (misfires, their policy, the ends), without
a walk over what was missed. `advance` goes from the slots to jobs: what is running right now decides there, so the
store calls it within the transaction that writes the result.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from fliqd.core.model import HELD_MS, Job, JobStatus
from fliqd.core.schedule import Misfire, Missed, MissedReason, Schedule, WhileRunning, job_of, run_ms, timing_of
from fliqd.core.timing import Timing

MOST_RUNS: Final = 100  # that are made up for at once, and that wait in line; what is older is missed


class Slot(msgspec.Struct, frozen=True, gc=False):
    """A due time that is to run, as `job`; `late`: it was missed, and is made up for."""

    slot_ms: int
    job: Job
    late: bool


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the time since a schedule's cursor comes to; the slots in order."""

    slots: tuple[Slot, ...] = ()
    missed: tuple[Missed, ...] = ()
    cursor_ms: int


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule moved on: the jobs it makes, what it missed, and itself."""

    schedule: Schedule
    jobs: tuple[Job, ...] = ()
    missed: tuple[Missed, ...] = ()


def account(
    schedule: Schedule, *, now_ms: int, lead_ms: int, new_id: Callable[[], str], begun: bool = False
) -> Account:
    """Settle every slot that is due by `now_ms + lead_ms` and comes after the schedule's cursor.

    With `begun` also a slot of before `now_ms` whose jitter is not over: its job waits for that. So it runs
    although the timing is about to change.

    A slot noticed later than `misfire_grace_ms` is missed, and the policy decides: with `latest` one run makes up
    for all, unless a later slot is in time and does that anyway; with `all` each runs. In any case 100 at most
    run, the newest ones, oldest first. Past the schedule's end nothing is made up for. Raises what `timing_of`
    does.
    """
    if has_run_out(schedule):
        return Account(cursor_ms=schedule.cursor_ms)
    timing = timing_of(schedule)
    last_ms = timing.latest(now_ms) if begun else _last_due(schedule, timing, now_ms + lead_ms)
    if last_ms is None or last_ms <= schedule.cursor_ms:
        return Account(cursor_ms=schedule.cursor_ms)
    overdue_ms = max(schedule.cursor_ms, _overdue(schedule, timing, now_ms - schedule.misfire_grace_ms - 1))
    fresh = list(_newest(timing, overdue_ms, last_ms, MOST_RUNS))
    expired = schedule.ends_ms is not None and now_ms > schedule.ends_ms
    late: list[int] = []
    if not expired and schedule.misfire is Misfire.LATEST and not fresh:
        late = list(_newest(timing, schedule.cursor_ms, overdue_ms, 1))
    elif not expired and schedule.misfire is Misfire.ALL:
        late = list(_newest(timing, schedule.cursor_ms, overdue_ms, MOST_RUNS - len(fresh)))
    oldest_late_ms = late[-1] - 1 if late else overdue_ms
    oldest_fresh_ms = fresh[-1] - 1 if len(fresh) == MOST_RUNS else overdue_ms  # fewer are all of them
    reason = MissedReason.EXPIRED if expired else MissedReason.MISFIRE
    missed = (
        _missed(timing, schedule.cursor_ms, oldest_late_ms, reason, now_ms),
        _missed(timing, overdue_ms, oldest_fresh_ms, MissedReason.MISFIRE, now_ms),
    )
    slots = []
    for slot_ms in (*reversed(late), *reversed(fresh)):
        job = job_of(schedule, job_id=new_id(), slot_ms=slot_ms, due_ms=run_ms(schedule, slot_ms), now_ms=now_ms)
        slots.append(Slot(slot_ms, job, late=slot_ms <= overdue_ms))
    return Account(slots=tuple(slots), missed=tuple(filter(None, missed)), cursor_ms=last_ms)


def advance(
    schedule: Schedule, due: Account, *, running: int, held: int, made: frozenset[int] = frozenset(), now_ms: int
) -> Advance:
    """Make jobs of the slots, as far as the schedule's overlap and number of runs allow, and move it on.

    `running` jobs of it have not ended, `held` of them wait for the others or for somebody; `made` are slots that
    have a job already, as when the clock was set back. What is made up for queues up whatever the overlap says but for
    `allow`: skipping it would undo it. The line has an end, since a run may hang through misfire after misfire:
    100 of `all`, else one.
    """
    jobs: list[Job] = []
    missed = [rest for found in due.missed for rest in without(schedule, found, sorted(made))]
    line = MOST_RUNS if schedule.misfire is Misfire.ALL else 1
    run_count = schedule.run_count
    for slot in due.slots:
        if schedule.max_runs is not None and run_count >= schedule.max_runs:
            # It has ended: what comes later is no due time of it.
            missed = [found for found in missed if found.first_ms < slot.slot_ms]
            break
        if slot.slot_ms in made:
            continue
        if schedule.overlap is WhileRunning.ALLOW or not running:
            jobs.append(slot.job)
            held += slot.job.status is JobStatus.AWAITING_APPROVAL  # which it does before others, too
        elif (slot.late and held < line) or (schedule.overlap is WhileRunning.QUEUE and not held):
            jobs.append(_in_line(slot.job))
            held += 1
        else:
            missed.append(Missed(slot.slot_ms, slot.slot_ms, 1, MissedReason.OVERLAP, now_ms))
            continue
        running += 1
        run_count += 1
    moved = msgspec.structs.replace(schedule, cursor_ms=due.cursor_ms, run_count=run_count, error=None)
    return Advance(
        schedule=msgspec.structs.replace(moved, next_run_ms=next_run_ms(moved)),
        jobs=tuple(jobs),
        missed=_joined(missed, [*made, *(slot.slot_ms for slot in due.slots)]),
    )


def _in_line(job: Job) -> Job:
    """Return a job that waits for the runs before it: one that awaits approval has no time."""
    if job.status is JobStatus.AWAITING_APPROVAL:
        return job
    return msgspec.structs.replace(job, next_attempt_ms=HELD_MS)


def not_run(schedule: Schedule, reason: MissedReason, now_ms: int, *, begun: bool = False) -> Account:
    """Settle every slot that is due by now as missed for one reason; `begun` as for `account`."""
    if has_run_out(schedule):
        return Account(cursor_ms=schedule.cursor_ms)
    timing = timing_of(schedule)
    last_ms = timing.latest(now_ms) if begun else _last_due(schedule, timing, now_ms)
    found = None if last_ms is None else _missed(timing, schedule.cursor_ms, last_ms, reason, now_ms)
    if found is None:
        return Account(cursor_ms=schedule.cursor_ms)
    return Account(missed=(found,), cursor_ms=found.last_ms)


def has_run_out(schedule: Schedule) -> bool:
    """Tell whether it has run as often as it may: it has no due times any more, neither to run nor to miss."""
    return schedule.max_runs is not None and schedule.run_count >= schedule.max_runs


def next_run_ms(schedule: Schedule) -> int | None:
    """Return when the first slot after the cursor is due; None for a schedule that is paused or has ended."""
    if schedule.paused_ms is not None or schedule.deleted_ms is not None:
        return None
    if has_run_out(schedule):
        return None
    slot_ms = timing_of(schedule).next_after(schedule.cursor_ms)
    return None if slot_ms is None else run_ms(schedule, slot_ms)


def upcoming(schedule: Schedule, count: int, now_ms: int) -> Iterator[int]:
    """Yield when the next slots are due; for a paused one, as if it went on now."""
    left = count if schedule.max_runs is None else min(count, schedule.max_runs - schedule.run_count)
    timing = timing_of(schedule)
    passed_ms = _last_due(schedule, timing, now_ms) if schedule.paused_ms is not None else None
    slot_ms = timing.next_after(schedule.cursor_ms if passed_ms is None else max(schedule.cursor_ms, passed_ms))
    while slot_ms is not None and left > 0:
        yield run_ms(schedule, slot_ms)
        left -= 1
        slot_ms = timing.next_after(slot_ms)


def without(schedule: Schedule, missed: Missed, made: Sequence[int]) -> Iterator[Missed]:
    """Yield what is left of a range when the slots in `made` are taken out."""
    taken = [slot_ms for slot_ms in made if missed.first_ms <= slot_ms <= missed.last_ms]
    if not taken:
        yield missed
        return
    timing = timing_of(schedule)
    for after_ms, before_ms in pairwise((missed.first_ms - 1, *taken, missed.last_ms + 1)):
        rest = _missed(timing, after_ms, before_ms - 1, missed.reason, missed.noted_ms)
        if rest is not None:
            yield rest


def until(schedule: Schedule, missed: Missed, until_ms: int) -> Missed | None:
    """Return the part of a range up to an instant, None for none."""
    return _missed(timing_of(schedule), missed.first_ms - 1, until_ms, missed.reason, missed.noted_ms)


def _joined(ranges: list[Missed], slots: list[int]) -> tuple[Missed, ...]:
    """Return ranges in order, as one where they have one reason and none of `slots` lies between."""
    whole: list[Missed] = []
    for found in sorted(ranges, key=lambda missed: missed.first_ms):
        last = whole[-1] if whole else None
        if last and last.reason is found.reason and not any(last.last_ms < ms < found.first_ms for ms in slots):
            whole[-1] = msgspec.structs.replace(last, last_ms=found.last_ms, count=last.count + found.count)
        else:
            whole.append(found)
    return tuple(whole)


def _last_due(schedule: Schedule, timing: Timing, until_ms: int) -> int | None:
    """Return the last slot whose run, jitter included, is at or before `until_ms`."""
    slot_ms = timing.latest(until_ms)
    # The jitter is shorter than what lies between two slots, so at most one slot has begun and is not due.
    while slot_ms is not None and run_ms(schedule, slot_ms) > until_ms:
        slot_ms = timing.latest(slot_ms - 1)
    return slot_ms


def _overdue(schedule: Schedule, timing: Timing, until_ms: int) -> int:
    """Return the last slot that is missed by `until_ms`; the cursor for none, without a search where none can be."""
    found_ms = _last_due(schedule, timing, until_ms) if until_ms > schedule.cursor_ms else None
    return schedule.cursor_ms if found_ms is None else found_ms


def _newest(timing: Timing, after_ms: int, until_ms: int, most: int) -> Iterator[int]:
    """Yield the slots with `after_ms < slot <= until_ms`, newest first, `most` at most."""
    slot_ms = timing.latest(until_ms) if most > 0 else None
    while slot_ms is not None and slot_ms > after_ms and most > 0:
        yield slot_ms
        most -= 1
        slot_ms = timing.latest(slot_ms - 1)


def _missed(timing: Timing, after_ms: int, until_ms: int, reason: MissedReason, now_ms: int) -> Missed | None:
    """Sum up the slots with `after_ms < slot <= until_ms`."""
    count = timing.count_between(after_ms, until_ms) if after_ms < until_ms else 0
    if not count:
        return None  # at once: four searches of a schedule that missed nothing were half of what it cost
    first_ms, last_ms = timing.next_after(after_ms), timing.latest(until_ms)
    if first_ms is None or last_ms is None:
        return None
    return Missed(first_ms, last_ms, count, reason, now_ms)
