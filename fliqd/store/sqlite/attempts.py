"""Attempts at jobs in the store: given out, ended, taken back, and cut off."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from fliqd.core import dynamic
from fliqd.core.delivery import ErrorCode
from fliqd.core.due_heap import DueEntry
from fliqd.core.events import EventType
from fliqd.core.model import (
    FINAL,
    HELD_MS,
    MOST_CRASHES,
    NO_QUEUE,
    QUARANTINED,
    ExecutionStatus,
    Job,
    JobStatus,
    lane_of,
)
from fliqd.core.notices import wants
from fliqd.core.rollups import Ended
from fliqd.store.base import Finish, Recorded
from fliqd.store.sqlite import buffers, rows, schedules
from fliqd.store.sqlite.news import tell_jobs
from fliqd.store.sqlite.outbox import SqliteOutbox
from fliqd.store.sqlite.rollups import SqliteRollups
from fliqd.store.sqlite.writer import LONG, SplitBatchError, Transaction, Writer


class _Claim(NamedTuple):
    entries: Sequence[DueEntry]
    owner: str
    now_ms: int
    until_ms: int
    execution_ids: Sequence[str]


class _End(NamedTuple):
    end: Finish
    execution_id: str | None  # of the attempt that may follow


class _Interrupt(NamedTuple):
    pks: list[int] | None
    crash: int
    now_ms: int
    reason: str


class _Unclaim(NamedTuple):
    jobs: Sequence[Job]
    now_ms: int


class SqliteAttempts:
    """See `store.base.Attempts` for what each operation promises."""

    def __init__(
        self,
        writer: Writer,
        *,
        new_execution_id: Callable[[], str],
        outbox: SqliteOutbox,
        rollups: SqliteRollups,
        ended: Callable[[Transaction, Sequence[schedules.Ended]], None],
        is_over: Callable[[], bool],
    ) -> None:
        """Take `ended`, for what follows when a statement has ended jobs; `is_over` says that room is short."""
        self._writer = writer
        self._new_execution_id = new_execution_id
        self._outbox = outbox
        self._rollups = rollups
        self._ended = ended
        self._is_over = is_over

    async def claim(self, entries: Sequence[DueEntry], *, owner: str, now_ms: int, until_ms: int) -> list[Job]:
        ids = [self._new_execution_id() for _ in entries]
        return await self._writer.write(self._claim, _Claim(entries, owner, now_ms, until_ms, ids))

    def _claim(self, tx: Transaction, claims: list[_Claim]) -> list[list[Job]]:
        return [self._claim_one(tx, claim) for claim in claims]

    def _claim_one(self, tx: Transaction, claim: _Claim) -> list[Job]:
        values = {
            "pks": msgspec.json.encode([entry.pk for entry in claim.entries]).decode(),
            "owner": claim.owner,
            "now_ms": claim.now_ms,
            "until_ms": claim.until_ms,
        }
        found = msgspec.json.decode(tx.rows("jobs_claimable", values)[0][0])

        def long_body(pk: int) -> bytes:
            body: bytes = tx.rows("job_body", (pk,))[0][0]
            return body

        due = [rows.claimed(row, claim.owner, claim.now_ms, long_body) for row in found]
        places = {(entry.pk, entry.lane) for entry in claim.entries}
        jobs = [job for job in due if (job.pk, job.lane) in places]
        if jobs:
            tx.run("jobs_claim", values | {"pks": msgspec.json.encode([job.pk for job in jobs]).decode()})
        if len(jobs) < len(due):  # it was changed after its entry was made
            tx.due += [DueEntry(job.due_ms or 0, job.pk, job.lane) for job in due if (job.pk, job.lane) not in places]
        if any(job.dynamic_fields for job in jobs):
            jobs = self._rendered(tx, jobs)
        if len(jobs) < len(claim.entries):
            error = f"{ErrorCode.EXPIRED}: it could not start before expires_at"
            expired = tx.rows("jobs_expire", {"pks": values["pks"], "now_ms": claim.now_ms, "error": error})
            self._ended(tx, expired)
        jobs.sort(key=lambda job: (job.due_ms, job.pk))
        opened = []
        for execution_id, job in zip(claim.execution_ids, jobs, strict=False):
            due_ms = job.due_ms or claim.now_ms
            late_ms = max(0, claim.now_ms - due_ms)
            opened.append((job.pk, job.executions, execution_id, max(claim.now_ms, due_ms), late_ms))
            if job.webhook_url is not None:
                self._outbox.note(tx, job)
        if opened:
            tx.several("execution_open", opened)
            tell_jobs(tx, EventType.JOB_STARTED, [job.pk for job in jobs])
        return jobs

    def _rendered(self, tx: Transaction, jobs: Sequence[Job]) -> list[Job]:
        """Fill in the dynamic fields of those that have some, as the runs before them have left things."""
        memories = self._memories(tx, [job for job in jobs if job.dynamic_fields])
        return [
            dynamic.rendered(job, memories.get(job.schedule_id, dynamic.NOTHING)) if job.dynamic_fields else job
            for job in jobs
        ]

    def _memories(self, tx: Transaction, jobs: Sequence[Job]) -> dict[str | None, dynamic.Memory]:
        ids = msgspec.json.encode([job.schedule_id for job in jobs]).decode()
        return {row[0]: dynamic.Memory(row[1], row[2]) for row in tx.rows("schedules_memory", {"ids": ids})}

    def _remember(self, tx: Transaction, ends: Sequence[Finish]) -> None:
        """Keep for the next run of a schedule what this one has brought."""
        for end in ends:
            if end.heard is not None and end.job.schedule_id is not None:
                before = self._memories(tx, [end.job]).get(end.job.schedule_id, dynamic.NOTHING)
                begins = before.state is None and end.heard.state is not None
                body = tx.rows("job_body", (end.job.pk,))[0][0] if begins else None
                memory = dynamic.remembered(before, end.heard, body)
                tx.each("schedule_remember", [(memory.state, memory.previous, end.job.schedule_id)])

    async def finish_all(self, ends: Sequence[Finish]) -> list[Recorded | Exception]:
        both = [_End(end, None if end.next_by_ms is None else self._new_execution_id()) for end in ends]
        return await self._writer.write_all(self._finish, both)

    def _finish(self, tx: Transaction, both: list[_End]) -> list[Recorded]:
        ends = [end for end, _ in both]
        moved = tx.several("jobs_settle", [rows.job_settle_values(end) for end in ends])
        if moved < len(ends):
            if len(ends) > 1:
                raise SplitBatchError  # find out which
            return [Recorded(ours=False)]
        if self._is_over():  # what came back is the part of an outcome that can be done without
            ends = [msgspec.structs.replace(end, response_headers=(), response_body=None) for end in ends]
        short: list[tuple[Any, ...]] = []
        long: list[tuple[Any, ...]] = []
        for end in ends:
            is_long = len(end.response_body or b"") > LONG or end.job.dynamic_fields
            (long if is_long else short).append(rows.execution_close_values(end))
        tx.several("executions_close", short)
        tx.singly("executions_close", long)
        self._rollups.add(tx, map(_summed, ends))
        final = [end for end in ends if end.settlement.status in FINAL]
        self._remember(tx, final)
        schedules.ended(tx, [(end.job.schedule_id, end.job.pk, end.settlement.status) for end in final])
        recorded = []
        for end, execution_id in both:
            following = None
            if end.settlement.status is JobStatus.SUCCESS:
                tx.well.add(end.job.host)
            elif end.settlement.status is JobStatus.FAILED:
                tx.failed.append(rows.settled(end))
            if end.job.buffer_id is not None:
                following = self._follow(tx, end, buffers.settled(tx, end), execution_id)
            elif end.settlement.next_attempt_ms is not None:
                lane = lane_of(end.job.queue, end.job.host)
                tx.due.append(DueEntry(end.settlement.next_attempt_ms, end.job.pk, lane))
            if wants(end.job):
                self._outbox.note(tx, rows.settled(end), answer=rows.answer(end), due_ms=end.now_ms)
            recorded.append(Recorded(ours=True, next=following))
        again = [end.job.pk for end in ends if end.settlement.next_attempt_ms is not None]
        tell_jobs(tx, EventType.JOB_RETRYING, again)
        return recorded

    def _follow(self, tx: Transaction, end: Finish, entry: DueEntry | None, execution_id: str | None) -> Job | None:
        """Claim the item that comes next in a buffer if it may have the slot; else have it wait for its time."""
        if entry is None:
            return None
        by_ms, owner = end.next_by_ms, end.job.owner
        fits = by_ms is not None and entry.due_ms <= by_ms and entry.lane == lane_of(NO_QUEUE, end.job.host)
        if by_ms is None or owner is None or execution_id is None or not fits:
            tx.due.append(entry)
            return None
        [job] = self._claim_one(tx, _Claim([entry], owner, end.now_ms, by_ms, [execution_id]))
        return job

    async def unclaim(self, jobs: Sequence[Job], now_ms: int) -> None:
        await self._writer.write(self._unclaim, _Unclaim(jobs, now_ms))

    def _unclaim(self, tx: Transaction, batches: list[_Unclaim]) -> list[None]:
        for batch in batches:
            tx.each("execution_forget", [(job.pk, job.executions) for job in batch.jobs])
            self._outbox.unsay(tx, [job for job in batch.jobs if job.webhook_url is not None])
            moves = [(batch.now_ms, job.pk, job.executions, job.owner) for job in batch.jobs]
            tx.each("job_unclaim", moves)
            tx.due += [DueEntry(job.due_ms or batch.now_ms, job.pk, job.lane) for job in batch.jobs]
        return [None] * len(batches)

    async def hand_back(self, jobs: Sequence[Job], *, now_ms: int, reason: str) -> None:
        pks = [job.pk for job in jobs]
        await self._writer.write(self._interrupt, _Interrupt(pks, 0, now_ms, reason), rows=len(pks))

    async def recover(self, *, now_ms: int, reason: str) -> int:
        return await self._writer.write(self._interrupt, _Interrupt(None, 1, now_ms, reason))

    def _interrupt(self, tx: Transaction, items: list[_Interrupt]) -> list[int]:
        return [self._interrupt_one(tx, item) for item in items]

    def _interrupt_one(self, tx: Transaction, item: _Interrupt) -> int:
        values = {
            "pks": None if item.pks is None else msgspec.json.encode(item.pks).decode(),
            "crash": item.crash,
            "now_ms": item.now_ms,
            "error": f"{ErrorCode.INTERRUPTED}: {item.reason}",
            "most_crashes": MOST_CRASHES,
            "quarantined": QUARANTINED,
        }
        cut_off = [rows.job(row) for row in tx.rows("running_jobs", {"pks": values["pks"]})]
        tx.rows("executions_interrupt", values)
        self._rollups.add(tx, [Ended(job, ExecutionStatus.INTERRUPTED, item.now_ms, 0, 0) for job in cut_off])
        ended = tx.rows("jobs_interrupted_fail", values)
        self._ended(tx, [row[:3] for row in ended])
        for _, _, _, buffer_id in ended:
            buffers.failed(tx, buffer_id, item.now_ms)
        again = tx.rows("jobs_interrupted_retry", values)
        self._outbox.note_all(tx, [pk for _, pk, _ in again])
        tx.due += [rows.due(row) for row in again]
        tx.run("items_pause", {"held_ms": HELD_MS})
        tell_jobs(tx, EventType.JOB_RETRYING, [row[1] for row in again])
        return len(again) + len(ended)

    async def pull_retries(self, *, by_ms: int, now_ms: int) -> int:
        return await self._writer.write(self._pull_retries, (by_ms, now_ms))

    def _pull_retries(self, tx: Transaction, pulls: list[tuple[int, int]]) -> list[int]:
        counts = []
        for by_ms, now_ms in pulls:
            moved = tx.rows("retries_pull", {"by_ms": by_ms, "now_ms": now_ms, "held_ms": HELD_MS})
            tx.due += [rows.due(row) for row in moved]
            tell_jobs(tx, EventType.JOB_UPDATED, [row[1] for row in moved])
            tx.run("buffers_pull", {"by_ms": by_ms, "now_ms": now_ms})
            counts.append(len(moved))
        return counts


def _summed(end: Finish) -> Ended:
    """Return the end of an attempt as it is added up."""
    took_ms = max(0, end.finished_ms - end.started_ms)
    return Ended(end.job, end.settlement.execution_status, end.finished_ms, took_ms, end.late_ms)
