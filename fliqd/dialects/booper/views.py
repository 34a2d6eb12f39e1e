"""Jobs as Booper's records show them."""

from typing import Any

import msgspec
from msgspec import UNSET

from fliqd.core.booper_notices import STATES, inner_time, outer_time
from fliqd.core.headers import masked
from fliqd.core.model import Job, JobStatus
from fliqd.core.stand_ins import BOOPER
from fliqd.core.uuids import uuid_of
from fliqd.dialects.booper.documents import Kept, kept

S = JobStatus


def record(
    job: Job, *, user_id: str, now_ms: int, secrets: bool, fresh: bool = False, conflict: bool = False
) -> dict[str, Any]:
    """Return a job as a record; without `secrets`, headers that carry some are masked.

    `fresh`: it answers a create; `conflict`: one that was ignored, since this job held its key.
    """
    asked = kept(job.asked) if job.dialect == BOOPER else Kept()
    recurs = job.schedule_id is not None and job.dialect == BOOPER
    return {
        "id": uuid_of(job.id),
        "idempotency_key": job.idempotency_key,
        "inserted_at": outer_time(job.created_ms),
        "name": asked.name if recurs else job.name,
        "description": job.description,
        "user_id": user_id,
        "schedule_id": None if job.schedule_id is None else uuid_of(job.schedule_id),
        "job_id": job.pk,
        "job": {
            "id": job.pk,
            "state": state(job, now_ms, fresh=fresh),
            "inserted_at": inner_time(job.created_ms),
            "scheduled_at": inner_time(job.scheduled_ms),
            "attempted_at": _maybe(job.started_ms),
            "completed_at": _when(job, S.SUCCESS),
            "cancelled_at": _when(job, S.CANCELLED),
            "discarded_at": _when(job, S.FAILED),
            "has_confict": conflict,  # sic: in every sample of Booper's
        },
        "args": _args(job, asked, secrets=secrets),
    }


def state(job: Job, now_ms: int, *, fresh: bool = False) -> str:
    """Return the word for where a job stands.

    One that waits for its time is scheduled, and available once that has come; `available` is also what a create
    answers, whatever the time is.
    """
    if job.status is not S.SCHEDULED or job.executions:
        return STATES[job.status]
    return "available" if fresh or job.scheduled_ms <= now_ms else "scheduled"


def _args(job: Job, asked: Kept, *, secrets: bool) -> dict[str, Any]:
    """Return the request as it was accepted, and when, in the words that it was asked in."""
    body = job.body
    args: dict[str, Any] = {
        "method": job.http_method.lower(),
        "url": job.url,
        "headers": job.headers if secrets else masked(job.headers),
        "body": None if body is None else msgspec.Raw(body) if job.body_is_json else body.decode("utf-8", "replace"),
    }
    if asked.query is not UNSET or job.query:
        args["query"] = job.query if asked.query is UNSET else asked.query
    for name in ("schedule_in", "scheduled_at", "repeat_every", "cron"):
        if (sent := getattr(asked, name)) is not None:
            args[name] = sent
    for name in ("callback_url", "webhook_url"):
        if (url := getattr(job, name)) is not None:
            args[name] = url
    return args


def _maybe(ms: int | None) -> str | None:
    return None if ms is None else inner_time(ms)


def _when(job: Job, status: JobStatus) -> str | None:
    return _maybe(job.finished_ms) if job.status is status else None
