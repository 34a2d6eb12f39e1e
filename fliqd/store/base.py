"""What a store promises: the contract that the services and the engine are written against.

Operations take and return values. Every write returns only when it is on disk, is all or nothing, and
goes on to its end when its caller is cancelled. A change of state names the state it comes from, and the
end of an attempt names its owner and number, so that a late worker cannot overwrite its successor.

Raised by any of them: `UnavailableError` when the disk is full or locked (nothing was changed),
`StoreIOError` when the disk failed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from fliqd.core.accounting import Account
from fliqd.core.buffers import Buffer
from fliqd.core.channels import Channel
from fliqd.core.deliveries import Delivery, DeliveryStatus, Tried
from fliqd.core.delivery import Timings
from fliqd.core.due_heap import DueEntry
from fliqd.core.dynamic import Heard
from fliqd.core.events import News
from fliqd.core.histogram import Histogram
from fliqd.core.incidents import Incident
from fliqd.core.model import Execution, Job, JobStatus, Source
from fliqd.core.queues import Queue
from fliqd.core.reconciling import DeclaredJob
from fliqd.core.rollups import Scope, Sums
from fliqd.core.schedule import Missed, Schedule, ScheduleStatus
from fliqd.core.settle import Settlement


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs a list shows; None leaves a condition out. Times are inclusive `…_from`, exclusive `…_to`."""

    status: JobStatus | None = None
    waiting: bool | None = None  # for their time, a retry or somebody
    retrying: bool | None = None
    queue: str | None = None
    name: str | None = None
    tag: str | None = None
    schedule_id: str | None = None
    of_schedule: bool | None = None  # whether a schedule has made it
    dialect: str | None = None
    idempotency_key: str | None = None  # of the one that it still names
    kept_in: str | None = None  # leaves out the jobs of this API whose key was let go
    created_from_ms: int | None = None
    created_to_ms: int | None = None
    scheduled_from_ms: int | None = None
    scheduled_to_ms: int | None = None
    # What comes beyond this place, where those due last come first; both or none.
    beyond_ms: int | None = None
    beyond_pk: int | None = None


class Place(NamedTuple):
    """That of a job in a list by due time; the key tells jobs of one instant apart."""

    scheduled_ms: int
    pk: int


OrderedBy = Literal["created", "updated", "scheduled", "started", "finished"]


class JobOrder(NamedTuple):
    """By what jobs are put in order, and whether the greatest comes first."""

    by: OrderedBy = "created"
    newest_first: bool = True


class Page(msgspec.Struct, frozen=True):
    """A part of a list, and the key to go on before, None at the end.

    A row that has changed while the page was read may be missing from it, so the key is not that of the last row.
    """

    jobs: list[Job]
    next_pk: int | None


class Created(msgspec.Struct, frozen=True):
    """A job as the store has it; `replayed` when its idempotency key had made it before."""

    job: Job
    replayed: bool
    deduplicated: bool = False  # when there is one already that does the same work


