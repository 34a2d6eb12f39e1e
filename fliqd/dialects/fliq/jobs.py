"""`/jobs`: one request each, made once."""

from aiohttp import web

from fliqd.api.requests import path_id
from fliqd.core.model import JobStatus
from fliqd.core.stand_ins import FLIQ
from fliqd.dialects.fliq import asking
from fliqd.dialects.fliq.answers import answer, done
from fliqd.dialects.fliq.documents import NewJob, in_their_words, job_draft
from fliqd.dialects.fliq.views import attempt_view, execution_view, job_view
from fliqd.dialects.fliq.voice import PENDING, STATUSES, Voice
from fliqd.service.jobs import Asked, Jobs
from fliqd.store.base import JobFilter


class JobCalls:
    """The calls about jobs, in one voice."""

    def __init__(self, jobs: Jobs, voice: Voice, user_id: str) -> None:
        self._jobs = jobs
        self._voice = voice
        self._user_id = user_id

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the routes under `prefix`."""
        one = f"{prefix}/jobs/{{id}}"
        router.add_post(f"{prefix}/jobs", self.create)
        router.add_get(f"{prefix}/jobs", self.list)
        router.add_get(one, self.get)
        router.add_delete(one, self.cancel)
        router.add_post(f"{one}/replay", self.replay)
        router.add_get(f"{one}/executions", self.executions)
        router.add_get(f"{one}/attempts", self.attempts)

    async def create(self, request: web.Request) -> web.Response:
        asked, problems, names = await asking.read(request, NewJob)
        making = self._jobs.create(
            Asked(job_draft(asked, problems), problems), dialect=FLIQ, token_id=asking.token_of(request)
        )
        created = await in_their_words(names, making)
        view = job_view(created.job, self._voice, self._user_id, secrets=True)
        if created.replayed:
            return answer(view, headers={"Idempotent-Replayed": "true"})
        return answer(view, status=201)

    async def list(self, request: web.Request) -> web.Response:
        return await self.show(request, None)

    async def show(self, request: web.Request, schedule_id: str | None) -> web.Response:
        """Answer a list of jobs, of one schedule where it says so, those due last first."""
        limit, place = asking.limit(request), asking.place(request)
        status = asking.status(request, STATUSES)
        waiting = status is JobStatus.SCHEDULED  # for its time or for somebody: `pending`, either
        where = JobFilter(
            status=None if waiting else status,
            waiting=waiting or None,
            schedule_id=schedule_id,
            beyond_ms=None if place is None else place.scheduled_ms,
            beyond_pk=None if place is None else place.pk,
        )
        found, beyond = await self._jobs.by_time(where, limit=limit)
        secrets = asking.sees_secrets(request)
        views = [job_view(job, self._voice, self._user_id, secrets=secrets) for job in found]
        return answer({"jobs": views, "next_cursor": asking.write_place(beyond)})

    async def get(self, request: web.Request) -> web.Response:
        job = await self._jobs.get(path_id(request, "job"))
        return answer(job_view(job, self._voice, self._user_id, secrets=asking.sees_secrets(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        await self._jobs.cancel(path_id(request, "job"))
        return done()

    async def replay(self, request: web.Request) -> web.Response:
        job = await self._jobs.replay(path_id(request, "job"), token_id=asking.token_of(request))
        # The pages too say `pending` here, and `scheduled` everywhere else.
        return answer(job_view(job, self._voice, self._user_id, secrets=True) | {"status": PENDING}, status=201)

    async def executions(self, request: web.Request) -> web.Response:
        found = await self._jobs.executions(path_id(request, "job"))
        return answer({"executions": [execution_view(execution) for execution in found]})

    async def attempts(self, request: web.Request) -> web.Response:
        job_id = path_id(request, "job")
        return answer([attempt_view(job_id, execution) for execution in await self._jobs.executions(job_id)])
