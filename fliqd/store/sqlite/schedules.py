"""The part of the store contract that is about schedules, kept by the same writer and readers."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from fliqd.core.accounting import Advance, advance, until
from fliqd.core.buffers import FIRST_ITEM_PK
from fliqd.core.due_heap import DueEntry
from fliqd.core.events import ENDED, EventType
from fliqd.core.model import HELD_MS, Job, JobStatus
from fliqd.core.reconciling import DeclaredJob
from fliqd.core.schedule import Missed, Schedule, ScheduleStatus, WhileRunning
from fliqd.errors import ConflictError, NotFoundError
from fliqd.store.base import Created, Reconciliation, ScheduleFilter, Step
from fliqd.store.sqlite import buffers, rows
from fliqd.store.sqlite.alerts import SqliteAlerts
from fliqd.store.sqlite.news import tell_jobs, tell_missed
from fliqd.store.sqlite.queries import Read
from fliqd.store.sqlite.writer import Transaction, Writer

KEPT_BY_STORE: Final = ("pk", "last_job_pk", "last_run_ms", "last_status", "state", "previous")
BEFORE_ALL: Final = (1 << 63) - 1
STATUS: Final = {
    ScheduleStatus.PAUSED: "AND paused_ms IS NOT NULL",
    ScheduleStatus.ENDED: "AND paused_ms IS NULL AND next_run_ms IS NULL AND error IS NULL",
    ScheduleStatus.ACTIVE: "AND paused_ms IS NULL AND (next_run_ms IS NOT NULL OR error IS NOT NULL)",
}


Ended = tuple[str | None, int, str]  # a job that has: its schedule's id, its pk, its status


class SqliteSchedules:
    """See `store.base.Schedules` for what each operation promises."""

    def __init__(
        self,
        writer: Writer,
        read: Read,
        *,
        known: Callable[[Transaction, Sequence[Job]], Mapping[tuple[str, str | None], Job]],
        insert: Callable[[Transaction, Sequence[Job]], Sequence[int]],
        replace: Callable[[Transaction, Job, Job], bool],
        ended: Callable[[Transaction, Sequence[Ended]], None],
        alerts: SqliteAlerts,
    ) -> None:
        self._writer = writer
        self._read = read
        self._known = known
        self._insert = insert
        self._replace = replace
        self._ended = ended
        self._alerts = alerts
        self._listener: Callable[[Sequence[DueEntry]], None] | None = None

    def on_due(self, listener: Callable[[Sequence[DueEntry]], None]) -> None:
        self._listener = listener

    def tell(self, due: Sequence[DueEntry]) -> None:
        """Tell the listener what a commit has changed."""
        if self._listener is not None:
            self._listener(due)

    # Reading

    async def get(self, schedule_id: str, *, deleted_too: bool = False) -> Schedule:
        found = await self._read("schedule_by_id", {"id": schedule_id, "deleted_too": deleted_too})
        if not found:
            raise NotFoundError("schedule", schedule_id)
        return rows.schedule(found[0])

    async def page(self, where: ScheduleFilter, *, before_pk: int | None, limit: int) -> tuple[list[Schedule], bool]:
        more = [STATUS[where.status]] if where.status is not None else []
        more += ["AND name = :name"] if where.name is not None else []
        more += ["AND source = :source"] if where.source is not None else []
        values = {
            "before_pk": BEFORE_ALL if before_pk is None else before_pk,
            "limit": limit + 1,
            "name": where.name,
            "source": None if where.source is None else str(where.source),
        }
        found = await self._read("schedules_newest_first", values, " ".join(more))
        return [rows.schedule(row) for row in found[:limit]], len(found) > limit

    async def all(self) -> list[Schedule]:
        found = await self._read("schedules_all", {})
        # Ten thousand are half a second, which the loop has not.
        return await asyncio.to_thread(lambda: [rows.schedule(row) for row in found])

    async def by_pk(self, pks: Sequence[int]) -> list[Schedule]:
        found = await self._read("schedules_by_pk", {"pks": _json(pks)})
        return [rows.schedule(row) for row in found]

    async def due_page(self, *, start: tuple[int, int], limit: int) -> list[DueEntry]:
        values = {"from_ms": start[0], "from_pk": start[1], "limit": limit}
        return [rows.due(row) for row in await self._read("schedules_due_page", values)]

    async def parked(self) -> list[int]:
        return [row[0] for row in await self._read("schedules_parked", {})]

    async def missed(self, schedule: Schedule, *, before_pk: int | None, limit: int) -> tuple[list[Missed], int | None]:
        before = BEFORE_ALL if before_pk is None else before_pk
        values = {"schedule_pk": schedule.pk, "before_pk": before, "limit": limit + 1}
        found = await self._read("missed_newest_first", values)
        next_pk = found[limit][0] + 1 if len(found) > limit else None
        return [rows.missed(row[1:]) for row in found[:limit]], next_pk

    async def slots(self, schedule: Schedule, first_ms: int, last_ms: int) -> list[int]:
        found = await self._read("schedules_slots", {"spans": _json([(schedule.id, first_ms, last_ms)])})
        return sorted(slot_ms for _, slot_ms in found)

    async def declared(self) -> list[DeclaredJob]:
        found = await self._read("declared_all", {})
        return [DeclaredJob(name=row[0], job_id=row[1], scheduled_ms=row[2], seen_ms=row[3]) for row in found]

    async def jobs(self, ids: Sequence[str]) -> list[Job]:
        return [rows.job(row) for row in await self._read("jobs_by_ids", {"ids": _json(ids)})]

    # Writing

    async def create(self, schedule: Schedule) -> Schedule:
        return await self._writer.write(self._create, schedule)

    def _create(self, tx: Transaction, wanted: list[Schedule]) -> list[Schedule | Exception]:
        return [self._create_one(tx, schedule) for schedule in wanted]

    async def create_with_job(self, schedule: Schedule, first: Job) -> Created:
        return await self._writer.write(self._create_with_job, (schedule, first), rows=2)

    def _create_with_job(self, tx: Transaction, wanted: list[tuple[Schedule, Job]]) -> list[Created | Exception]:
        return [self._create_both(tx, schedule, first) for schedule, first in wanted]

    def _create_both(self, tx: Transaction, schedule: Schedule, first: Job) -> Created | Exception:
        if first.idempotency_key and (held := self._known(tx, [first])):
            return Created(held[first.dialect, first.idempotency_key], replayed=True)
        created = self._create_one(tx, schedule)
        if isinstance(created, Exception):
            return created
        [pk] = self._insert(tx, [first])
        tx.each("schedule_made", [(pk, first.scheduled_ms, created.pk)])
        return Created(msgspec.structs.replace(first, pk=pk), replayed=False)

    def _create_one(self, tx: Transaction, schedule: Schedule) -> Schedule | Exception:
        if (taken := _name_taken(tx, schedule)) is not None:
            return taken
        values = rows.schedule_values(schedule)
        for column in KEPT_BY_STORE:
            del values[column]
        created = msgspec.structs.replace(schedule, pk=tx.rows("schedule_insert", values)[0][0])
        _offer(tx, created)
        return created

    async def take(self, steps: Sequence[Step]) -> list[Schedule | None]:
        return await self._writer.write(self._take, steps, rows=2 * len(steps))

    def _take(self, tx: Transaction, batches: list[Sequence[Step]]) -> list[list[Schedule | None] | Exception]:
        return [self._take_all(tx, steps) for steps in batches]

    def _take_all(self, tx: Transaction, steps: Sequence[Step]) -> list[Schedule | None] | Exception:
        plans = self._plans(tx, steps)
        for step, plan in zip(steps, plans, strict=True):
            changed = plan is not None and step.change is not None
            if changed and plan is not None and (taken := _name_taken(tx, plan.schedule)) is not None:
                return taken
        self._carry_out(tx, steps, plans)
        return [
            None if plan is None else msgspec.structs.replace(plan.schedule, version=plan.schedule.version + 1)
            for plan in plans
        ]

    def _plans(self, tx: Transaction, steps: Sequence[Step]) -> list[Advance | None]:
        """Decide what steps come to; None where a schedule has changed since it was read. Writes nothing.

        What is to be known is asked for all of them together: between two statements the interpreter's lock is let
        go, and with a few of them for each schedule, ten thousand at once took twice as long.
        """
        versions = dict(tx.rows("schedule_versions", {"pks": _json([step.old.pk for step in steps])}))
        due = [(step.old, step.due) for step in steps if step.due is not None and step.due.slots]
        ids = [old.id for old, _ in due if old.overlap is not WhileRunning.ALLOW]
        live = {
            row[0]: row[1:]
            for row in (tx.rows("schedules_live", {"ids": _json(ids), "held_ms": HELD_MS}) if ids else ())
        }
        made: dict[str, set[int]] = {}
        spans = [
            (step.old.id, step.old.cursor_ms + 1, step.due.cursor_ms)
            for step in steps
            if step.due is not None and step.due.cursor_ms > step.old.cursor_ms
        ]
        for schedule_id, slot_ms in tx.rows("schedules_slots", {"spans": _json(spans)}) if spans else ():
            made.setdefault(schedule_id, set()).add(slot_ms)
        plans: list[Advance | None] = []
        for step in steps:
            old = step.old
            if versions.get(old.pk) != old.version:
                plans.append(None)
                continue
            plan = Advance(schedule=old)
            if step.due is not None:
                running, held = live.get(old.id, (0, 0))
                slots = frozenset(made.get(old.id, ()))
                plan = advance(old, step.due, running=running, held=held, made=slots, now_ms=step.now_ms)
            changed = plan.schedule if step.change is None else step.change(plan.schedule)
            plans.append(Advance(schedule=changed, jobs=(*plan.jobs, *step.jobs), missed=plan.missed))
        return plans

    def _carry_out(self, tx: Transaction, steps: Sequence[Step], plans: Sequence[Advance | None]) -> None:
        pks = iter(self._insert(tx, [job for plan in plans if plan is not None for job in plan.jobs]))
        moves = []
        for step, plan in zip(steps, plans, strict=True):
            if plan is None:
                continue
            new = plan.schedule
            last_job_pk = last_run_ms = None
            for job in plan.jobs:
                last_job_pk = next(pks)
                last_run_ms = max(job.scheduled_ms, last_run_ms or 0)
            if step.change is None:
                place = (new.cursor_ms, new.next_run_ms, new.run_count, new.error)
                moves.append((new.pk, *place, last_job_pk, last_run_ms))
            else:
                self._change(tx, step, new, made=(last_job_pk, last_run_ms))
            slots = () if step.due is None else step.due.slots
            for missed in plan.missed:
                _note(tx, step.old, missed, goes_on=not any(slot.slot_ms < missed.first_ms for slot in slots))
            _offer(tx, new)
        if moves:
            tx.rows("schedules_moved", {"moves": _json(moves)})

    def _change(self, tx: Transaction, step: Step, new: Schedule, *, made: tuple[int | None, int | None]) -> None:
        values = rows.schedule_values(new)
        for column in ("id", "dialect", "token_id", "created_ms", *KEPT_BY_STORE[1:]):
            del values[column]
        tx.rows("schedule_replace", values)
        if made[0] is not None:
            tx.each("schedule_made", [(*made, new.pk)])
        if step.ahead_of_ms is not None:
            _take_back(tx, step.old, step.ahead_of_ms)
        if new.deleted_ms is not None:
            self._ended(tx, tx.rows("schedule_jobs_cancel", {"id": new.id, "now_ms": step.now_ms}))

    async def reconcile(self, wanted: Reconciliation) -> bool:
        size = sum(len(part) for part in msgspec.structs.astuple(wanted) if isinstance(part, tuple))
        return await self._writer.write(self._reconcile, wanted, rows=2 * size)

    def _reconcile(self, tx: Transaction, items: list[Reconciliation]) -> list[bool | Exception]:
        return [self._reconcile_one(tx, wanted) for wanted in items]

    def _reconcile_one(self, tx: Transaction, wanted: Reconciliation) -> bool | Exception:
        """Look at all that could be in the way, and write only then."""
        plans = self._plans(tx, wanted.steps)
        ids = _json([old.id for old, _ in wanted.change_jobs])
        now = {job.id: job for job in map(rows.job, tx.rows("jobs_by_ids", {"ids": ids}))}
        if None in plans or self._alerts.differ(tx, wanted.channels) or buffers.differ(tx, wanted):
            return False
        if any(now.get(old.id) != old for old, _ in wanted.change_jobs):
            return False
        for schedule in wanted.create:
            if (taken := _name_taken(tx, schedule)) is not None:
                return taken
        self._carry_out(tx, wanted.steps, plans)
        for schedule in wanted.create:
            self._create_one(tx, schedule)
        self._insert(tx, wanted.create_jobs)
        for old, new in wanted.change_jobs:
            self._replace(tx, old, new)
        self._alerts.reconcile(tx, wanted.channels)
        buffers.reconcile(tx, wanted)
        tx.each("declared_put", [(put.name, put.job_id, put.scheduled_ms, put.seen_ms) for put in wanted.remember])
        tx.each("declared_delete", [(name,) for name in wanted.forget])
        return True

    async def forget(self, *, before_ms: int, limit: int) -> int:
        return await self._writer.write(self._forget, (before_ms, limit), rows=limit)

    def _forget(self, tx: Transaction, items: list[tuple[int, int]]) -> list[int]:
        counts = []
        for before_ms, limit in items:
            counts.append(len(tx.rows("missed_delete", {"before_ms": before_ms, "limit": limit})))
            tx.rows("schedules_purge", {"before_ms": before_ms})
        return counts


def ended(tx: Transaction, jobs: Iterable[Ended]) -> None:
    """Note how jobs have ended, every one, and let those go that waited for them."""
    for schedule_id, pk, status in jobs:
        if pk < FIRST_ITEM_PK:
            tx.count("jobs_finished", str(status))
        tell_jobs(tx, ENDED[JobStatus(status)], [pk])
        if schedule_id is None:
            continue
        tx.each("schedule_ended", [(str(status), schedule_id, pk)])
        release(tx, schedule_id)


def release(tx: Transaction, schedule_id: str) -> None:
    """Let the first job of a schedule go that waits for the runs before it, if none of them is left."""
    released = tx.rows("held_release", {"id": schedule_id, "held_ms": HELD_MS})
    tx.due += [rows.due(row) for row in released]
    tell_jobs(tx, EventType.JOB_UPDATED, [row[1] for row in released])


def _note(tx: Transaction, old: Schedule, missed: Missed, *, goes_on: bool) -> None:
    """Write down what was missed; in the last note if that ended where this begins, for the same reason.

    `goes_on` says that no slot lies between the schedule's cursor and this: one that runs may be no part of a range.
    """
    tx.count("missed", str(missed.reason), missed.count)
    tell_missed(tx, old, missed)
    last = tx.rows("missed_last", (old.pk,)) if goes_on else []
    if last and last[0][1] == old.cursor_ms and last[0][2] == str(missed.reason) and missed.first_ms > last[0][1]:
        tx.each("missed_extend", [(missed.last_ms, missed.count, missed.noted_ms, last[0][0])])
        return
    values = (old.pk, missed.first_ms, missed.last_ms, missed.count, str(missed.reason), missed.noted_ms)
    tx.each("missed_insert", [values])


def _take_back(tx: Transaction, old: Schedule, after_ms: int) -> None:
    """Forget due times after an instant as missed; of a range that goes beyond it the first part stays."""
    for pk, *columns in tx.rows("missed_after", {"schedule_pk": old.pk, "after_ms": after_ms}):
        left = until(old, rows.missed(columns), after_ms)
        if left is None:
            tx.each("missed_drop", [(pk,)])
        else:
            tx.each("missed_cut", [(left.last_ms, left.count, pk)])


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _name_taken(tx: Transaction, schedule: Schedule) -> ConflictError | None:
    if schedule.deleted_ms is not None:
        return None
    for (other_id,) in tx.rows("schedule_name_taken", {"name": schedule.name, "pk": schedule.pk}):
        return ConflictError(f'the name "{schedule.name}" is taken by {other_id}; names are unique', "name_taken")
    return None


def _offer(tx: Transaction, schedule: Schedule) -> None:
    if schedule.next_run_ms is not None:
        tx.schedules_due.append(DueEntry(schedule.next_run_ms, schedule.pk, ""))