class Finish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The end of the attempt `job.executions` by `job.owner`: what it was, and what the job becomes."""

    job: Job
    settlement: Settlement
    started_ms: int
    finished_ms: int
    now_ms: int  # by the clock as it stands at the end; the other two follow the clock of the start
    late_ms: int
    status_code: int | None
    response_headers: tuple[tuple[str, str], ...]
    response_body: bytes | None
    response_truncated: bool
    timings: Timings
    heard: Heard | None = None  # what the next run of its schedule is told, where that asks for it
    next_by_ms: int | None = None  # the slot may go to the next item of its buffer, if that is due by then


class Recorded(NamedTuple):
    """What became of the end of an attempt."""

    ours: bool  # False if the attempt was not the owner's any more
    next: Job | None = None  # the next item of its buffer, running: the end of the one was the claim of the other


class ScheduleFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which schedules a list shows; None leaves a condition out."""

    status: ScheduleStatus | None = None
    name: str | None = None
    source: Source | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of a schedule that was read as `old`.

    Of one that is parked, `old` has the timing that mends it: with its own nothing can be computed.
    First the due times since its cursor are settled as `due` says (`core.accounting.advance`), then `change` is
    made, then `jobs` are added that belong to no due time. What was noted as missed later than `ahead_of_ms` is
    taken back, since it is ahead again. A change that deletes it cancels its jobs that have never started.
    """

    old: Schedule
    now_ms: int
    due: Account | None = None
    ahead_of_ms: int | None = None
    change: Callable[[Schedule], Schedule] | None = None
    jobs: tuple[Job, ...] = ()


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which notices a list shows; None leaves a condition out."""

    status: DeliveryStatus | None = None
    job_id: str | None = None


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What makes the store hold what the configuration file declares: done as a whole, or not at all."""

    create: tuple[Schedule, ...] = ()
    steps: tuple[Step, ...] = ()
    create_jobs: tuple[Job, ...] = ()
    change_jobs: tuple[tuple[Job, Job], ...] = ()  # as it was read, as it shall be
    remember: tuple[DeclaredJob, ...] = ()
    forget: tuple[str, ...] = ()  # names
    channels: tuple[tuple[Channel | None, Channel | None], ...] = ()  # None: it is new, or shall go
    create_buffers: tuple[Buffer, ...] = ()
    change_buffers: tuple[tuple[Buffer, Callable[[Buffer], Buffer]], ...] = ()  # as it was read, and what to do to it
    put_queues: tuple[Queue, ...] = ()
    drop_queues: tuple[str, ...] = ()  # names
    now_ms: int = 0


class Writes(Protocol):
    """How writing goes, since the start."""

    rows: Histogram  # of each transaction
    took_s: Histogram  # each transaction, from its begin to the disk
    waited_s: Histogram  # the first write of each, from the call to the disk
    waiting: int  # rows, now


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token as the store knows it: never the token itself, only its SHA-256."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    created_ms: int
    last_used_ms: int | None = None


class Counts(msgspec.Struct, frozen=True):
    """How many jobs stand where, and items of buffers; `first_due_ms` is when the first of all that wait is due."""

    waiting: int
    awaiting_approval: int
    running: int
    finished: int  # since the instant that was asked for, and still kept
    failed: int  # of them
    items_waiting: int
    items_running: int
    items_failed: int  # since then
    first_due_ms: int | None  # None too where all that waits is held


class BufferCounts(NamedTuple):
    """How many items of a buffer have not ended."""

    pending: int
    running: int


class QueueCounts(NamedTuple):
    """How many jobs of a queue have not ended."""

    waiting: int
    running: int


class Buffers(Protocol):
    """The buffers of a store with their items, and the limits of queues."""

    async def create(self, buffer: Buffer) -> Buffer:
        """Add a buffer; raise ConflictError (`name_taken`)."""

    async def get(self, buffer_id: str) -> Buffer:
        """Return a buffer; raise NotFoundError."""

    async def page(self, *, name: str | None, before_pk: int | None, limit: int) -> tuple[list[Buffer], bool]:
        """Return up to `limit` buffers created before that one, newest first, and whether there are more."""

    async def all(self) -> list[Buffer]:
        """Return every buffer, oldest first."""

    async def change(self, buffer_id: str, change: Callable[[Buffer], Buffer], now_ms: int) -> Buffer:
        """Replace a buffer by `change(buffer)`, in one transaction; its first item follows its pause and its rate.

        `change` is pure and may raise. Raises NotFoundError, ConflictError (`name_taken`). One that is deleted sends no
        more; its items are left to `delete_items`, but for the one under way, which goes when it ends.
        """

    async def deleted(self) -> list[str]:
        """Return the ids of deleted buffers that still have something to delete."""

    async def delete_items(self, buffer_id: str) -> bool:
        """Delete some items of a deleted buffer, and itself with the last one; tell whether there were any."""

    async def push(self, buffer_id: str, items: Sequence[Job], now_ms: int) -> list[Created]:
        """Add items at the tail; one whose idempotency key exists is not added, the first one comes back.

        Raises NotFoundError.
        """

    async def items(self, buffer_id: str, *, status: JobStatus | None, before_pk: int | None, limit: int) -> Page:
        """Return up to `limit` items, newest first, pushed before the one with `before_pk`."""

    async def counts(self, buffer_id: str) -> BufferCounts:
        """Return how many items have not ended."""

    async def queues(self) -> list[Queue]:
        """Return the queues that have limits, by name."""

    async def queue_counts(self) -> dict[str, QueueCounts]:
        """Return how many jobs wait and run, by queue, of those queues that have some."""

    async def queue(self, name: str) -> tuple[Queue | None, QueueCounts]:
        """Return the limits of a queue, None if it has none, and how many jobs of it wait and run."""

    async def change_queue(self, name: str, change: Callable[[Queue | None], Queue | None]) -> Queue | None:
        """Set the limits of a queue to `change(queue)`, None for none, read and written in one transaction.

        `change` may raise, which leaves them as they were.
        """


class Schedules(Protocol):
    """The schedules of a store, what they missed, and what the configuration file has declared."""

    def on_due(self, listener: Callable[[Sequence[DueEntry]], None]) -> None:
        """Have `listener` told, after each commit, of every schedule whose next run has changed."""

    async def create(self, schedule: Schedule) -> Schedule:
        """Add a schedule; raise ConflictError (`name_taken`)."""

    async def create_with_job(self, schedule: Schedule, first: Job) -> Created:
        """Add a schedule and its first job, made ahead; raise ConflictError (`name_taken`).

        Where the idempotency key of the job is held, neither is added, and the job that holds it comes back.
        """

    async def get(self, schedule_id: str, *, deleted_too: bool = False) -> Schedule:
        """Return a schedule; raise NotFoundError. `last_status` is that of its last job right now."""

    async def page(self, where: ScheduleFilter, *, before_pk: int | None, limit: int) -> tuple[list[Schedule], bool]:
        """Return up to `limit` schedules created before that one, newest first, and whether there are more."""

    async def all(self) -> list[Schedule]:
        """Return every schedule, oldest first."""

    async def by_pk(self, pks: Sequence[int]) -> list[Schedule]:
        """Return those that are there."""

    async def due_page(self, *, start: tuple[int, int], limit: int) -> list[DueEntry]:
        """Return schedules from `start` (next run, pk) on, inclusive, by their next run."""

    async def parked(self) -> list[int]:
        """Return the pks of those whose next run could not be computed."""

    async def take(self, steps: Sequence[Step]) -> list[Schedule | None]:
        """Take steps, each for itself; None in the place of one whose schedule has changed since it was read.

        Raises ConflictError (`name_taken`), and then has taken none.
        """

    async def missed(self, schedule: Schedule, *, before_pk: int | None, limit: int) -> tuple[list[Missed], int | None]:
        """Return what a schedule missed, what was noted last first, and the place to go on before, None at the end."""

    async def slots(self, schedule: Schedule, first_ms: int, last_ms: int) -> list[int]:
        """Return which slots of a span have a job, in order."""

    async def declared(self) -> list[DeclaredJob]:
        """Return what is remembered of the one-time jobs that were declared."""

    async def jobs(self, ids: Sequence[str]) -> list[Job]:
        """Return those of these jobs that are there."""

    async def reconcile(self, wanted: Reconciliation) -> bool:
        """Do all of it, or, when something has changed since it was read, nothing: then False.

        Raises ConflictError (`name_taken`), which leaves all as it was.
        """

    async def forget(self, *, before_ms: int, limit: int) -> int:
        """Delete up to `limit` notes of missed runs that are older, and deleted schedules of which nothing is left."""


class Outbox(Protocol):
    """What is on its way to those who are told of jobs.

    A notice is written in the transaction of what it tells. What one job tells by one way (webhook, callback) leaves in
    order: the next one only once the one before has ended, delivered or given up.
    """

    def on_due(self, listener: Callable[[Sequence[DueEntry]], None]) -> None:
        """Have `listener` told, after each commit, of every notice that has come to wait for an instant."""

    async def due_page(
        self, *, start: tuple[int, int], limit: int, until_ms: int | None = None, lane: str | None = None
    ) -> list[DueEntry]:
        """Return pending notices from `start` (due_ms, pk) on, inclusive, in due order."""

    async def claim(self, pks: Sequence[int], *, owner: str, until_ms: int) -> list[Delivery]:
        """Begin a try of each that is pending and due by then; return them. One that is not back was not."""

    async def finish(self, end: Tried) -> None:
        """Write down what a try came to, unless it was not its owner's any more."""

    async def hand_back(self, *, now_ms: int) -> int:
        """Have all that are under way due again at once, their try not counted; return how many."""

    async def pull(self, *, by_ms: int, now_ms: int) -> None:
        """Have those that wait for another try wait `by_ms` less, as `Store.pull_retries` does for jobs."""

    async def page(self, where: DeliveryFilter, *, before_pk: int | None, limit: int) -> tuple[list[Delivery], bool]:
        """Return up to `limit` notices, newest first, written before that one, and whether there are more."""

    async def forget(self, *, before_ms: int, limit: int) -> int:
        """Delete up to `limit` notices that ended before then; return how many."""


