"""`/schedules`: a job for each due time of a cron expression."""

from aiohttp import web

from fliqd.api.documents import write_cursor
from fliqd.api.requests import path_id
from fliqd.api.schedules import CURSOR
from fliqd.core.stand_ins import FLIQ
from fliqd.dialects.fliq import asking
from fliqd.dialects.fliq.answers import answer, done
from fliqd.dialects.fliq.documents import NewSchedule, in_their_words, schedule_draft
from fliqd.dialects.fliq.jobs import JobCalls
from fliqd.dialects.fliq.views import schedule_view
from fliqd.errors import ConflictError
from fliqd.service.schedules import AskedSchedule, ScheduleService
from fliqd.store.base import ScheduleFilter


class ScheduleCalls:
    """The calls about schedules."""

    def __init__(self, schedules: ScheduleService, jobs: JobCalls, user_id: str) -> None:
        self._schedules = schedules
        self._jobs = jobs
        self._user_id = user_id

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the routes under `prefix`."""
        one = f"{prefix}/schedules/{{id}}"
        router.add_post(f"{prefix}/schedules", self.create)
        router.add_get(f"{prefix}/schedules", self.list)
        router.add_get(one, self.get)
        router.add_delete(one, self.delete)
        router.add_post(f"{one}/pause", self.pause)
        router.add_post(f"{one}/resume", self.resume)
        router.add_get(f"{one}/jobs", self.list_jobs)

    async def create(self, request: web.Request) -> web.Response:
        asked, problems, names = await asking.read(request, NewSchedule)
        making = self._schedules.create(
            AskedSchedule(schedule_draft(asked, problems), problems), dialect=FLIQ, token_id=asking.token_of(request)
        )
        created = await in_their_words(names, making)
        return answer(schedule_view(created, self._user_id, secrets=True), status=201)

    async def list(self, request: web.Request) -> web.Response:
        part = asking.part(request, CURSOR)
        found, next_pk = await self._schedules.page(ScheduleFilter(), before_pk=part.before_pk, limit=part.limit)
        secrets = asking.sees_secrets(request)
        views = [schedule_view(schedule, self._user_id, secrets=secrets) for schedule in found]
        return answer({"schedules": views, "next_cursor": write_cursor(next_pk, CURSOR)})

    async def get(self, request: web.Request) -> web.Response:
        schedule = await self._schedules.get(path_id(request, "schedule"))
        return answer(schedule_view(schedule, self._user_id, secrets=asking.sees_secrets(request)))

    async def delete(self, request: web.Request) -> web.Response:
        await self._schedules.delete(path_id(request, "schedule"))
        return done()

    async def pause(self, request: web.Request) -> web.Response:
        schedule = await self._schedules.get(path_id(request, "schedule"))
        if schedule.paused_ms is not None:
            raise ConflictError("Schedule is already paused", "already_paused")
        await self._schedules.pause(schedule.id)
        return done()

    async def resume(self, request: web.Request) -> web.Response:
        schedule = await self._schedules.get(path_id(request, "schedule"))
        if schedule.paused_ms is None:
            raise ConflictError("Schedule is not paused", "not_paused")
        await self._schedules.resume(schedule.id)
        return done()

    async def list_jobs(self, request: web.Request) -> web.Response:
        schedule_id = path_id(request, "schedule")
        await self._schedules.known(schedule_id)
        return await self._jobs.show(request, schedule_id)
