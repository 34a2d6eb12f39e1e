"""Makes the store hold what the configuration file declares: all of it, or nothing."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from fliqd.clock import Clock
from fliqd.core import lifecycle
from fliqd.core.buffers import DEFINED_OF_BUFFER, Buffer
from fliqd.core.channels import Channel
from fliqd.core.model import Job, JobStatus, Source
from fliqd.core.queues import Queue
from fliqd.core.reconciling import (
    DEFINED_OF_JOB,
    Changes,
    Declarations,
    DeclaredBuffer,
    DeclaredChannel,
    DeclaredJob,
    DeclaredQueue,
    DeclaredSchedule,
    Held,
    compare,
)
from fliqd.core.schedule import DEFINED, Schedule
from fliqd.errors import ConflictError
from fliqd.service.buffers import FULL, edited, with_pause
from fliqd.service.queues import QueueService, bare
from fliqd.service.queues import with_pause as queue_with_pause
from fliqd.service.schedules import ScheduleService, planned, started
from fliqd.store.base import Reconciliation, Step, Store

TRIES = 10  # what is compared may change meanwhile, not ten times


class Reconciler:
    """Compares, and carries out what the comparison says in one transaction.

    Both are worked out in a thread of their own: ten thousand entries are seconds, which the loop has not.
    """

    def __init__(
        self,
        *,
        store: Store,
        schedules: ScheduleService,
        queues: QueueService,
        clock: Clock,
        new_ulid: Callable[[], str],
    ) -> None:
        self._store = store.schedules
        self._alerts = store.alerts
        self._lanes = store.buffers
        self._schedules = schedules
        self._queues = queues
        self._clock = clock
        self._new_ulid = new_ulid

    async def changes(self, declared: Declarations) -> Changes:
        """Return what would change."""
        remembered = await self._store.declared()
        jobs = await self._store.jobs([memory.job_id for memory in remembered if memory.job_id is not None])
        held = Held(
            schedules=await self._store.all(),
            remembered=remembered,
            jobs={job.id: job for job in jobs},
            channels=self._alerts.channels(),
            buffers=await self._lanes.all(),
            queues=await self._lanes.queues(),
        )
        return await asyncio.to_thread(compare, declared, held, self._clock.now_ms())

    async def apply(self, declared: Declarations) -> Changes:
        """Do what has to change; return what that was."""
        for _ in range(TRIES):
            changes = await self.changes(declared)
            if changes.is_empty:
                return changes
            if await self._store.reconcile(await asyncio.to_thread(self._transaction, changes)):
                await self._queues.took_over([queue.name for queue in changes.queues.delete])
                return changes
        raise ConflictError("what the file declares changes all the time; try again", "busy")

    async def declared_lanes(self) -> tuple[list[str], list[str]]:
        """Return the names of the buffers and the queues that a file has declared."""
        buffers, queues = await self._lanes.all(), await self._lanes.queues()
        config = Source.CONFIG
        return [one.name for one in buffers if one.source is config], [
            one.name for one in queues if one.source is config
        ]

    def declared_channels(self) -> list[str]:
        """Return the names of the channels that a file has declared."""
        return [one.name or "" for one in self._alerts.channels() if one.source is Source.CONFIG]

    async def declared_schedules(self) -> list[str]:
        """Return the names of the schedules that a file has declared."""
        return [schedule.name for schedule in await self._store.all() if schedule.source is Source.CONFIG]

    async def declared_jobs(self) -> list[tuple[DeclaredJob, Job | None]]:
        """Return what is remembered of declared jobs, each with the job itself while that is kept."""
        remembered = await self._store.declared()
        jobs = await self._store.jobs([memory.job_id for memory in remembered if memory.job_id is not None])
        by_id = {job.id: job for job in jobs}
        return [(memory, by_id.get(memory.job_id or "")) for memory in remembered]

    def _transaction(self, changes: Changes) -> Reconciliation:
        now_ms = self._clock.now_ms()
        made = [self._born(job, now_ms) for job in changes.create_jobs]
        missed = [
            DeclaredJob(name=job.name or "", job_id=None, scheduled_ms=job.scheduled_ms, seen_ms=now_ms)
            for job in changes.miss_jobs
        ]
        updated = [(old, _edited(old, wanted, now_ms)) for old, wanted in changes.update_jobs]
        cancelled = [(old, lifecycle.cancel(old, now_ms)) for old in changes.cancel_jobs]
        return Reconciliation(
            create=tuple(self._new(entry, now_ms) for entry in changes.schedules.create),
            steps=(
                *(self._step(old, entry, now_ms) for old, entry in changes.schedules.update),
                *(self._schedules.deleting(old, now_ms) for old in changes.schedules.delete),
            ),
            channels=(
                *((None, self._channel(None, entry, now_ms)) for entry in changes.channels.create),
                *((old, self._channel(old, entry, now_ms)) for old, entry in changes.channels.update),
                *((old, None) for old in changes.channels.delete),
            ),
            create_buffers=tuple(self._buffer(entry, now_ms) for entry in changes.buffers.create),
            change_buffers=(
                *((old, partial(_edited_buffer, entry=entry, now_ms=now_ms)) for old, entry in changes.buffers.update),
                *((old, partial(_deleted_buffer, now_ms=now_ms)) for old in changes.buffers.delete),
            ),
            put_queues=(
                *(_queue(bare(entry.queue.name, now_ms), entry, now_ms) for entry in changes.queues.create),
                *(_queue(old, entry, now_ms) for old, entry in changes.queues.update),
            ),
            drop_queues=tuple(queue.name for queue in changes.queues.delete),
            now_ms=now_ms,
            create_jobs=tuple(made),
            change_jobs=(*updated, *cancelled),
            remember=(*(_memory(job, now_ms) for job in made), *(_memory(new, now_ms) for _, new in updated), *missed),
            forget=changes.forget_jobs,
        )

    def _new(self, entry: DeclaredSchedule, now_ms: int) -> Schedule:
        born = msgspec.structs.replace(
            entry.schedule, id=f"sched_{self._new_ulid()}", created_ms=now_ms, updated_ms=now_ms, cursor_ms=now_ms
        )
        return planned(started(born, now_ms, paused=entry.paused is True))

    def _step(self, old: Schedule, entry: DeclaredSchedule, now_ms: int) -> Step:
        fields = {name: getattr(entry.schedule, name) for name in DEFINED}
        fields["source"] = Source.CONFIG
        return self._schedules.edit(old, fields, now_ms, paused=entry.paused, may_be_over=True)

    def _channel(self, old: Channel | None, entry: DeclaredChannel, now_ms: int) -> Channel:
        wanted = msgspec.structs.replace(entry.channel, updated_ms=now_ms)
        enabled = entry.enabled if entry.enabled is not None else old is None or old.enabled
        if old is None:
            return msgspec.structs.replace(wanted, id=f"alt_{self._new_ulid()}", created_ms=now_ms, enabled=enabled)
        return msgspec.structs.replace(wanted, pk=old.pk, id=old.id, created_ms=old.created_ms, enabled=enabled)

    def _buffer(self, entry: DeclaredBuffer, now_ms: int) -> Buffer:
        times = {"created_ms": now_ms, "updated_ms": now_ms, "tokens_ms": now_ms}
        born = msgspec.structs.replace(entry.buffer, id=f"buf_{self._new_ulid()}", tokens=FULL, **times)
        return with_pause(born, now_ms, paused=entry.paused is True)

    def _born(self, job: Job, now_ms: int) -> Job:
        return msgspec.structs.replace(
            job,
            id=f"job_{self._new_ulid()}",
            created_ms=now_ms,
            updated_ms=now_ms,
            **_place(job, now_ms, approved=False),
        )


def _edited_buffer(old: Buffer, entry: DeclaredBuffer, now_ms: int) -> Buffer:
    fields: dict[str, Any] = {name: getattr(entry.buffer, name) for name in DEFINED_OF_BUFFER}
    new = edited(old, fields | {"source": Source.CONFIG}, now_ms)
    return new if entry.paused is None else with_pause(new, now_ms, paused=entry.paused)


def _deleted_buffer(old: Buffer, now_ms: int) -> Buffer:
    return msgspec.structs.replace(old, deleted_ms=now_ms, updated_ms=now_ms)


def _queue(old: Queue, entry: DeclaredQueue, now_ms: int) -> Queue:
    new = msgspec.structs.replace(
        old, concurrency=entry.queue.concurrency, rate=entry.queue.rate, source=Source.CONFIG, updated_ms=now_ms
    )
    return new if entry.paused is None else queue_with_pause(new, now_ms, paused=entry.paused)


def _edited(old: Job, wanted: Job, now_ms: int) -> Job:
    fields = {name: getattr(wanted, name) for name in DEFINED_OF_JOB}
    place = _place(wanted, now_ms, approved=old.approved_ms is not None)
    return msgspec.structs.replace(old, **fields, **place, lane=wanted.lane, updated_ms=now_ms)


def _place(wanted: Job, now_ms: int, *, approved: bool) -> dict[str, Any]:
    """Return where a job that has not begun stands: it waits for its time, or for somebody."""
    if wanted.requires_approval and not approved:
        return {"status": JobStatus.AWAITING_APPROVAL, "next_attempt_ms": None}
    return {"status": JobStatus.SCHEDULED, "next_attempt_ms": max(wanted.scheduled_ms, now_ms)}


def _memory(job: Job, now_ms: int) -> DeclaredJob:
    return DeclaredJob(name=job.name or "", job_id=job.id, scheduled_ms=job.scheduled_ms, seen_ms=now_ms)