class AlertStore(Protocol):
    """Where alerts go, and what they are about."""

    def channels(self) -> Sequence[Channel]:
        """Return every channel as the last commit has left it, oldest first."""

    async def add(self, channel: Channel) -> Channel:
        """Add a channel; raise ConflictError when there are too many."""

    async def change(self, channel_id: str, change: Callable[[Channel], Channel | None]) -> None:
        """Replace a channel by `change(channel)`, None to delete it. `change` may raise. Raises NotFoundError."""

    async def incidents(self) -> list[Incident]:
        """Return every incident that is kept."""

    async def keep(self, incidents: Sequence[Incident], forget: Collection[tuple[str, str]] = ()) -> None:
        """Write incidents as they stand, and delete those of these kinds and subjects."""


class Rollups(Protocol):
    """Executions added up, which outlive their jobs. Hours are since the epoch; `keys` are added up together."""

    async def sums(self, scope: Scope, keys: Sequence[str], *, from_hour: int, hours: int) -> list[tuple[int, Sums]]:
        """Return the sums since an hour, that one included, for each bucket of so many hours, by its first hour."""

    async def counts(self, scope: Scope, keys: Sequence[str], *, from_hour: int, hours: int) -> dict[int, int]:
        """Return how many executions there are in each of these buckets."""

    async def lumped(self, scope: Scope, *, from_hour: int) -> bool:
        """Tell whether some since an hour stand under no key of their own, since there were too many."""

    async def tidy(self, now_hour: int) -> bool:
        """Make one old hour part of its day, or delete what is older than is kept; tell whether there may be more."""


