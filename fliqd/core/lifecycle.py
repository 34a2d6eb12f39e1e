"""What may be done to a job in which state: pure steps from one record to the next.

Each takes a job and returns it changed, or raises ConflictError saying why it cannot be.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from fliqd.core.drafts import in_order, together
from fliqd.core.model import HELD_MS, QUARANTINED, TRANSITIONS, Job, JobStatus, Source, is_quarantined, lane_of
from fliqd.errors import ConflictError, InvalidError

S = JobStatus
WAITING = frozenset({S.SCHEDULED, S.AWAITING_APPROVAL})
ACTIONS = {
    S.AWAITING_APPROVAL: ("approve", "cancel", "update"),
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


def approve(job: Job, now_ms: int, *, by: str, queues_up: bool) -> Job:
    """Let a job go that waits for somebody: when it is due, at once if that has passed.

    `queues_up`: it waits for the runs of its schedule before it.
    """
    if job.status is not S.AWAITING_APPROVAL:
        raise ConflictError(f"the job is {job.status}; only one that awaits approval can be approved", "not_approvable")
    if job.expires_ms is not None and job.expires_ms < now_ms:
        raise ConflictError("the job has expired before it was approved", "not_approvable")
    return msgspec.structs.replace(
        job,
        status=S.SCHEDULED,
        next_attempt_ms=HELD_MS if queues_up else max(job.scheduled_ms, now_ms),
        approved_ms=now_ms if job.requires_approval else None,  # else it was held back, and goes on
        approved_by=by if job.requires_approval else None,
        updated_ms=now_ms,
    )


def hold(job: Job, now_ms: int) -> Job:
    """Have a job that waits for its time wait for somebody as well: it leaves once it is approved."""
    if job.status is not S.SCHEDULED:
        raise ConflictError(f"the job is {job.status}; only a scheduled one can be held back", "not_holdable")
    if job.is_held:
        raise ConflictError("the job waits for an earlier run of its schedule; pause the schedule", "not_holdable")
    return msgspec.structs.replace(job, status=S.AWAITING_APPROVAL, next_attempt_ms=None, updated_ms=now_ms)


def free_key(job: Job, now_ms: int) -> Job:
    """Let the idempotency key of a job name another one from now on."""
    if job.status is S.RUNNING:
        raise ConflictError("the job is running; it can be forgotten once it has ended", "running")
    return msgspec.structs.replace(job, key_is_free=True, updated_ms=now_ms)


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
    lane = lane_of(fields.get("queue", job.queue), fields.get("host", job.host))
    # What it may have done to the daemon, it did.
    fields = {**fields, "lane": f"{QUARANTINED}{lane}" if is_quarantined(job.lane) else lane}
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


def replay(job: Job, *, new_id: str, now_ms: int, token_id: str | None, of: Collection[JobStatus] = (S.FAILED,)) -> Job:
    """Return a new job that does the same again, now; the one there is, in a state among `of`, stays as it is.

    It has no keys, which belong to the request that made the first, and no expiry. What nobody has approved needs to
    be approved this time too.
    """
    if job.status not in of:
        raise ConflictError(
            f"the job is {job.status}; only a {' or '.join(sorted(of))} one can be replayed", "not_replayable"
        )
    waits = job.requires_approval and job.approved_ms is None
    return msgspec.structs.replace(
        job,
        pk=0,
        id=new_id,
        token_id=token_id,
        status=S.AWAITING_APPROVAL if waits else S.SCHEDULED,
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
        next_attempt_ms=None if waits else now_ms,
        due_ms=None,
        owner=None,
        executions=0,
        attempts=0,
        last_status_code=None,
        last_error=None,
        source=Source.API,
        slot_ms=None,
        requires_approval=waits,
        approved_ms=None,
        approved_by=None,
        key_is_free=False,
        dedupe_key=None,
        dedupe_window_ms=None,
    )
