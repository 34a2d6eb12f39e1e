"""What Booper's webhooks, callbacks and log say of a job; the names are its own, the payloads our definition.

Its create page has the names of the events and what a callback is for, and the page of its log shows one entry, a
request. A payload is the same in a webhook and in the log.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fliqd.core.answers import Answer, as_json, as_text
from fliqd.core.headers import masked
from fliqd.core.model import FINAL, Job, JobStatus
from fliqd.core.times import format_time
from fliqd.core.uuids import uuid_of

S = JobStatus
# How a job stands, in the words of Oban, the job library whose times Booper shows. One that waits has three: see
# `dialects.booper.views`.
STATES: Final[Mapping[JobStatus, str]] = {
    S.AWAITING_APPROVAL: "scheduled",
    S.SCHEDULED: "retryable",
    S.RUNNING: "executing",
    S.SUCCESS: "completed",
    S.FAILED: "discarded",
    S.CANCELLED: "cancelled",
}
Payload = dict[str, Any]


def inner_time(ms: int) -> str:
    """Write an instant as Booper does within a job and in its log: to the microsecond, with the zone."""
    return f"{format_time(ms)[:-1]}000Z"


def outer_time(ms: int) -> str:
    """Write an instant as Booper does in a record: whole seconds, UTC, and no zone."""
    return format_time(ms)[:19]


def events(job: Job, answer: Answer | None) -> Iterator[tuple[str, Payload]]:
    """Yield what a webhook is told of a job that has just come to where it stands: events in order, whole payloads.

    Of one that never ran and was cancelled there is nothing to tell.
    """
    for name, payload in _events(job, answer):
        event = f"job.{name}"
        yield (
            event,
            {
                "event": event,
                "job_id": job.pk,
                "id": uuid_of(job.id),
                "inserted_at": inner_time(job.updated_ms),
                "payload": payload,
            },
        )


def _events(job: Job, answer: Answer | None) -> Iterator[tuple[str, Payload]]:
    if job.status is S.RUNNING:
        yield "started", started(job.executions, job.scheduled_ms)
        yield "request", request(job, job.body, body_is_json=job.body_is_json)
        return
    if answer is not None and answer.status_code is not None:
        yield "response", response(answer)
    if job.status in (S.SCHEDULED, S.FAILED):
        yield "error", error(job.executions, job.last_error)
    if job.status in FINAL and (job.executions or job.status is S.FAILED):
        yield "finished", finished(job.executions, STATES[job.status])


def started(attempt: int, scheduled_ms: int) -> Payload:
    """Return the payload of an attempt that begins."""
    return {"attempt": attempt, "scheduled_at": inner_time(scheduled_ms)}


def request(job: Job, body: bytes | None, *, body_is_json: bool, secrets: bool = False) -> Payload:
    """Return the payload of a request with the body that was sent; `secrets` shows headers that carry some."""
    whole = None if body is None else as_json(body) if body_is_json else as_text(body)
    return {
        "body": whole,
        "headers": job.headers if secrets else masked(job.headers),
        "query": job.query,
        "url": job.url,
    }


def response(answer: Answer, *, secrets: bool = False) -> Payload:
    """Return the payload of an answer."""
    headers = dict(answer.headers)
    return {
        "status": answer.status_code,
        "headers": headers if secrets else masked(headers),
        "body": answer.content,
    }


def error(attempt: int, message: str | None) -> Payload:
    """Return the payload of an attempt that failed."""
    return {"attempt": attempt, "message": message}


def finished(attempt: int, state: str) -> Payload:
    """Return the payload of the end: of a job for a webhook, of an attempt in the log."""
    return {"attempt": attempt, "state": state}


def result(job: Job, answer: Answer | None) -> Payload:
    """Return the payload of a callback: what came of the request."""
    return {
        "job_id": job.pk,
        "id": uuid_of(job.id),
        "status": None if answer is None else answer.status_code,
        "headers": {} if answer is None else dict(answer.headers),
        "body": None if answer is None else answer.content,
        "truncated": answer is not None and answer.truncated,
        "duration_ms": None if answer is None else answer.duration_ms,
        "error": job.last_error,
    }
