"""The calls of `/dispatchq`: a request to an operation, what came of it to an answer."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from aiohttp import web

from fliqd.api.auth import CALLER
from fliqd.api.errors import NotJsonError, json_response
from fliqd.api.requests import json_body, path_id, take_key
from fliqd.core.decoding import decode
from fliqd.core.model import Execution, ExecutionStatus, Job, JobStatus
from fliqd.core.stand_ins import DISPATCHQ
from fliqd.dialects.dispatchq.documents import (
    RETRYABLE,
    STATUS,
    CreateJobRequest,
    ScheduleRequest,
    change_of,
    job_draft,
    job_view,
    schedule_draft,
    schedule_id,
    schedule_view,
)
from fliqd.dialects.dispatchq.operations import document
from fliqd.dialects.places import Place, part_of, place_of
from fliqd.errors import InvalidError, NotFoundError, Problem
from fliqd.ids import id_pattern
from fliqd.service.jobs import Asked, Jobs
from fliqd.service.schedules import AskedSchedule, ScheduleService
from fliqd.store.base import JobFilter, JobOrder

LISTED: Final = 20
_QUEUE: Final = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_SCHEDULE: Final = id_pattern("sch")


class Operations(NamedTuple):
    """What the calls are made of; `now_ms` is for how long it is until a retry."""

    jobs: Jobs
    schedules: ScheduleService
    now_ms: Callable[[], int]


def add_routes(router: web.UrlDispatcher, prefix: str, ops: Operations) -> None:
    """Add the routes under `prefix`."""
    jobs, schedules = f"{prefix}/v1/jobs", f"{prefix}/v1/schedules"
    router.add_post(jobs, partial(create, ops))
    router.add_get(jobs, partial(list_jobs, ops))
    router.add_get(f"{jobs}/{{id}}", partial(get, ops))
    router.add_post(f"{jobs}/{{id}}/approve", partial(approve, ops))
    router.add_post(f"{jobs}/{{id}}/cancel", partial(cancel, ops))
    router.add_post(f"{jobs}/{{id}}/retry", partial(retry, ops))
    router.add_post(schedules, partial(create_schedule, ops))
    router.add_get(schedules, partial(list_schedules, ops))
    router.add_get(f"{schedules}/{{id}}", partial(get_schedule, ops))
    router.add_put(f"{schedules}/{{id}}", partial(update_schedule, ops))
    router.add_delete(f"{schedules}/{{id}}", partial(delete_schedule, ops))
    router.add_get(f"{prefix}/openapi.json", show)


async def show(_request: web.Request) -> web.Response:
    return json_response(document())


async def create(ops: Operations, request: web.Request) -> web.Response:
    asked, problems = decode(await _body(request), CreateJobRequest)
    draft = job_draft(asked, problems)
    take_key(draft, request)
    created = await ops.jobs.create(Asked(draft, problems), dialect=DISPATCHQ, token_id=request[CALLER].token_id)
    same = created.replayed or created.deduplicated
    return await _one(ops, request, created.job, status=200 if same else 201, deduplicated=same)


async def list_jobs(ops: Operations, request: web.Request) -> web.Response:
    place = place_of(request.query, limit=LISTED)
    where = _filter(request.query)
    found = await ops.jobs.page(where, JobOrder(), offset=place.offset, limit=place.limit)
    views = [await _view(ops, request, job) for job in found]
    return json_response({"data": views, "total": await ops.jobs.count(where), **_shown(place)})


def _filter(query: Mapping[str, str]) -> JobFilter:
    status, queue = query.get("status"), query.get("queue")
    problems = []
    if status is not None and status not in STATUS:
        problems.append(Problem("status", f"expected one of {', '.join(STATUS)}", "invalid_query"))
    if queue is not None and not _QUEUE.fullmatch(queue):
        problems.append(Problem("queue", "expected characters among a-z A-Z 0-9 _ -", "invalid_query"))
    if problems:
        raise InvalidError(problems)
    return JobFilter(status=None if status is None else STATUS[status], queue=queue)


async def get(ops: Operations, request: web.Request) -> web.Response:
    return await _one(ops, request, await ops.jobs.get(path_id(request, "job")))


async def approve(ops: Operations, request: web.Request) -> web.Response:
    _check_type(request)
    return await _one(ops, request, await ops.jobs.approve(path_id(request, "job"), by=request[CALLER].name))


async def cancel(ops: Operations, request: web.Request) -> web.Response:
    _check_type(request)
    return await _one(ops, request, await ops.jobs.cancel(path_id(request, "job")))


async def retry(ops: Operations, request: web.Request) -> web.Response:
    _check_type(request)
    again = await ops.jobs.replay(path_id(request, "job"), token_id=request[CALLER].token_id, of=RETRYABLE)
    return await _one(ops, request, again, status=201)


async def create_schedule(ops: Operations, request: web.Request) -> web.Response:
    asked, problems = decode(await _body(request), ScheduleRequest)
    draft = AskedSchedule(schedule_draft(asked, problems), problems)
    created = await ops.schedules.create(draft, dialect=DISPATCHQ, token_id=request[CALLER].token_id)
    return json_response(schedule_view(created, secrets=request[CALLER].sees_secrets), status=201)


async def list_schedules(ops: Operations, request: web.Request) -> web.Response:
    place = place_of(request.query, limit=LISTED)
    found, total = await part_of(ops.schedules, place, counted=True)
    secrets = request[CALLER].sees_secrets
    views = [schedule_view(schedule, secrets=secrets) for schedule in found]
    return json_response({"data": views, "total": total, **_shown(place)})


async def get_schedule(ops: Operations, request: web.Request) -> web.Response:
    found = await ops.schedules.get(_schedule_id(request))
    return json_response(schedule_view(found, secrets=request[CALLER].sees_secrets))


async def update_schedule(ops: Operations, request: web.Request) -> web.Response:
    found = await ops.schedules.get(_schedule_id(request))
    asked, problems = decode(await _body(request), ScheduleRequest)
    changed = await ops.schedules.update(found.id, AskedSchedule(change_of(found, asked, problems), problems))
    return json_response(schedule_view(changed, secrets=request[CALLER].sees_secrets))


async def delete_schedule(ops: Operations, request: web.Request) -> web.Response:
    await ops.schedules.delete(_schedule_id(request))
    return web.Response(status=204)


async def _body(request: web.Request) -> bytes:
    """Return the body of a request that has to have one; raise InvalidError."""
    body = await json_body(request) if request.body_exists else b""
    if not body.strip():
        raise InvalidError([Problem("body", "is missing: send a JSON object")], "missing_body")
    return body


def _check_type(request: web.Request) -> None:
    """Raise NotJsonError for a body that does not say it is JSON, where none is needed."""
    if request.body_exists and request.content_type != "application/json":
        raise NotJsonError("send the header Content-Type: application/json, or no body")


def _schedule_id(request: web.Request) -> str:
    public = request.match_info["id"]
    if not _SCHEDULE.fullmatch(public):
        raise NotFoundError("schedule", repr(public[:40]))
    return schedule_id(public)


def _shown(place: Place) -> dict[str, int]:
    return {"limit": place.limit, "offset": place.offset}


async def _one(
    ops: Operations, request: web.Request, job: Job, *, status: int = 200, deduplicated: bool = False
) -> web.Response:
    return json_response(await _view(ops, request, job, deduplicated=deduplicated), status=status)


async def _view(ops: Operations, request: web.Request, job: Job, *, deduplicated: bool = False) -> dict[str, Any]:
    last = await _last_ended(ops.jobs, job)
    secrets = request[CALLER].sees_secrets
    return job_view(job, last, now_ms=ops.now_ms(), secrets=secrets, deduplicated=deduplicated)


async def _last_ended(jobs: Jobs, job: Job) -> Execution | None:
    """Return the last attempt at a job that has ended: the one before the one that is under way."""
    if job.executions == 0:
        return None
    under_way = job.executions if job.status is JobStatus.RUNNING else None
    newest = await jobs.attempts(job, offset=0, limit=2)
    ended = (one for one in newest if one.status is not ExecutionStatus.RUNNING)
    return next((one for one in ended if one.attempt_num != under_way), None)
