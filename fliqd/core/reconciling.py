"""What has to change so that the store holds what the configuration file declares: a comparison, nothing else.

An entry is known by its name. A schedule of that name that was made over the API is taken over, with its history.
A one-time job runs once, ever: what is remembered of it outlives the job.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from fliqd.core.buffers import DEFINED_OF_BUFFER, Buffer
from fliqd.core.channels import DEFINED_OF_CHANNEL, Channel
from fliqd.core.drafts import PAST_MS
from fliqd.core.model import Job, JobStatus, Source
from fliqd.core.queues import DEFINED_OF_QUEUE, Queue
from fliqd.core.schedule import DEFINED, Schedule

DEFINED_OF_JOB: Final = (
    "url", "host", "http_method", "headers", "query", "body", "body_is_json", "has_references", "timeout_ms",
    "max_retries", "backoff", "success_statuses", "on_interrupt", "queue", "description", "tags", "scheduled_ms",
    "expires_ms", "webhook_url", "webhook_headers", "webhook_events", "callback_url", "requires_approval",
    "dynamic_fields",
)  # fmt: skip


class DeclaredSchedule(msgspec.Struct, frozen=True):
    """A schedule as it shall be; its id, its cursor and what else is its life are not in it.

    `paused` is None where the file does not say, and then the API decides.
    """

    schedule: Schedule
    paused: bool | None


class DeclaredChannel(msgspec.Struct, frozen=True):
    """A channel as it shall be; `enabled` is None where the file does not say, and then the API decides."""

    channel: Channel
    enabled: bool | None


class DeclaredBuffer(msgspec.Struct, frozen=True):
    """A buffer as it shall be; `paused` is None where the file does not say, and then the API decides."""

    buffer: Buffer
    paused: bool | None


class DeclaredQueue(msgspec.Struct, frozen=True):
    """A queue as it shall be; `paused` as for a buffer."""

    queue: Queue
    paused: bool | None


class Declarations(msgspec.Struct, frozen=True):
    """Everything that a file declares, by the entries' order; of a job, its id and its times of life are not in it."""

    schedules: tuple[DeclaredSchedule, ...] = ()
    jobs: tuple[Job, ...] = ()
    channels: tuple[DeclaredChannel, ...] = ()
    buffers: tuple[DeclaredBuffer, ...] = ()
    queues: tuple[DeclaredQueue, ...] = ()


