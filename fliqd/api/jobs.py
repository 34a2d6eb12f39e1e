"""`/jobs`: create, read, change, cancel, do again."""

from functools import partial
from typing import Any, Final

from aiohttp import web

from fliqd.api.answers import Answer, to_edge
from fliqd.api.auth import CALLER
from fliqd.api.documents import Params, execution_view, job_view, write_cursor
from fliqd.api.errors import error_document, json_response, status_of
from fliqd.api.requests import json_body, params, path_id, refuse_key, take_key
from fliqd.core.decoding import decode, decode_list
from fliqd.core.drafts import JobDraft
from fliqd.core.model import JobStatus
from fliqd.core.times import parse_time
from fliqd.errors import FliqdError, InvalidError, Problem
from fliqd.service.jobs import Asked, Jobs
from fliqd.store.base import JobFilter

MAX_BATCH: Final = 1000
STATUS_WORDS: Final = {str(status): status for status in JobStatus} | {
    "pending": JobStatus.SCHEDULED,
    "completed": JobStatus.SUCCESS,
}
TIMES: Final = {
    "created_after": "created_from_ms",
    "created_before": "created_to_ms",
    "scheduled_after": "scheduled_from_ms",
    "scheduled_before": "scheduled_to_ms",
}
FILTERS: Final = ("status", "queue", "tag", "name", *TIMES, "limit", "cursor")


def add_routes(router: web.UrlDispatcher, prefix: str, jobs: Jobs) -> None:
    """Add the routes under `prefix`."""
    one = f"{prefix}/jobs/{{id}}"
    router.add_post(f"{prefix}/jobs", to_edge(partial(create, jobs)))
    router.add_get(f"{prefix}/jobs", partial(list_jobs, jobs))
    router.add_post(f"{prefix}/jobs/batch", to_edge(partial(create_batch, jobs)))
    router.add_get(one, partial(get, jobs))
    router.add_patch(one, partial(update, jobs))
    router.add_delete(one, partial(cancel, jobs))
    router.add_post(f"{one}/replay", partial(replay, jobs))
    router.add_post(f"{one}/approve", partial(approve, jobs))
    router.add_post(f"{one}/run", partial(run, jobs))
    router.add_get(f"{one}/executions", partial(executions, jobs))
    router.add_get(f"{one}/why", partial(why, jobs))


async def create(jobs: Jobs, request: web.Request) -> Answer:
    params(request)
    asked = _asked(await json_body(request))
    take_key(asked.draft, request)
    created = await jobs.create(asked, token_id=request[CALLER].token_id)
    if created.replayed:
        return Answer(job_view(created.job), headers={"Idempotent-Replayed": "true"})
    if created.deduplicated:
        return Answer(job_view(created.job, deduplicated=True))
    return Answer(job_view(created.job), status=201)


async def create_batch(jobs: Jobs, request: web.Request) -> Answer:
    params(request)
    refuse_key(request, "job")
    items = decode_list(await json_body(request), "jobs", MAX_BATCH)
    asks: list[Asked | FliqdError] = []
    for item in items:
        try:
            asks.append(_asked(item))
        except InvalidError as err:
            asks.append(err)
    right = [asked for asked in asks if isinstance(asked, Asked)]
    made = iter(await jobs.create_many(right, token_id=request[CALLER].token_id))
    results = []
    for asked in asks:
        result = next(made) if isinstance(asked, Asked) else asked
        if isinstance(result, FliqdError):
            results.append({"status": status_of(result), **error_document(result, None)})
        else:
            same = result.deduplicated
            status = 200 if result.replayed or same else 201
            results.append({"status": status, "job": job_view(result.job, deduplicated=same)})
    return Answer({"results": results})


async def list_jobs(jobs: Jobs, request: web.Request) -> web.Response:
    return await show_jobs(jobs, request, params(request, *FILTERS, "schedule_id"), None)


async def show_jobs(jobs: Jobs, request: web.Request, asked: Params, schedule_id: str | None) -> web.Response:
    """Answer a list of jobs; of one schedule, where `schedule_id` says so."""
    problems = []
    status_word = asked.text("status")
    if status_word is not None and status_word not in STATUS_WORDS:
        problems.append(Problem("status", f"expected one of {', '.join(STATUS_WORDS)}"))
    times: dict[str, Any] = {}
    for name, field in TIMES.items():
        text = asked.text(name)
        try:
            if text is not None:
                times[field] = parse_time(text)
        except ValueError as err:
            hint = "; a + is written %2B in a query" if text is not None and " " in text else ""
            problems.append(Problem(name, f"{err}, got {text!r}{hint}"))
    if problems:
        raise InvalidError(problems)
    where = JobFilter(
        status=STATUS_WORDS[status_word] if status_word is not None else None,
        queue=asked.text("queue"),
        tag=asked.text("tag"),
        name=asked.text("name"),
        schedule_id=schedule_id or asked.text("schedule_id"),
        **times,
    )
    secrets = request[CALLER].sees_secrets
    found, next_pk = await jobs.list(where, before_pk=asked.cursor(), limit=asked.limit())
    return json_response(
        {"jobs": [job_view(job, secrets=secrets) for job in found], "next_cursor": write_cursor(next_pk)}
    )


async def get(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    return json_response(job_view(await jobs.get(path_id(request, "job")), secrets=request[CALLER].sees_secrets))


async def update(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    job_id = path_id(request, "job")
    return json_response(job_view(await jobs.update(job_id, _asked(await json_body(request)))))


async def cancel(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    await jobs.cancel(path_id(request, "job"))
    return web.Response(status=204)


async def replay(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    job = await jobs.replay(path_id(request, "job"), token_id=request[CALLER].token_id)
    return json_response(job_view(job), status=201)


async def approve(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    return json_response(job_view(await jobs.approve(path_id(request, "job"), by=request[CALLER].name)))


async def run(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    return json_response(job_view(await jobs.run(path_id(request, "job"))))


async def executions(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    found = await jobs.executions(path_id(request, "job"))
    secrets = request[CALLER].sees_secrets
    return json_response({"executions": [execution_view(execution, secrets=secrets) for execution in found]})


async def why(jobs: Jobs, request: web.Request) -> web.Response:
    params(request)
    job, reasons = await jobs.why(path_id(request, "job"))
    return json_response({"id": job.id, "status": job.status.value, "waits_for": reasons})


def _asked(body: bytes) -> Asked:
    draft, problems = decode(body, JobDraft)
    return Asked(draft, problems)