class Attempts(Protocol):
    """The attempts at the jobs of a store."""

    async def claim(self, entries: Sequence[DueEntry], *, owner: str, now_ms: int, until_ms: int) -> list[Job]:
        """Open an attempt at each job that is scheduled and due by `until_ms`; return them, running, by due time.

        One that has expired by `now_ms` fails instead. One that does not come back was not due, is gone, someone was
        quicker, or it has changed its lane: then it is told of as due in the one that it is in now, whose limits count.
        """

    async def finish_all(self, ends: Sequence[Finish]) -> list[Recorded | Exception]:
        """Close attempts and move their jobs on, in one transaction; an error of one end comes back in its place.

        Where `next_by_ms` says so, an attempt at the next item of its buffer is opened in the same transaction.
        """

    async def unclaim(self, jobs: Sequence[Job], now_ms: int) -> None:
        """Take back attempts whose request has surely not left, as if they had never been opened."""

    async def hand_back(self, jobs: Sequence[Job], *, now_ms: int, reason: str) -> None:
        """Close attempts that were cut off, make their jobs due again (or fail them, `on_interrupt`)."""

    async def recover(self, *, now_ms: int, reason: str) -> int:
        """Do the same for every open attempt there is, and count a crash against it; return how many.

        Such a job goes into the quarantine, and fails when it has been there for `MOST_CRASHES`.
        """

    async def pull_retries(self, *, by_ms: int, now_ms: int) -> int:
        """Have jobs that wait for a retry wait `by_ms` less, but be due no earlier than now; return how many.

        For a clock that was set back: a wait is a length of time, and may not grow by that.
        """


class TokenStore(Protocol):
    """The API tokens of a store."""

    async def all(self) -> list[Token]:
        """Return all tokens, oldest first."""

    async def add(self, token: Token) -> None:
        """Add a token; raise ConflictError if its id exists."""

    async def delete(self, token_id: str) -> None:
        """Remove a token; raise NotFoundError."""

    async def touch(self, used: Mapping[str, int]) -> None:
        """Note when tokens (by id) were last used, in milliseconds; ones that are gone are left out."""


