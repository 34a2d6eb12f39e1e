"""What the outcome of an attempt makes of its job: done, again at a time, or given up."""

import math
from functools import lru_cache
from typing import Final

import msgspec

from fliqd.core.delivery import ErrorCode, Failure, Response
from fliqd.core.model import ExecutionStatus, Job, JobStatus, OnInterrupt
from fliqd.core.retry import retry_after_s

GIVE_UP_STATUS: Final = 489  # what QStash too takes for "do not retry"
GIVE_UP_HEADER: Final = "x-fliq-no-retry"
TOO_MANY: Final = 429
TOO_MANY_S: Final = 60.0  # what an item waits after a 429 that does not say how long
RETRY_AFTER_STATUSES: Final = frozenset({429, 503})


class Settlement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The new state of a job and the end of its execution."""

    status: JobStatus
    execution_status: ExecutionStatus
    attempts: int
    next_attempt_ms: int | None = None
    error_code: ErrorCode | None = None
    error: str | None = None  # what happened to the attempt
    job_error: str | None = None  # what the job says of it


def settle(job: Job, response: Response, now_ms: int, spread: float) -> Settlement:
    """Decide what `response` makes of a running `job`; `spread` in [0, 1) is for the jitter."""
    if _is_free(job, response):
        return _again(job, response, now_ms)
    if job.buffer_id is not None and response.status == TOO_MANY:
        return _later(job, response, now_ms)
    attempts = job.attempts + 1
    failure = response.failure or _refused(job, response)
    if failure is None:
        return _success(attempts)
    status, next_ms = JobStatus.FAILED, None
    error = job_error = f"{failure.code}: {failure.message}"
    if attempts <= job.max_retries and _gives_up(response):
        job_error = error if failure.code is ErrorCode.EGRESS_DENIED else f"{error}, and asked for no retry"
    elif attempts <= job.max_retries:
        wait_s = max(job.backoff.wait_s(attempts, spread), _asked_wait_s(response, now_ms))
        next_ms = now_ms + math.ceil(wait_s * 1000)
        if job.expires_ms is not None and next_ms > job.expires_ms:
            next_ms, job_error = (
                None,
                f"{ErrorCode.EXPIRED}: no attempt starts after expires_at; the last: {error}",
            )
        else:
            status = JobStatus.SCHEDULED
    return Settlement(
        status=status,
        execution_status=ExecutionStatus.FAILED,
        attempts=attempts,
        next_attempt_ms=next_ms,
        error_code=failure.code,
        error=error,
        job_error=job_error,
    )


def _again(job: Job, response: Response, now_ms: int) -> Settlement:
    failure = response.failure or Failure(code=ErrorCode.RESET, message="the connection was gone")
    error = f"{failure.code}: {failure.message}"
    return Settlement(
        status=JobStatus.SCHEDULED,
        execution_status=ExecutionStatus.FAILED,
        attempts=job.attempts,
        next_attempt_ms=now_ms,
        error_code=failure.code,
        error=error,
        job_error=error,
    )


def _later(job: Job, response: Response, now_ms: int) -> Settlement:
    """Have an item of a buffer wait as long as the target asks; it keeps its place and all its retries."""
    value = _header(response, "retry-after")
    asked_s = None if value is None else retry_after_s(value, now_ms)
    error = f"{ErrorCode.BAD_STATUS}: the target answered 429, which costs no retry"
    return Settlement(
        status=JobStatus.SCHEDULED,
        execution_status=ExecutionStatus.FAILED,
        attempts=job.attempts,
        next_attempt_ms=now_ms + math.ceil((TOO_MANY_S if asked_s is None else asked_s) * 1000),
        error_code=ErrorCode.BAD_STATUS,
        error=error,
        job_error=error,
    )


def _is_free(job: Job, response: Response) -> bool:
    """Tell whether an attempt costs nothing: it met a kept-alive connection that the target had given up.

    The request was most likely never read, which is why HTTP clients send it again by themselves (RFC 9112,
    9.3.1). Here it is a new attempt that is recorded, once, and not for a job that wants no repeats.
    """
    return response.stale and job.on_interrupt is OnInterrupt.RETRY and job.executions == job.attempts + 1


def _refused(job: Job, response: Response) -> Failure | None:
    """Say why an answer is not a success, None when it is one."""
    status = response.status
    if status is None:
        return Failure(code=ErrorCode.PROTOCOL, message="the target closed without an answer")
    if _is_among(status, job.success_statuses):
        return None
    hint = ", a redirect; egress.follow_redirects says how many are followed" if _is_among(status, ("3xx",)) else ""
    return Failure(code=ErrorCode.BAD_STATUS, message=f"the target answered {status}{hint}")


@lru_cache(maxsize=256)
def _is_among(status: int, wanted: tuple[str, ...]) -> bool:
    """Whether a status is one of those wanted, or of their families. Remembered: most answers are alike."""
    return f"{status // 100}xx" in wanted or str(status) in wanted


@lru_cache(maxsize=256)
def _success(attempts: int) -> Settlement:
    """Return what a success makes of a job: the same each time."""
    return Settlement(status=JobStatus.SUCCESS, execution_status=ExecutionStatus.SUCCESS, attempts=attempts)


def _gives_up(response: Response) -> bool:
    if response.status == GIVE_UP_STATUS or _header(response, GIVE_UP_HEADER) == "1":
        return True
    # A refusal by policy will be the same next time; asking again would only hide it.
    return response.failure is not None and response.failure.code is ErrorCode.EGRESS_DENIED


def _asked_wait_s(response: Response, now_ms: int) -> float:
    value = _header(response, "retry-after") if response.status in RETRY_AFTER_STATUSES else None
    return (retry_after_s(value, now_ms) or 0.0) if value is not None else 0.0


def _header(response: Response, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name), None)
