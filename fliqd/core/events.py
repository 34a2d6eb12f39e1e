"""What is told of jobs and schedules as it happens: the closed list of events, and what each carries."""

from collections.abc import Set as AbstractSet
from enum import StrEnum

import msgspec

from fliqd.core.model import JobStatus
from fliqd.core.schedule import Missed


class EventType(StrEnum):
    """What happened; documented in docs/reference/api.md."""

    JOB_CREATED = "job.created"
    JOB_UPDATED = "job.updated"  # what was asked for has changed, or when it is due
    JOB_STARTED = "job.started"  # an attempt begins
    JOB_RETRYING = "job.retrying"  # an attempt has failed or was cut off, and there will be another
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    SCHEDULE_MISSED = "schedule.missed"


ENDED = {
    JobStatus.SUCCESS: EventType.JOB_COMPLETED,
    JobStatus.FAILED: EventType.JOB_FAILED,
    JobStatus.CANCELLED: EventType.JOB_CANCELLED,
}


class JobNews(msgspec.Struct, frozen=True, gc=False):
    """A job as an event left it: what changes in its life, and what it is found by. In the order of `job_news`."""

    id: str
    status: str
    name: str | None
    queue: str
    schedule_id: str | None
    host: str
    scheduled_ms: int
    updated_ms: int
    started_ms: int | None
    finished_ms: int | None
    next_attempt_ms: int | None
    executions: int
    attempts: int
    last_status_code: int | None
    last_error: str | None


class MissedNews(msgspec.Struct, frozen=True, gc=False):
    """Due times of a schedule that were not run."""

    schedule_id: str
    name: str
    queue: str
    missed: Missed


class News(msgspec.Struct, frozen=True, gc=False):
    """Something that has been committed."""

    type: EventType
    about: JobNews | MissedNews


class Event(msgspec.Struct, frozen=True, gc=False):
    """News with a name and a time of its own. Ids sort by when they were told."""

    id: str
    at_ms: int
    news: News


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events someone wants to hear of; None leaves a condition out."""

    types: AbstractSet[EventType] | None = None
    job_id: str | None = None
    schedule_id: str | None = None
    queue: str | None = None

    def covers(self, event: Event) -> bool:
        """Tell whether an event is one of them."""
        about = event.news.about
        return (
            (self.types is None or event.news.type in self.types)
            and self.job_id in (None, about.id if isinstance(about, JobNews) else "")
            and self.schedule_id in (None, about.schedule_id)
            and self.queue in (None, about.queue)
        )
