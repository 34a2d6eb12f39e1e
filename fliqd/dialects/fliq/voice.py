"""The two ways in which Fliq is spoken: as its client library expects at `/fliq`, as its pages show at `/fliq/v1`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fliqd.core.model import JobStatus

S = JobStatus
PENDING: Final = "pending"


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A way of speaking: the path it is spoken below, its words for where a job stands, and whether errors are objects.

    What waits to be approved waits: Fliq knows no approval.
    """

    name: str
    words: Mapping[JobStatus, str]
    error_objects: bool


LIBRARY: Final = Voice(
    "fliq",
    {
        S.AWAITING_APPROVAL: PENDING,
        S.SCHEDULED: PENDING,
        S.RUNNING: "running",
        S.SUCCESS: "completed",
        S.FAILED: "failed",
        S.CANCELLED: "cancelled",
    },
    error_objects=False,
)
PAGES: Final = Voice(
    "fliq/v1",
    {status: "scheduled" if status is S.AWAITING_APPROVAL else str(status) for status in S},
    error_objects=True,
)
# Either way takes the words of both.
STATUSES: Final[Mapping[str, JobStatus]] = {
    "pending": S.SCHEDULED,
    "scheduled": S.SCHEDULED,
    "running": S.RUNNING,
    "completed": S.SUCCESS,
    "success": S.SUCCESS,
    "failed": S.FAILED,
    "cancelled": S.CANCELLED,
}
