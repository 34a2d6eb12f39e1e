"""What can be done with jobs."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from fliqd.clock import Clock
from fliqd.core import lifecycle
from fliqd.core.drafts import Defaults, JobDraft, in_order, job_fields, plain_fields, required, together
from fliqd.core.durations import format_duration
from fliqd.core.gates import QueueGate
from fliqd.core.model import DEFAULT_QUEUE, FINAL, Execution, Job, JobStatus, is_quarantined, lane_of
from fliqd.core.schedule import WhileRunning
from fliqd.core.stand_ins import NATIVE
from fliqd.core.times import format_time
from fliqd.errors import FliqdError, InvalidError, Problem
from fliqd.store.base import Created, JobFilter, JobOrder, Place, Store

# What cannot be changed later, and why.
FIXED: Final = {
    "idempotency_key": "cannot be changed: it names the create that made the job",
    "dedupe_key": "cannot be changed: it was compared when the job was made",
    "requires_approval": "cannot be changed: approve the job, or cancel it",
}


class Asked(NamedTuple):
    """A draft as it came in, with what was already wrong with it."""

    draft: JobDraft
    problems: Sequence[Problem] = ()


class Reason(msgspec.Struct, frozen=True):
    """Why a job does not move right now; `until` is when that ends, None if no one can say."""

    reason: str
    message: str
    until: str | None = None


class Traffic(Protocol):
    """What is under way, as the dispatcher sees it."""

    @property
    def in_flight(self) -> int: ...

    def room(self) -> int:
        """Return how many more requests may go out now."""

    def lane_room(self, lane: str) -> int:
        """Return how many more may go out through `lane`."""

    def closed_queue(self, lane: str) -> QueueGate | None:
        """Return what stops the queue of `lane` right now, None if nothing does."""


class Jobs:
    """Creates, reads and changes jobs; every rule is in `core`, every transaction in the store."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        new_ulid: Callable[[], str],
        defaults: Callable[[], Defaults],
        traffic: Traffic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_ulid = new_ulid
        self._defaults = defaults
        self._traffic = traffic

    async def create(
        self, asked: Asked, *, dialect: str = NATIVE, token_id: str | None = None, raw: bytes | None = None
    ) -> Created:
        """Add one job; raise InvalidError with everything that is wrong.

        `raw` is JSON that a stand-in API keeps with it, to show it again.
        """
        now_ms = self._clock.now_ms()
        try:
            job = self.new(asked, now_ms, dialect=dialect, token_id=token_id, raw=raw)
        except InvalidError as err:
            # Asked again, a create is still the same one when its time has passed meanwhile.
            key = asked.draft.idempotency_key
            only_late = all(problem.field == "scheduled_at" for problem in err.problems)
            made = await self._store.job_by_key(dialect, key, now_ms) if key and only_late else None
            if made is None:
                raise
            return Created(made, replayed=True)
        return (await self._store.create_jobs([job]))[0]

    async def create_many(
        self, asks: Sequence[Asked], *, dialect: str = NATIVE, token_id: str | None = None
    ) -> list[Created | FliqdError]:
        """Add those that are right, in one transaction; the others come back as their errors, in place."""
        now_ms = self._clock.now_ms()
        made: list[Job | FliqdError] = []
        for asked in asks:
            try:
                made.append(self.new(asked, now_ms, dialect=dialect, token_id=token_id))
            except InvalidError as err:
                made.append(err)
        right = [job for job in made if isinstance(job, Job)]
        created = iter(await self._store.create_jobs(right) if right else [])
        return [next(created) if isinstance(job, Job) else job for job in made]

    async def get(self, job_id: str) -> Job:
        """Return a job; raise NotFoundError."""
        return await self._store.job(job_id)

    async def get_numbered(self, pk: int) -> Job:
        """Return a job by its number; raise NotFoundError."""
        return await self._store.job_by_pk(pk)

    async def page(self, where: JobFilter, order: JobOrder, *, offset: int, limit: int) -> Sequence[Job]:
        """Return `limit` jobs from a place on, which shifts as jobs come and go: `list` does not do that."""
        return await self._store.jobs_from(where, order=order, offset=offset, limit=limit)

    async def by_time(self, where: JobFilter, *, limit: int) -> tuple[Sequence[Job], Place | None]:
        """Return jobs, those due last first, and the place to go on beyond, None at the end."""
        return await self._store.jobs_by_time(where, limit=limit)

    async def count(self, where: JobFilter) -> int:
        """Return how many jobs there are."""
        return await self._store.count_jobs(where)

    async def list(self, where: JobFilter, *, before_pk: int | None, limit: int) -> tuple[list[Job], int | None]:
        """Return jobs, newest first, and the pk to go on before, None at the end."""
        page = await self._store.jobs(where, before_pk=before_pk, limit=limit)
        return page.jobs, page.next_pk

    async def update(self, job_id: str, asked: Asked, *, key: str | None = None) -> Job:
        """Change a waiting job; a change of its time makes it wait for that, even within its retries.

        `key` is a new idempotency key, for an API in which that is a name; raise ConflictError where it is taken.
        """
        now_ms = self._clock.now_ms()
        problems = list(asked.problems)
        fields = job_fields(asked.draft, self._defaults(), now_ms, problems)
        problems += [Problem(name, why) for name, why in FIXED.items() if name in fields]
        if problems:
            raise InvalidError(in_order(problems))
        if key is not None:
            fields["idempotency_key"] = key
        return await self._store.change_job(job_id, lambda job: lifecycle.update(lifecycle.own(job), fields, now_ms))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a waiting job."""
        now_ms = self._clock.now_ms()
        return await self._store.change_job(job_id, lambda job: lifecycle.cancel(lifecycle.own(job), now_ms))

    async def approve(self, job_id: str, *, by: str) -> Job:
        """Let a job go that waits for somebody; `by` is kept as who that was."""
        now_ms = self._clock.now_ms()
        schedule_id = (await self._store.job(job_id)).schedule_id
        overlap = WhileRunning.ALLOW
        if schedule_id is not None:
            overlap = (await self._store.schedules.get(schedule_id, deleted_too=True)).overlap
        queues_up = overlap is not WhileRunning.ALLOW
        return await self._store.change_job(
            job_id, lambda job: lifecycle.approve(job, now_ms, by=by, queues_up=queues_up)
        )

    async def hold(self, job_id: str) -> Job:
        """Have a job that waits for its time wait to be approved as well."""
        now_ms = self._clock.now_ms()
        return await self._store.change_job(job_id, lambda job: lifecycle.hold(lifecycle.own(job), now_ms))

    async def forget(self, job_id: str) -> Job:
        """Cancel a job if it waits, and let its idempotency key name another one; it stays to be read."""
        now_ms = self._clock.now_ms()

        def change(job: Job) -> Job:
            ended = job if job.status in FINAL else lifecycle.cancel(lifecycle.own(job), now_ms)
            return lifecycle.free_key(ended, now_ms)

        return await self._store.change_job(job_id, change)

    async def run(self, job_id: str) -> Job:
        """Make a waiting job due at once."""
        now_ms = self._clock.now_ms()
        return await self._store.change_job(job_id, lambda job: lifecycle.run_now(job, now_ms))

    async def replay(
        self, job_id: str, *, token_id: str | None = None, of: Collection[JobStatus] = (JobStatus.FAILED,)
    ) -> Job:
        """Do a job again, as a new one; it must be in a state among `of`."""
        failed = await self._store.job(job_id)
        again = lifecycle.replay(
            failed, new_id=f"job_{self._new_ulid()}", now_ms=self._clock.now_ms(), token_id=token_id, of=of
        )
        return (await self._store.create_jobs([again]))[0].job

    async def executions(self, job_id: str) -> Sequence[Execution]:
        """Return the attempts at a job, newest first."""
        return await self._store.executions(job_id)

    async def attempts(
        self, job: Job | None, *, offset: int, limit: int, newest_first: bool = True
    ) -> Sequence[Execution]:
        """Return attempts from a place on, at one job or at all of them, by job and number."""
        pk = None if job is None else job.pk
        return await self._store.executions_from(pk, offset=offset, limit=limit, newest_first=newest_first)

    async def why(self, job_id: str) -> tuple[Job, Sequence[Reason]]:
        """Say what a job waits for, most telling first; nothing for one that has ended."""
        job = await self._store.job(job_id)
        return job, self._reasons(job, self._clock.now_ms())

    def _reasons(self, job: Job, now_ms: int) -> Sequence[Reason]:
        if job.status in FINAL:
            return []
        if job.status is JobStatus.AWAITING_APPROVAL:
            return [Reason("approval", "someone has to approve it")]
        if job.status is JobStatus.RUNNING:
            return [Reason("answer", f"attempt {job.executions} is under way to {job.host}")]
        if job.is_held:
            return [Reason("overlap", f"an earlier run of its schedule {job.schedule_id} has not ended")]
        due_ms = job.next_attempt_ms or now_ms
        if due_ms > now_ms:
            until = format_time(due_ms)
            wait = format_duration(due_ms - now_ms)
            if job.executions:
                last = f"attempt {job.executions} ended with {job.last_error}"
                return [Reason("retry", f"{last}; the next one is in {wait}", until)]
            return [Reason("not_due", f"it is due in {wait}", until)]
        reasons = []
        if (queue := self._traffic.closed_queue(job.lane)) is not None:
            reasons.append(_queue_reason(queue))
        elif is_quarantined(job.lane):
            message = "fliqd died while it was under way; such jobs leave one after the other"
            reasons.append(Reason("quarantine", message))
        elif self._traffic.lane_room(job.lane) <= 0:
            message = (
                f"as many requests to {job.host} are under way as its share allows: dispatch.max_in_flight_per_host,"
                " less while it does not answer or many others wait"
            )
            reasons.append(Reason("host_limit", message))
        if self._traffic.room() <= 0:
            message = f"{self._traffic.in_flight} requests are under way, as many as dispatch.max_in_flight allows"
            reasons.append(Reason("limit", message))
        return reasons or [Reason("next", "it is due and about to leave")]

    def new(
        self,
        asked: Asked,
        now_ms: int,
        *,
        dialect: str = NATIVE,
        token_id: str | None = None,
        raw: bytes | None = None,
    ) -> Job:
        """Return the job that is asked for; raise InvalidError with everything that is wrong."""
        defaults = self._defaults()
        plain = None if asked.problems else plain_fields(asked.draft, now_ms)
        fields = self._judged(asked, defaults, now_ms) if plain is None else plain
        fields.setdefault("timeout_ms", defaults.timeout_ms)
        fields.setdefault("max_retries", defaults.max_retries)
        fields.setdefault("backoff", defaults.backoff)
        return Job(
            id=f"job_{self._new_ulid()}",
            lane=lane_of(fields.get("queue", DEFAULT_QUEUE), fields["host"]),
            dialect=dialect,
            token_id=token_id,
            created_ms=now_ms,
            updated_ms=now_ms,
            asked=raw,
            **fields,
        )

    def _judged(self, asked: Asked, defaults: Defaults, now_ms: int) -> dict[str, Any]:
        problems = list(asked.problems)
        fields = job_fields(asked.draft, defaults, now_ms, problems)
        required(asked.draft, problems)
        if not problems:
            problems += together(
                url=fields["url"],
                query=fields.get("query", {}),
                scheduled_ms=fields["scheduled_ms"],
                expires_ms=fields.get("expires_ms"),
            )
        if problems:
            raise InvalidError(in_order(problems))
        if fields.get("requires_approval"):
            fields |= {"status": JobStatus.AWAITING_APPROVAL, "next_attempt_ms": None}
        return fields


def _queue_reason(queue: QueueGate) -> Reason:
    if queue.paused:
        return Reason("queue_paused", f"its queue {queue.name} is paused")
    if queue.running >= queue.limit:
        return Reason("queue_limit", f"as many jobs of its queue {queue.name} are under way as its concurrency allows")
    return Reason("queue_rate", f"its queue {queue.name} lets {queue.rate:g} requests a second through")
