"""What is told of a job: the events that its webhook gets, and the answer that its callback gets.

The payload of an event is that of Fliq's webhooks, with `event`; nothing is left out, what there is not is null.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from fliqd.core import booper_notices, dispatchq_notices
from fliqd.core.answers import Answer
from fliqd.core.drafts import host_of
from fliqd.core.model import Job, JobStatus
from fliqd.core.stand_ins import BOOPER, DISPATCHQ
from fliqd.core.times import maybe_time

S = JobStatus
# By where the job has come to: the event, and the word for the status (Fliq's, not those of `/v1`).
EVENTS: Final[Mapping[JobStatus, tuple[str, str]]] = {
    S.AWAITING_APPROVAL: ("awaiting_approval", "awaiting_approval"),
    S.RUNNING: ("started", "running"),
    S.SCHEDULED: ("retrying", "pending"),
    S.SUCCESS: ("completed", "completed"),
    S.FAILED: ("failed", "failed"),
    S.CANCELLED: ("cancelled", "cancelled"),
}
CALLBACK: Final = "callback"
_JSON_BODY: Final = ("Content-Type", "application/json")
_encode: Final = msgspec.json.Encoder().encode


class Kind(StrEnum):
    """The ways by which something is told."""

    WEBHOOK = "webhook"
    CALLBACK = "callback"


class Notice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing to tell: a POST of `body` to `url`."""

    job_id: str
    kind: Kind
    event: str
    url: str
    lane: str  # host:port of the URL; the URL itself where that is known only when it is used
    headers: dict[str, str]
    has_references: bool
    body: bytes
    signed_for: str | None = None  # the id of the token whose text signs it, of DispatchQ's callbacks


def wants(job: Job) -> bool:
    """Tell whether anybody is told of a job."""
    return job.webhook_url is not None or job.callback_url is not None


def notices(job: Job, answer: Answer | None = None) -> Iterator[Notice]:
    """Yield what is told of a job that has just come to where it stands.

    `answer` is that of the attempt that ended it, None where none did.
    """
    event, word = EVENTS[job.status]
    if job.webhook_url is not None and event in job.webhook_events:
        for name, payload in _told(job, event, word, answer):
            yield _notice(job, Kind.WEBHOOK, job.webhook_url, name, payload)
    if job.callback_url is not None and job.dialect == DISPATCHQ:
        if job.status in dispatchq_notices.TOLD:
            payload = dispatchq_notices.callback(job, answer)
            notice = _notice(job, Kind.CALLBACK, job.callback_url, CALLBACK, payload)
            yield msgspec.structs.replace(notice, signed_for=job.token_id)
    elif job.callback_url is not None and job.status in (S.SUCCESS, S.FAILED):
        payload = booper_notices.result(job, answer) if job.dialect == BOOPER else _answer(job, answer)
        yield _notice(job, Kind.CALLBACK, job.callback_url, CALLBACK, payload)


def _notice(job: Job, kind: Kind, url: str, event: str, payload: dict[str, Any]) -> Notice:
    return Notice(
        job_id=job.id,
        kind=kind,
        event=event,
        url=url,
        lane=url if job.has_references else host_of(url),
        headers=job.webhook_headers if kind is Kind.WEBHOOK else {},
        has_references=job.has_references,
        body=_encode(payload),
    )


def _told(job: Job, event: str, word: str, answer: Answer | None) -> Iterable[tuple[str, dict[str, Any]]]:
    """Return the events that a webhook gets, with their payloads: one, but for Booper's jobs."""
    if job.dialect == BOOPER:
        return booper_notices.events(job, answer)
    return ((f"job.{event}", _event(job, event, word)),)


def _event(job: Job, event: str, word: str) -> dict[str, Any]:
    return {
        "event": f"job.{event}",
        "job_id": job.id,
        "status": word,
        "status_code": job.last_status_code,
        "last_error": job.last_error,
        "completed_at": maybe_time(job.finished_ms),
        "attempt_num": job.executions,
    }


def _answer(job: Job, answer: Answer | None) -> dict[str, Any]:
    """Return the payload of a callback: what Booper's reference defines for it."""
    return {
        "job_id": job.id,
        "id": job.id,
        "status": None if answer is None else answer.status_code,
        "headers": {} if answer is None else dict(answer.headers),
        "body": None if answer is None else answer.content,
        "truncated": answer is not None and answer.truncated,
        "duration_ms": None if answer is None else answer.duration_ms,
        "error": job.last_error,
    }
