"""What a schedule is: a rule that yields due times, and the request that each of them makes.

Instants are milliseconds since the epoch in UTC (`…_ms`), None where there is none.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

from fliqd.core.model import ENDS, Dynamic, Job, JobStatus, OnInterrupt, Source, lane_of
from fliqd.core.occurrences import DstPolicy, Gap, Overlap
from fliqd.core.retry import Backoff
from fliqd.core.timing import IntervalRule, Timing, cron_rule, jitter_of


class ScheduleStatus(StrEnum):
    """Where a schedule stands; `ended`: it has no due time any more."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class Misfire(StrEnum):
    """What becomes of due times that were noticed later than the grace allows."""

    LATEST = "latest"  # one run makes up for all of them
    ALL = "all"  # each runs, oldest first
    SKIP = "skip"


class WhileRunning(StrEnum):
    """What becomes of a due time while an earlier run has not ended."""

    QUEUE = "queue"  # it waits for that; one waits at most
    ALLOW = "allow"
    SKIP = "skip"


class MissedReason(StrEnum):
    """Why a due time was not run."""

    PAUSED = "paused"
    OVERLAP = "overlap"
    MISFIRE = "misfire"
    EXPIRED = "expired"  # it was noticed after the schedule's end


class Missed(msgspec.Struct, frozen=True, gc=False):
    """Due times in a row that were not run: the first, the last, how many, and why."""

    first_ms: int
    last_ms: int
    count: int
    reason: MissedReason
    noted_ms: int = 0


class Schedule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A rule and a request. The field names are the columns of the store."""

    pk: int = 0  # the store's own key, given at creation
    id: str
    version: int = 0  # grows with each change, so that a decision on an old reading is noticed
    name: str
    source: Source = Source.API
    dialect: str = "v1"
    token_id: str | None = None

    # when
    cron: str | None = None  # this or an interval
    every_ms: int | None = None
    anchor_ms: int | None = None  # the first slot of an interval
    timezone: str = "UTC"
    dst_gap: Gap = Gap.AFTER
    dst_overlap: Overlap = Overlap.FIRST
    starts_ms: int | None = None
    ends_ms: int | None = None
    max_runs: int | None = None
    jitter_ms: int = 0
    misfire: Misfire = Misfire.LATEST
    misfire_grace_ms: int = 60_000
    overlap: WhileRunning = WhileRunning.QUEUE

    # what
    url: str
    host: str
    http_method: str = "POST"
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    body: bytes | None = None
    body_is_json: bool = False
    has_references: bool = False  # the URLs, headers, query and body may hold ${env:…} and ${file:…}
    timeout_ms: int = 30_000
    max_retries: int = 0
    backoff: Backoff = Backoff()
    success_statuses: tuple[str, ...] = ("2xx",)
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    queue: str = "default"
    description: str | None = None
    tags: tuple[str, ...] = ()

    # where it stands
    created_ms: int
    updated_ms: int
    deleted_ms: int | None = None
    paused_ms: int | None = None
    cursor_ms: int  # every slot up to here is accounted for: made a job, or missed with a reason
    next_run_ms: int | None = None  # when the next slot is due, jitter included; None: paused, ended or at fault
    run_count: int = 0
    error: str | None = None  # why its next run could not be computed

    # what became of the last run; kept by the store as jobs are made and end
    last_job_pk: int | None = None
    last_run_ms: int | None = None
    last_status: JobStatus | None = None

    # who is told of its jobs
    webhook_url: str | None = None
    webhook_headers: dict[str, str] = {}
    webhook_events: tuple[str, ...] = ENDS
    callback_url: str | None = None  # gets what the target answered

    # what more may be asked of its jobs, and what they remember
    requires_approval: bool = False
    dynamic_fields: Dynamic | None = None
    asked: bytes | None = None  # JSON: what a stand-in API was asked, as it shows it again
    state: bytes | None = None  # JSON object, kept by the store as runs end; so is `previous`
    previous: bytes | None = None

    @property
    def status(self) -> ScheduleStatus:
        if self.paused_ms is not None:
            return ScheduleStatus.PAUSED
        return ScheduleStatus.ENDED if self.next_run_ms is None and self.error is None else ScheduleStatus.ACTIVE


# What a job takes from its schedule as it is.
TAKEN: Final = (
    "dialect", "token_id", "url", "host", "http_method", "headers", "query", "body", "body_is_json", "has_references",
    "timeout_ms", "max_retries", "backoff", "success_statuses", "on_interrupt", "queue", "name", "description", "tags",
    "webhook_url", "webhook_headers", "webhook_events", "callback_url", "requires_approval", "dynamic_fields", "asked",
)  # fmt: skip
TIMING: Final = (
    "cron", "every_ms", "timezone", "dst_gap", "dst_overlap", "starts_ms", "ends_ms", "max_runs", "jitter_ms",
)  # fmt: skip
# What may be asked of a schedule: all that a definition says.
DEFINED: Final = (
    *TIMING,
    "misfire",
    "misfire_grace_ms",
    "overlap",
    *(name for name in TAKEN if name not in {"token_id", "asked"}),
)


def timing_of(schedule: Schedule) -> Timing:
    """Return the due times of a schedule; raise CronError or ZoneError for what this system cannot read (any more)."""
    if schedule.every_ms is not None and schedule.anchor_ms is not None:
        return Timing(IntervalRule(schedule.anchor_ms, schedule.every_ms), schedule.starts_ms, schedule.ends_ms)
    dst = DstPolicy(gap=schedule.dst_gap, overlap=schedule.dst_overlap)
    return Timing(cron_rule(schedule.cron or "", schedule.timezone, dst), schedule.starts_ms, schedule.ends_ms)


def fault_of(schedule: Schedule) -> str | None:
    """Say why the due times of a schedule cannot be computed here, None where they can."""
    try:
        timing_of(schedule)
    except ValueError as err:
        return str(err)
    return None


def run_ms(schedule: Schedule, slot_ms: int) -> int:
    """Return when a slot is due, its jitter included."""
    return slot_ms + jitter_of(schedule.id, slot_ms, schedule.jitter_ms)


def job_of(schedule: Schedule, *, job_id: str, slot_ms: int | None, due_ms: int, now_ms: int) -> Job:
    """Return the job of a slot, or of no slot: one that somebody asked for."""
    taken: dict[str, Any] = {name: getattr(schedule, name) for name in TAKEN}
    waits = schedule.requires_approval
    return Job(
        id=job_id,
        schedule_id=schedule.id,
        slot_ms=slot_ms,
        lane=lane_of(schedule.queue, schedule.host),
        scheduled_ms=due_ms,
        status=JobStatus.AWAITING_APPROVAL if waits else JobStatus.SCHEDULED,
        next_attempt_ms=None if waits else max(due_ms, now_ms),
        created_ms=now_ms,
        updated_ms=now_ms,
        **taken,
    )
