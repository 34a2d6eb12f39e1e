"""The calls of `/quedup`: a request to an operation, what came of it to an answer."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from fliqd.api.auth import CALLER
from fliqd.api.errors import json_response
from fliqd.api.requests import json_body
from fliqd.core.decoding import decode
from fliqd.core.model import Job
from fliqd.core.schedule import Schedule
from fliqd.dialects.places import Place, place_of
from fliqd.dialects.quedup.documents import CreateJobRequest, UpdateJobRequest, job_view, run_view
from fliqd.dialects.quedup.jobs import QuedUpJobs
from fliqd.dialects.quedup.operations import document

LISTED: Final = 100


def add_routes(router: web.UrlDispatcher, prefix: str, jobs: QuedUpJobs) -> None:
    """Add the routes under `prefix`."""
    one = f"{prefix}/jobs/{{id}}"
    router.add_post(f"{prefix}/jobs", partial(create, jobs))
    router.add_get(f"{prefix}/jobs", partial(list_jobs, jobs))
    router.add_get(one, partial(get, jobs))
    router.add_put(one, partial(update, jobs))
    router.add_patch(one, partial(update, jobs))
    router.add_delete(one, partial(delete, jobs))
    router.add_post(f"{one}/pause", partial(pause, jobs))
    router.add_post(f"{one}/resume", partial(resume, jobs))
    router.add_post(f"{one}/run", partial(run, jobs))
    router.add_get(f"{one}/runs", partial(list_runs, jobs))
    router.add_get(f"{prefix}/runs/{{id}}", partial(get_run, jobs))
    router.add_get(f"{prefix}/openapi.json", show)


async def show(_request: web.Request) -> web.Response:
    return json_response(document())


async def create(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    asked, problems = decode(await json_body(request), CreateJobRequest)
    return _one(request, await jobs.create(asked, problems, token_id=request[CALLER].token_id))


async def list_jobs(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    place = place_of(request.query, limit=LISTED)
    found = await jobs.part(place)  # fewer than asked for where their bodies are large
    after = place.offset + len(found)
    more = await jobs.part(Place(after, 1)) if found else ()
    secrets = request[CALLER].sees_secrets
    return _part(place, [job_view(one, secrets=secrets) for one in found], after if more else None)


async def get(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    return _one(request, await _found(jobs, request))


async def update(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    found = await _found(jobs, request)
    asked, problems = decode(await json_body(request), UpdateJobRequest)
    return _one(request, await jobs.change(found, asked, problems, by=request[CALLER].name))


async def delete(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    found = await _found(jobs, request)
    await jobs.delete(found)
    return _one(request, found)


async def pause(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    return _one(request, await jobs.pause(await _found(jobs, request)))


async def resume(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    return _one(request, await jobs.resume(await _found(jobs, request), by=request[CALLER].name))


async def run(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    return _one(request, await jobs.run(await _found(jobs, request)))


async def list_runs(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    place = place_of(request.query, limit=LISTED)
    found = await jobs.runs(await _found(jobs, request), Place(place.offset, place.limit + 1))
    secrets = request[CALLER].sees_secrets
    after = place.offset + place.limit if len(found) > place.limit else None
    return _part(place, [run_view(job, run, secrets=secrets) for job, run in found[: place.limit]], after)


async def get_run(jobs: QuedUpJobs, request: web.Request) -> web.Response:
    job, execution = await jobs.find_run(request.match_info["id"])
    return json_response(run_view(job, execution, secrets=request[CALLER].sees_secrets))


async def _found(jobs: QuedUpJobs, request: web.Request) -> Job | Schedule:
    return await jobs.find(request.match_info["id"])


def _one(request: web.Request, one: Job | Schedule) -> web.Response:
    return json_response(job_view(one, secrets=request[CALLER].sees_secrets))


def _part(place: Place, views: Sequence[dict[str, Any]], after: int | None) -> web.Response:
    """Answer a bare array; that there is more stands in a header (RFC 8288), as there is no room for it elsewhere."""
    headers = {} if after is None else {"Link": f'<?limit={place.limit}&offset={after}>; rel="next"'}
    return json_response(views, headers=headers)
