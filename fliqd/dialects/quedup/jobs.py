"""QuedUp's jobs over ours: one that runs once is a job, one that recurs is a schedule."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

from fliqd.core.drafts import JobDraft
from fliqd.core.model import FINAL, Execution, Job, JobStatus
from fliqd.core.schedule import Schedule
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.core.stand_ins import QUEDUP
from fliqd.dialects.places import Place, part_of
from fliqd.dialects.quedup.documents import (
    CreateJobRequest,
    UpdateJobRequest,
    change_of,
    once,
    recurring,
    status_of,
)
from fliqd.errors import ConflictError, InvalidError, NotFoundError, Problem
from fliqd.ids import id_pattern
from fliqd.service.jobs import Asked, Jobs
from fliqd.service.schedules import AskedSchedule, ScheduleService
from fliqd.store.base import JobFilter, JobOrder, ScheduleFilter

ONE_TIME: Final = JobFilter(of_schedule=False, kept_in=QUEDUP)
LIVE: Final = (JobStatus.SCHEDULED, JobStatus.RUNNING)
_JOB: Final = id_pattern("job")
_STEP: Final = 100


class QuedUpJobs:
    """Finds, makes and changes what QuedUp calls a job, whichever of the two it is."""

    def __init__(self, jobs: Jobs, schedules: ScheduleService) -> None:
        self._jobs = jobs
        self._schedules = schedules
        # Names that are being taken. The store sees to each kind by itself, and knows nothing of the other one.
        self._names: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def find(self, job_id: str) -> Job | Schedule:
        """Return what has an id; raise NotFoundError, also for what was deleted."""
        if not _JOB.fullmatch(job_id):
            raise NotFoundError("job", repr(job_id[:40]))
        try:
            job = await self._jobs.get(job_id)
        except NotFoundError:
            return await self._recurring(job_id)
        if job.key_is_free and job.dialect == QUEDUP:
            raise NotFoundError("job", job_id)
        return job

    async def _recurring(self, job_id: str) -> Schedule:
        try:
            return await self._schedules.get(f"sched_{job_id.partition('_')[2]}")
        except NotFoundError:
            raise NotFoundError("job", job_id) from None

    async def part(self, place: Place) -> Sequence[Job | Schedule]:
        """Return a part of them all: those that recur, newest first, then those that run once."""
        found, total = await part_of(self._schedules, place, counted=False)
        rest = place.limit - len(found)
        offset = max(0, place.offset - total)
        return [*found, *(await self._jobs.page(ONE_TIME, JobOrder(), offset=offset, limit=rest) if rest else ())]

    async def create(self, asked: CreateJobRequest, problems: list[Problem], *, token_id: str | None) -> Job | Schedule:
        """Make a job; raise InvalidError, ConflictError for a name that is taken."""
        if isinstance(asked.schedule, str):
            schedule = AskedSchedule(recurring(asked, problems), problems)
            async with self._taking(asked.name, Schedule):
                return await self._schedules.create(schedule, dialect=QUEDUP, token_id=token_id)
        job = Asked(once(asked, problems), problems)
        async with self._taking(asked.name, Job):
            created = await self._jobs.create(job, dialect=QUEDUP, token_id=token_id)
        if created.replayed:  # the name is its idempotency key
            raise _taken(created.job.name)
        return created.job

    @asynccontextmanager
    async def _taking(self, name: object, kind: type[Job | Schedule]) -> AsyncIterator[None]:
        """Keep a name from being taken by others meanwhile; raise ConflictError where one of the other kind has it."""
        if not isinstance(name, str):
            yield
            return
        async with self._names.setdefault(name, asyncio.Lock()):
            if kind is Job:
                named: Sequence[Any] = (await self._schedules.page(ScheduleFilter(name=name), before_pk=None, limit=1))[
                    0
                ]
            else:
                where = JobFilter(dialect=QUEDUP, idempotency_key=name)
                named = await self._jobs.page(where, JobOrder(), offset=0, limit=1)
            if named:
                raise _taken(name)
            yield

    async def change(
        self, found: Job | Schedule, asked: UpdateJobRequest, problems: list[Problem], *, by: str
    ) -> Job | Schedule:
        """Replace the given fields of a job; its status too, which pauses or resumes it."""
        given = change_of(found, asked, problems)
        wanted = asked.status if isinstance(asked.status, str) else status_of(found)
        if wanted not in ("active", "paused", status_of(found)):
            problems.append(Problem("status", "expected active or paused"))
        if problems:
            raise InvalidError(problems)
        if isinstance(found, Schedule):
            changed: Job | Schedule = await self._change_recurring(found, asked, given)
        else:
            changed = await self._change_once(found, asked, given)
        if wanted == status_of(changed):
            return changed
        return await (self.pause(changed) if wanted == "paused" else self.resume(changed, by=by))

    async def _change_once(self, job: Job, asked: UpdateJobRequest, given: dict[str, Any]) -> Job:
        if isinstance(asked.schedule, str):
            raise ConflictError("this job runs once: to have it recur, delete it and create it again")
        if not given:
            return job
        named = job.dialect == QUEDUP and job.idempotency_key is not None
        async with self._taking(given.get("name"), Job):
            return await self._jobs.update(job.id, Asked(JobDraft(**given)), key=given.get("name") if named else None)

    async def _change_recurring(self, schedule: Schedule, asked: UpdateJobRequest, given: dict[str, Any]) -> Schedule:
        if asked.schedule is None:
            raise ConflictError("this job recurs: to have it run once, delete it and create it again")
        if not given:
            return schedule
        async with self._taking(given.get("name"), Schedule):
            return await self._schedules.update(schedule.id, AskedSchedule(ScheduleDraft(**given)))

    async def pause(self, found: Job | Schedule) -> Job | Schedule:
        """Keep a job from being run; nothing, where it is paused."""
        if isinstance(found, Schedule):
            return await self._schedules.pause(found.id)
        return found if found.status is JobStatus.AWAITING_APPROVAL else await self._jobs.hold(found.id)

    async def resume(self, found: Job | Schedule, *, by: str) -> Job | Schedule:
        """Let a paused job go; nothing, where it is active."""
        if isinstance(found, Schedule):
            return await self._schedules.resume(found.id)
        return found if found.status in LIVE else await self._jobs.approve(found.id, by=by)

    async def run(self, found: Job | Schedule) -> Job | Schedule:
        """Run a job now, beside its due times where it recurs."""
        if isinstance(found, Job):
            return await self._jobs.run(found.id)
        await self._schedules.run(found.id)
        return await self._schedules.get(found.id)

    async def delete(self, found: Job | Schedule) -> None:
        """Delete a job, and let its name go."""
        if isinstance(found, Schedule):
            await self._schedules.delete(found.id)
        elif found.dialect == QUEDUP and found.schedule_id is None:
            await self._jobs.forget(found.id)
        else:
            await self._jobs.cancel(found.id)  # those of other APIs stay, to be read there

    async def runs(self, found: Job | Schedule, place: Place) -> Sequence[tuple[Job, Execution]]:
        """Return attempts at a job, newest first; at one that recurs, those of all its jobs."""
        if isinstance(found, Job):
            return await self._attempts(found, place)
        runs: list[tuple[Job, Execution]] = []
        offset, before_pk = place.offset, None
        while True:
            where = JobFilter(schedule_id=found.id)
            page, before_pk = await self._jobs.list(where, before_pk=before_pk, limit=_STEP)
            for job in page:
                if offset < job.executions and len(runs) < place.limit:
                    runs += await self._attempts(job, Place(offset, place.limit - len(runs)))
                offset = max(0, offset - job.executions)
            if before_pk is None or len(runs) >= place.limit:
                return runs

    async def find_run(self, run_id: str) -> tuple[Job, Execution]:
        """Return the attempt that a run is; raise NotFoundError."""
        _, _, rest = run_id.partition("_")
        ulid = rest.partition("_")[0]
        missing = NotFoundError("run", repr(run_id[:40]))
        if not _JOB.fullmatch(f"job_{ulid}"):
            raise missing
        try:
            job = await self._jobs.get(f"job_{ulid}")
        except NotFoundError:
            raise missing from None
        for found, run in await self._attempts(job, Place(0, job.executions)):
            if run_id == f"run_{ulid}_{run.attempt_num}":
                return found, run
        raise missing

    async def _attempts(self, job: Job, place: Place) -> Sequence[tuple[Job, Execution]]:
        """Return attempts at a job with the job as it stands after them, which knows of the retry that follows."""
        runs = await self._jobs.attempts(job, offset=place.offset, limit=place.limit)
        after = job if job.status in FINAL else await self._jobs.get(job.id)
        return [(after, run) for run in runs]


def _taken(name: str | None) -> ConflictError:
    return ConflictError(f'there is a job called "{name}" already: names are unique', "name_taken")