class Store(Protocol):
    """One daemon's view of the jobs."""

    @property
    def id(self) -> str:
        """What tells this store from any other: 128 bits in hex, the same for life."""

    @property
    def attempts(self) -> Attempts:
        """The attempts at its jobs."""

    @property
    def schedules(self) -> Schedules:
        """The schedules."""

    @property
    def buffers(self) -> Buffers:
        """The buffers, and the limits of queues."""

    @property
    def outbox(self) -> Outbox:
        """What is told of them."""

    @property
    def tokens(self) -> TokenStore:
        """Who may call."""

    @property
    def alerts(self) -> AlertStore:
        """What is told of what goes wrong."""

    def on_ended(self, listener: Callable[[Sequence[Job], Collection[str]], None]) -> None:
        """Have `listener` told, after each commit, of jobs that have failed and hosts that have answered well."""

    @property
    def rollups(self) -> Rollups:
        """What executions come to."""

    def on_due(self, listener: Callable[[Sequence[DueEntry]], None]) -> None:
        """Have `listener` told, after each commit, of every job that has come to wait for an instant.

        Told by the store and not by the caller of a write, so that a caller who was cancelled between
        the commit and its next line leaves no job that nobody waits for.
        """

    async def tell_news(self, listener: Callable[[Sequence[News]], None]) -> None:
        """Have `listener` told, after each commit, of what it did to jobs and schedules; of all, once this returns."""

    def stop_news(self) -> None:
        """Have nobody told any more, and nothing taken down."""

    async def create_jobs(self, jobs: Sequence[Job]) -> list[Created]:
        """Add jobs; one whose (dialect, idempotency key) is held is not added, the one that holds it comes back.

        Nor is one with the `dedupe_key` of another that was made within its window, and has neither failed nor been
        cancelled.
        """

    async def job(self, job_id: str) -> Job:
        """Return a job; raise NotFoundError."""

    async def job_by_pk(self, pk: int) -> Job:
        """Return a job by the store's own key; raise NotFoundError."""

    async def job_by_key(self, dialect: str, key: str, now_ms: int) -> Job | None:
        """Return the job that holds an idempotency key, None if none does."""

    async def jobs_from(self, where: JobFilter, *, order: JobOrder, offset: int, limit: int) -> list[Job]:
        """Return up to `limit` jobs after the first `offset` of them. It takes as long as there are jobs before.

        Fewer when their bodies come to much, as with `jobs`; none only where there are none.
        """

    async def jobs_by_time(self, where: JobFilter, *, limit: int) -> tuple[list[Job], Place | None]:
        """Return up to `limit` jobs, those due last first, and the place to go on beyond, None at the end.

        It takes as long as there are jobs. Fewer when their bodies come to much, as with `jobs`.
        """

    async def count_jobs(self, where: JobFilter) -> int:
        """Return how many jobs there are."""

    async def executions_from(
        self, job_pk: int | None, *, offset: int, limit: int, newest_first: bool = True
    ) -> list[Execution]:
        """Return up to `limit` attempts after the first `offset`, at one job or at all, by job and number."""

    async def jobs(self, where: JobFilter, *, before_pk: int | None, limit: int) -> Page:
        """Return up to `limit` jobs, newest first, created before the one with `before_pk`.

        Fewer when their bodies come to much: a page is never more than a few megabytes, and at least one job.
        """

    async def change_job(self, job_id: str, change: Callable[[Job], Job]) -> Job:
        """Replace a job that is not running by `change(job)`, read and written in one transaction.

        `change` is pure and may raise, which leaves the job as it was. Raises NotFoundError, ConflictError where it
        gives the job an idempotency key that another one holds.
        """

    async def executions(self, job_id: str) -> list[Execution]:
        """Return the attempts at a job, newest first; raise NotFoundError."""

    async def due_page(
        self, *, start: tuple[int, int], limit: int, until_ms: int | None = None, lane: str | None = None
    ) -> list[DueEntry]:
        """Return scheduled jobs from `start` (due_ms, pk) on, inclusive, in due order."""

    async def delete_finished(self, *, before_ms: int | None, limit: int) -> int:
        """Delete up to `limit` jobs that finished before then (None: any), the oldest first; return how many.

        What they took is free for others, and left to `give_back`.
        """

    async def give_back(self) -> bool:
        """Give a little of what is free within the store back to the disk; tell whether there is more of it."""

    async def expire_unapproved(self, *, now_ms: int, limit: int) -> int:
        """Fail up to `limit` jobs that nobody has approved before they expired; return how many."""

    async def first_unapproved_expiry_ms(self) -> int | None:
        """Return when the first of the jobs that wait to be approved expires."""

    async def oldest_finish_ms(self) -> int | None:
        """Return when the first of the finished jobs finished."""

    async def nth_newest_finish_ms(self, n: int) -> int | None:
        """Return when the finished job finished that has `n` newer ones, None if there are no more than `n`."""

    async def counts(self, *, since_ms: int) -> Counts:
        """Return how many jobs and items stand where, and have ended since then."""

    async def used_bytes(self) -> int:
        """Return what jobs take within the store; what deleted ones left is not counted."""

    @property
    def changes(self) -> int:
        """A number that grows with each commit."""

    @property
    def totals(self) -> Mapping[tuple[str, str], int]:
        """What was committed since the start: `jobs_created`, `jobs_finished` by status, `missed` by reason."""

    @property
    def writes(self) -> Writes:
        """How writing goes."""

    @property
    def blocked(self) -> str | None:
        """Why the last write could not be done for want of space; None once one could."""

    async def probe(self) -> None:
        """Write a little, to find out whether there is space again."""

    async def check(self) -> None:
        """Read all of the store, beside everybody else; raise StoreUnusableError for damage, which ends the store.

        Raises UnavailableError where it cannot be looked at just now.
        """

    async def ping(self) -> None:
        """Return once one of the store's threads has answered, each in its turn: proof that they live.

        A store that is no longer where it was is ended.
        """

    def size_bytes(self) -> int:
        """Return what the store takes on disk."""

    async def close(self) -> None:
        """Write what waits, then let go of the files."""
