"""Booper's log: what each attempt at a job did, one entry after the other."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from fliqd.core import booper_notices
from fliqd.core.answers import Answer
from fliqd.core.model import Execution, ExecutionStatus, Job, JobStatus
from fliqd.core.uuids import uuid_of
from fliqd.errors import NotFoundError
from fliqd.service.jobs import Jobs

AT_ONCE: Final = 100  # attempts that are read together
E = ExecutionStatus


async def page(
    jobs: Jobs, job: Job | None, *, newest_first: bool, offset: int, limit: int, user_id: str, secrets: bool
) -> list[dict[str, Any]]:
    """Return `limit` entries after the first `offset`, of one job or of all: by job, attempt and what came first."""
    found: list[dict[str, Any]] = []
    known = {} if job is None else {job.pk: job}
    skipped = 0
    async for execution in _attempts(jobs, job, newest_first=newest_first):
        names = list(_names(execution))
        if skipped + len(names) <= offset:
            skipped += len(names)
            continue
        if execution.job_pk not in known:
            try:
                known[execution.job_pk] = await jobs.get_numbered(execution.job_pk)
            except NotFoundError:
                continue  # just deleted, its attempts with it
        entries = _entries(known[execution.job_pk], execution, names, user_id=user_id, secrets=secrets)
        found += (list(reversed(entries)) if newest_first else entries)[max(0, offset - skipped) :]
        skipped += len(names)
        if len(found) >= limit:
            break
    return found[:limit]


async def _attempts(jobs: Jobs, job: Job | None, *, newest_first: bool) -> AsyncIterator[Execution]:
    place = 0
    while True:
        some = await jobs.attempts(job, offset=place, limit=AT_ONCE, newest_first=newest_first)
        for execution in some:
            yield execution
        if len(some) < AT_ONCE:
            return
        place += AT_ONCE


def _names(execution: Execution) -> Iterator[str]:
    """Yield what there is to tell of an attempt, in order; what was sent is known once it has ended."""
    yield "worker.started"
    if execution.status is E.RUNNING:
        return
    yield "worker.http.request"
    if execution.status_code is not None:
        yield "worker.http.response"
    if execution.status is not E.SUCCESS:
        yield "worker.error"
    yield "worker.finished"


def _entries(job: Job, execution: Execution, names: list[str], *, user_id: str, secrets: bool) -> list[dict[str, Any]]:
    begun = ("worker.started", "worker.http.request")
    birth = uuid.UUID(uuid_of(execution.id))
    return [
        {
            "id": str(uuid.uuid5(birth, name)),
            "event": name,
            "inserted_at": booper_notices.inner_time(
                execution.started_ms if name in begun else execution.finished_ms or execution.started_ms
            ),
            "job_id": job.pk,
            "user_id": user_id,
            "payload": _payload(job, execution, name, secrets=secrets),
        }
        for name in names
    ]


def _payload(job: Job, execution: Execution, name: str, *, secrets: bool) -> booper_notices.Payload:
    if name == "worker.started":
        return booper_notices.started(execution.attempt_num, job.scheduled_ms)
    if name == "worker.http.request":
        sent, is_json = execution.request_body, True
        if sent is None:
            sent, is_json = job.body, job.body_is_json
        return booper_notices.request(job, sent, body_is_json=is_json, secrets=secrets)
    if name == "worker.http.response":
        return booper_notices.response(_answer(execution), secrets=secrets)
    if name == "worker.error":
        return booper_notices.error(execution.attempt_num, execution.error)
    return booper_notices.finished(execution.attempt_num, _state(job, execution))


def _state(job: Job, execution: Execution) -> str:
    """Return what an attempt made of its job."""
    if execution.status is E.SUCCESS:
        return "completed"
    is_last = execution.attempt_num == job.executions
    return booper_notices.STATES[job.status if is_last and job.status is not JobStatus.RUNNING else JobStatus.SCHEDULED]


def _answer(execution: Execution) -> Answer:
    return Answer(
        status_code=execution.status_code,
        headers=execution.response_headers,
        body=execution.response_body,
        truncated=execution.response_truncated,
        duration_ms=(execution.finished_ms or execution.started_ms) - execution.started_ms,
    )
