"""What an outcome makes of its job."""

import msgspec
import pytest

from fliqd.core.delivery import ErrorCode, Failure, Response
from fliqd.core.model import TRANSITIONS, ExecutionStatus, Job, JobStatus
from fliqd.core.retry import Backoff, BackoffKind
from fliqd.core.settle import settle

NOW = 1_000_000
JOB = Job(
    id="job_x", url="http://a/", host="a:80", lane="a:80", scheduled_ms=0, created_ms=0, updated_ms=0,
    next_attempt_ms=None, due_ms=0,
    status=JobStatus.RUNNING, owner="me", executions=1, backoff=Backoff(kind=BackoffKind.FIXED, initial_s=60),
)  # fmt: skip
S = JobStatus


@pytest.mark.parametrize(
    ("change", "response", "status", "next_s"),
    [
        ({}, Response(status=200), S.SUCCESS, None),
        ({}, Response(status=299), S.SUCCESS, None),
        ({}, Response(status=304), S.FAILED, None),
        ({}, Response(status=500), S.FAILED, None),
        ({"max_retries": 1}, Response(status=500), S.SCHEDULED, 60),
        ({"max_retries": 1, "attempts": 1}, Response(status=500), S.FAILED, None),
        ({"max_retries": 9}, Response(status=489), S.FAILED, None),
        ({"max_retries": 9}, Response(status=500, headers=(("x-FLIQ-no-retry", "1"),)), S.FAILED, None),
        ({"max_retries": 9}, Response(status=500, headers=(("X-Fliq-No-Retry", "0"),)), S.SCHEDULED, 60),
        ({"max_retries": 9}, Response(status=429, headers=(("Retry-After", "90"),)), S.SCHEDULED, 90),
        ({"max_retries": 9}, Response(status=503, headers=(("retry-after", "5"),)), S.SCHEDULED, 60),
        ({"max_retries": 9}, Response(status=500, headers=(("Retry-After", "90"),)), S.SCHEDULED, 60),
        ({"max_retries": 9}, Response(failure=Failure(code=ErrorCode.RESET, message="")), S.SCHEDULED, 60),
        ({"max_retries": 9}, Response(failure=Failure(code=ErrorCode.EGRESS_DENIED, message="")), S.FAILED, None),
        ({}, Response(status=200, failure=Failure(code=ErrorCode.RESET, message="")), S.FAILED, None),
        ({}, Response(), S.FAILED, None),
        ({"success_statuses": ("2xx", "409")}, Response(status=409), S.SUCCESS, None),
        ({"success_statuses": ("409",)}, Response(status=200), S.FAILED, None),
        ({"max_retries": 1, "expires_ms": NOW + 59_999}, Response(status=500), S.FAILED, None),
        ({"max_retries": 1, "expires_ms": NOW + 60_000}, Response(status=500), S.SCHEDULED, 60),
    ],
)
def test_settle(change: dict[str, object], response: Response, status: S, next_s: int | None) -> None:
    settlement = settle(msgspec.structs.replace(JOB, **change), response, NOW, 0.5)
    assert settlement.status is status
    assert settlement.next_attempt_ms == (None if next_s is None else NOW + next_s * 1000)
    assert settlement.attempts == (1 if change.get("attempts") is None else 2)
    assert (settlement.execution_status is ExecutionStatus.SUCCESS) == (status is S.SUCCESS)
    assert (settlement.error is None) == (status is S.SUCCESS)
    assert status in TRANSITIONS[S.RUNNING]
