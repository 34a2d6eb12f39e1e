"""What may be done to a job in which state: pure steps from one record to the next.

Each takes a job and returns it changed, or raises ConflictError saying why it cannot be.
"""

from typing import Any

import msgspec

from fliqd.core.drafts import in_order, together
from fliqd.core.model import QUARANTINE, TRANSITIONS, Job, JobStatus, Source, lane_of
from fliqd.errors import ConflictError, InvalidError

S = JobStatus
WAITING = frozenset({S.SCHEDULED, S.AWAITING_APPROVAL})
ACTIONS = {
    S.AWAITING_APPROVAL: ("cancel", "update"),
    S.SCHEDULED: ("cancel", "run", "update"),
    S.RUNNING: (),
    S.SUCCESS: (),
    S.FAILED: ("replay",),
    S.CANCELLED: (),
}


def own(job: Job) -> Job:
    """Return a job that an API may change; raise ConflictError for one that the configuration file declares."""
    if job.source is Source.CONFIG:
        raise ConflictError(
            f'the job "{job.name}" is declared in the configuration file: change it there and reload',
            "managed_by_config",
        )
    return job


def cancel(job: Job, now_ms: int) -> Job:
    """Cancel a job that has not started or waits for a retry."""
    if S.CANCELLED not in TRANSITIONS.get(job.status, frozenset()):
        raise ConflictError(f"the job is {job.status}; only a waiting one can be cancelled", "not_cancellable")
    return msgspec.structs.replace(job, status=S.CANCELLED, next_attempt_ms=None, finished_ms=now_ms, updated_ms=now_ms)


def run_now(job: Job, now_ms: int) -> Job:
    """Make a waiting job due at once; `scheduled_at` stays what was asked for."""
    if job.status is not S.SCHEDULED:
        raise ConflictError(f"the job is {job.status}; only a scheduled one can be run now", "not_runnable")
    return msgspec.structs.replace(job, next_attempt_ms=min(now_ms, job.next_attempt_ms or now_ms), updated_ms=now_ms)


def update(job: Job, fields: dict[str, Any], now_ms: int) -> Job:
    """Change what was asked for, while the job waits."""
    if job.status not in WAITING:
        raise ConflictError(f"the job is {job.status}; only a waiting one can be changed", "not_editable")
    if job.status is not S.SCHEDULED:
        fields = {**fields, "next_attempt_ms": None}
    if job.lane != QUARANTINE:  # what it may have done to the daemon, it did
        fields = {**fields, "lane": lane_of(fields.get("queue", job.queue), fields.get("host", job.host))}
    changed = msgspec.structs.replace(job, **fields, updated_ms=now_ms)
    problems = list(
        together(
            url=changed.url,
            query=changed.query,
            scheduled_ms=changed.scheduled_ms,
            expires_ms=changed.expires_ms,
        )
    )
    if problems:
        raise InvalidError(in_order(problems))
    return changed


def replay(job: Job, *, new_id: str, now_ms: int, token_id: str | None) -> Job:
    """Return a new job that does the same again, now; the failed one stays as it is.

    It has no idempotency key, which belongs to the request that made the first, and no expiry.
    """
    if job.status is not S.FAILED:
        raise ConflictError(f"the job is {job.status}; only a failed one can be replayed", "not_replayable")
    return msgspec.structs.replace(
        job,
        pk=0,
        id=new_id,
        token_id=token_id,
        status=S.SCHEDULED,
        lane=lane_of(job.queue, job.host),
        crashes=0,
        idempotency_key=None,
        replay_of=job.id,
        scheduled_ms=now_ms,
        expires_ms=None,
        created_ms=now_ms,
        updated_ms=now_ms,
        started_ms=None,
        finished_ms=None,
        next_attempt_ms=now_ms,
        due_ms=None,
        owner=None,
        executions=0,
        attempts=0,
        last_status_code=None,
        last_error=None,
        source=Source.API,
        slot_ms=None,
    )
