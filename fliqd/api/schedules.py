"""`/schedules`: create, read, change, pause, run, and what they missed."""

from functools import partial
from typing import Final

from aiohttp import web

from fliqd.api.auth import CALLER
from fliqd.api.documents import job_view, missed_view, schedule_view, write_cursor
from fliqd.api.errors import json_response
from fliqd.api.jobs import FILTERS, show_jobs
from fliqd.api.requests import json_body, params, path_id
from fliqd.core.decoding import decode
from fliqd.core.model import Source
from fliqd.core.schedule import ScheduleStatus
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.core.times import format_time
from fliqd.errors import InvalidError, Problem
from fliqd.service.jobs import Jobs
from fliqd.service.schedules import AskedSchedule, ScheduleService
from fliqd.store.base import ScheduleFilter

CURSOR: Final = "s"
MISSED_CURSOR: Final = "m"
NEXT_RUNS: Final = 5
MOST_RUNS: Final = 1000


def add_routes(router: web.UrlDispatcher, prefix: str, schedules: ScheduleService, jobs: Jobs) -> None:
    """Add the routes under `prefix`."""
    one = f"{prefix}/schedules/{{id}}"
    router.add_post(f"{prefix}/schedules", partial(create, schedules))
    router.add_get(f"{prefix}/schedules", partial(list_schedules, schedules))
    router.add_get(one, partial(get, schedules))
    router.add_patch(one, partial(update, schedules))
    router.add_delete(one, partial(delete, schedules))
    router.add_post(f"{one}/pause", partial(pause, schedules))
    router.add_post(f"{one}/resume", partial(resume, schedules))
    router.add_post(f"{one}/run", partial(run, schedules))
    router.add_get(f"{one}/jobs", partial(list_jobs, schedules, jobs))
    router.add_get(f"{one}/next", partial(next_runs, schedules))
    router.add_get(f"{one}/missed", partial(missed, schedules))


async def create(schedules: ScheduleService, request: web.Request) -> web.Response:
    params(request)
    asked = _asked(await json_body(request))
    created = await schedules.create(asked, token_id=request[CALLER].token_id)
    return json_response(schedule_view(created), status=201)


async def list_schedules(schedules: ScheduleService, request: web.Request) -> web.Response:
    asked = params(request, "status", "name", "source", "limit", "cursor")
    problems = []
    chosen: dict[str, str | None] = {}
    for name, kind in (("status", ScheduleStatus), ("source", Source)):
        chosen[name] = asked.text(name)
        words = [str(choice) for choice in kind]
        if chosen[name] not in (None, *words):
            problems.append(Problem(name, f"expected one of {', '.join(words)}"))
    if problems:
        raise InvalidError(problems)
    where = ScheduleFilter(
        status=ScheduleStatus(chosen["status"]) if chosen["status"] else None,
        source=Source(chosen["source"]) if chosen["source"] else None,
        name=asked.text("name"),
    )
    found, next_pk = await schedules.page(where, before_pk=asked.cursor(CURSOR), limit=asked.limit())
    secrets = request[CALLER].sees_secrets
    views = [schedule_view(schedule, secrets=secrets) for schedule in found]
    return json_response({"schedules": views, "next_cursor": write_cursor(next_pk, CURSOR)})


async def get(schedules: ScheduleService, request: web.Request) -> web.Response:
    params(request)
    schedule = await schedules.get(path_id(request, "schedule"))
    return json_response(schedule_view(schedule, secrets=request[CALLER].sees_secrets))


async def update(schedules: ScheduleService, request: web.Request) -> web.Response:
    params(request)
    schedule_id = path_id(request, "schedule")
    return json_response(schedule_view(await schedules.update(schedule_id, _asked(await json_body(request)))))


async def delete(schedules: ScheduleService, request: web.Request) -> web.Response:
    params(request)
    await schedules.delete(path_id(request, "schedule"))
    return web.Response(status=204)


async def pause(schedules: ScheduleService, request: web.Request) -> web.Response:
    params(request)
    return json_response(schedule_view(await schedules.pause(path_id(request, "schedule"))))


async def resume(schedules: ScheduleService, request: web.Request) -> web.Response:
    params(request)
    return json_response(schedule_view(await schedules.resume(path_id(request, "schedule"))))


async def run(schedules: ScheduleService, request: web.Request) -> web.Response:
    params(request)
    return json_response(job_view(await schedules.run(path_id(request, "schedule"))), status=201)


async def list_jobs(schedules: ScheduleService, jobs: Jobs, request: web.Request) -> web.Response:
    schedule_id = path_id(request, "schedule")
    asked = params(request, *FILTERS)
    await schedules.known(schedule_id)
    return await show_jobs(jobs, request, asked, schedule_id)


async def next_runs(schedules: ScheduleService, request: web.Request) -> web.Response:
    asked = params(request, "count")
    runs = await schedules.next_runs(path_id(request, "schedule"), asked.count(NEXT_RUNS, MOST_RUNS))
    return json_response({"runs": [format_time(run) for run in runs]})


async def missed(schedules: ScheduleService, request: web.Request) -> web.Response:
    asked = params(request, "limit", "cursor")
    found, next_pk = await schedules.missed(
        path_id(request, "schedule"), before_pk=asked.cursor(MISSED_CURSOR), limit=asked.limit()
    )
    views = [missed_view(range_) for range_ in found]
    return json_response({"missed": views, "next_cursor": write_cursor(next_pk, MISSED_CURSOR)})


def _asked(body: bytes) -> AskedSchedule:
    draft, problems = decode(body, ScheduleDraft)
    return AskedSchedule(draft, problems)