class DeclaredJob(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of a one-time job that the configuration file declared; it outlives the job.

    `job_id` is None when its time was past when it was first seen.
    """

    name: str
    job_id: str | None
    scheduled_ms: int
    seen_ms: int


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds, all of it but the jobs: of those, what is remembered of declared ones and what is there."""

    schedules: Sequence[Schedule]
    remembered: Sequence[DeclaredJob]
    jobs: Mapping[str, Job]  # by id
    channels: Sequence[Channel] = ()
    buffers: Sequence[Buffer] = ()
    queues: Sequence[Queue] = ()


class Named(Protocol):
    """A thing that a file may declare."""

    @property
    def name(self) -> str | None: ...
    @property
    def source(self) -> Source: ...


H = TypeVar("H", bound=Named)
W = TypeVar("W")


class Difference(msgspec.Struct, Generic[H, W], frozen=True, kw_only=True):
    """What has to be done to things of one kind; pairs are (as it is, as it shall be)."""

    create: tuple[W, ...] = ()
    update: tuple[tuple[H, W], ...] = ()
    delete: tuple[H, ...] = ()
    unchanged: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be done; pairs are (as it is, as it shall be)."""

    schedules: Difference[Schedule, DeclaredSchedule] = Difference()
    channels: Difference[Channel, DeclaredChannel] = Difference()
    buffers: Difference[Buffer, DeclaredBuffer] = Difference()
    queues: Difference[Queue, DeclaredQueue] = Difference()
    create_jobs: tuple[Job, ...] = ()
    update_jobs: tuple[tuple[Job, Job], ...] = ()
    cancel_jobs: tuple[Job, ...] = ()
    miss_jobs: tuple[Job, ...] = ()  # past when first seen
    forget_jobs: tuple[str, ...] = ()  # names
    unchanged_jobs: int = 0
    notes: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[Difference[Any, Any], ...]:
        """What has to be done to all that is known by its name alone."""
        return self.schedules, self.buffers, self.queues, self.channels

    @property
    def unchanged(self) -> int:
        """How many entries are as they shall be."""
        return sum(kind.unchanged for kind in self.named) + self.unchanged_jobs

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be done."""
        jobs = (self.create_jobs, self.update_jobs, self.cancel_jobs, self.miss_jobs, self.forget_jobs)
        return not any(jobs) and not any(kind.create or kind.update or kind.delete for kind in self.named)


def compare(declared: Declarations, held: Held, now_ms: int) -> Changes:
    """Return what brings the store from what it holds to what is declared."""
    return msgspec.structs.replace(
        _compare_jobs(declared.jobs, held, now_ms),
        schedules=compare_named({entry.schedule.name: entry for entry in declared.schedules}, held.schedules, differs),
        channels=compare_named(
            {entry.channel.name or "": entry for entry in declared.channels}, held.channels, channel_differs
        ),
        buffers=compare_named({entry.buffer.name: entry for entry in declared.buffers}, held.buffers, buffer_differs),
        queues=compare_named({entry.queue.name: entry for entry in declared.queues}, held.queues, queue_differs),
    )


def compare_named(declared: Mapping[str, W], held: Sequence[H], differ: Callable[[H, W], bool]) -> Difference[H, W]:
    """Compare what is declared, by name, with what is held; `differ` tells whether one is not yet as declared."""
    by_name: dict[str, H] = {}
    for old in held:
        if old.name is not None and (old.name not in by_name or old.source is Source.CONFIG):
            by_name[old.name] = old
    both = [(by_name[name], wanted) for name, wanted in declared.items() if name in by_name]
    update = tuple(pair for pair in both if differ(*pair))
    return Difference(
        create=tuple(wanted for name, wanted in declared.items() if name not in by_name),
        update=update,
        delete=tuple(old for old in held if old.source is Source.CONFIG and old.name not in declared),
        unchanged=len(both) - len(update),
    )


def differs(old: Schedule, entry: DeclaredSchedule) -> bool:
    """Tell whether a schedule is not yet as declared."""
    paused = old.paused_ms is not None
    return _is_other(old, entry.schedule, DEFINED) or entry.paused not in (None, paused)


def channel_differs(old: Channel, entry: DeclaredChannel) -> bool:
    """Tell whether a channel is not yet as declared."""
    return _is_other(old, entry.channel, DEFINED_OF_CHANNEL) or entry.enabled not in (None, old.enabled)


def buffer_differs(old: Buffer, entry: DeclaredBuffer) -> bool:
    """Tell whether a buffer is not yet as declared."""
    paused = old.paused_ms is not None
    return _is_other(old, entry.buffer, DEFINED_OF_BUFFER) or entry.paused not in (None, paused)


def queue_differs(old: Queue, entry: DeclaredQueue) -> bool:
    """Tell whether a queue is not yet as declared."""
    paused = old.paused_ms is not None
    return _is_other(old, entry.queue, DEFINED_OF_QUEUE) or entry.paused not in (None, paused)


def _is_other(old: Named, new: Named, defined: Sequence[str]) -> bool:
    return old.source is not Source.CONFIG or any(getattr(old, name) != getattr(new, name) for name in defined)


def _compare_jobs(declared: Sequence[Job], held: Held, now_ms: int) -> Changes:
    remembered = {memory.name: memory for memory in held.remembered}
    create, update, miss, same = [], [], [], 0
    notes = []
    for wanted in declared:
        memory = remembered.get(wanted.name or "")
        job = held.jobs.get(memory.job_id) if memory is not None and memory.job_id is not None else None
        if memory is None or (memory.job_id is None and memory.scheduled_ms != wanted.scheduled_ms):
            if wanted.scheduled_ms < now_ms - PAST_MS:
                miss.append(wanted)
            else:
                create.append(wanted)
        elif job is not None and _has_not_begun(job) and _differs(job, wanted):
            update.append((job, wanted))
        else:
            same += 1
            moved = memory.scheduled_ms != wanted.scheduled_ms if job is None else _differs(job, wanted)
            if memory.job_id is not None and moved:
                notes.append(f'the job "{wanted.name}" has run and does not run again; another name makes another job')
    names = {wanted.name for wanted in declared}
    gone = [memory for memory in held.remembered if memory.name not in names]
    left = [held.jobs[memory.job_id] for memory in gone if memory.job_id and memory.job_id in held.jobs]
    waiting = [job for job in left if _has_not_begun(job)]
    never = {job.name for job in waiting} | {memory.name for memory in gone if memory.job_id is None}
    return Changes(
        create_jobs=tuple(create),
        update_jobs=tuple(update),
        miss_jobs=tuple(miss),
        cancel_jobs=tuple(waiting),
        # What never ran may be declared again.
        forget_jobs=tuple(memory.name for memory in gone if memory.name in never),
        unchanged_jobs=same,
        notes=tuple(notes),
    )


def _has_not_begun(job: Job) -> bool:
    return job.status in (JobStatus.SCHEDULED, JobStatus.AWAITING_APPROVAL) and job.executions == 0


def _differs(job: Job, wanted: Job) -> bool:
    return any(getattr(job, name) != getattr(wanted, name) for name in DEFINED_OF_JOB)
