"""What DispatchQ tells of a job: its words for where a job stands, and what a callback gets.

Its pages name completed and failed jobs, and expect a reviewer to hear of one that waits; a cancelled one is told too.
"""

from collections.abc import Mapping
from typing import Any, Final

from fliqd.core.answers import Answer
from fliqd.core.model import Job, JobStatus
from fliqd.core.times import maybe_time

S = JobStatus
WORDS: Final[Mapping[JobStatus, str]] = {
    S.AWAITING_APPROVAL: "awaiting_approval",
    S.SCHEDULED: "pending",
    S.RUNNING: "active",
    S.SUCCESS: "completed",
    S.FAILED: "failed",
    S.CANCELLED: "cancelled",
}
TOLD: Final = frozenset({S.AWAITING_APPROVAL, S.SUCCESS, S.FAILED, S.CANCELLED})


def attempts(job: Job) -> int:
    """Return how many attempts a job has spent, the one under way among them."""
    return job.attempts + (job.status is S.RUNNING)


def callback(job: Job, answer: Answer | None) -> dict[str, Any]:
    """Return the payload of a callback: fields of the job under their own names, `job_id` for those who look for that.

    `answer` is that of the attempt that ended it, None where none did.
    """
    return {
        "id": job.id,
        "job_id": job.id,
        "status": WORDS[job.status],
        "attempts": attempts(job),
        "max_attempts": job.max_retries + 1,
        "response_code": job.last_status_code,
        "response_body": None if answer is None else answer.content,
        "duration_ms": None if answer is None else answer.duration_ms,
        "last_error": job.last_error,
        "finished_at": maybe_time(job.finished_ms),
    }
