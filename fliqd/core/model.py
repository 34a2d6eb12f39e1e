"""What a job, an execution and their states are.

The records are `msgspec.Struct`s: typed and frozen as dataclasses are, and made ten times as fast,
which counts where one is made for each create and each claim. Instants are milliseconds since the
epoch in UTC (`…_ms`), None where there is none.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from fliqd.core.delivery import ErrorCode, Timings
from fliqd.core.retry import Backoff
from fliqd.core.times import LAST_MS


class JobStatus(StrEnum):
    """Where a job stands; `scheduled` is also the wait for a retry."""

    AWAITING_APPROVAL = "awaiting_approval"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = JobStatus
TRANSITIONS: Final[Mapping[S, frozenset[S]]] = {
    S.AWAITING_APPROVAL: frozenset({S.SCHEDULED, S.CANCELLED, S.FAILED}),  # FAILED: expired
    # FAILED: expired before it could start. AWAITING_APPROVAL: somebody holds it back
    S.SCHEDULED: frozenset({S.RUNNING, S.CANCELLED, S.FAILED, S.AWAITING_APPROVAL}),
    S.RUNNING: frozenset({S.SUCCESS, S.FAILED, S.SCHEDULED}),  # SCHEDULED: a retry, or the daemon died
}
FINAL: Final = frozenset(S) - TRANSITIONS.keys()


class ExecutionStatus(StrEnum):
    """How an attempt stands; `interrupted`: its end is not known, because the daemon stopped or died."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class OnInterrupt(StrEnum):
    """What becomes of a job whose attempt was interrupted."""

    RETRY = "retry"
    FAIL = "fail"


class Dynamic(StrEnum):
    """What becomes of dynamic fields in a body: they are replaced, or put in besides; see `core.dynamic`."""

    REPLACE = "replace"
    INJECT = "inject"


class Source(StrEnum):
    """Who may change or remove a thing: callers of an API, or the configuration file alone."""

    API = "api"
    CONFIG = "config"


# A job that fliqd died with may be what it died of. Such jobs leave one after the other, so that their neighbours do
# not pay, and fail when it dies with them again and again. What limits their queue and their host limits them too.
DEFAULT_QUEUE: Final = "default"
NO_QUEUE: Final = ""  # of items: a buffer is limited by itself and its host alone
QUARANTINED: Final = "!"  # before a lane; no queue and no host begins like this
NOWHERE: Final = "quarantine"  # the lane of all that were quarantined before lanes said where they came from
MOST_CRASHES: Final = 3  # the one that led there, and two more are forgiven

# The due time of a job that waits for something else than time: the run of its schedule or the item of its buffer
# before it. No clock gets there, so it never leaves by itself.
HELD_MS: Final = LAST_MS


# Of which events of a job a webhook is told where nothing is said: its ends, whichever it comes to.
ENDS: Final = ("completed", "failed", "cancelled")


def lane_of(queue: str, host: str) -> str:
    """Return what limits a job together with others: its host, within its queue unless that is the default one."""
    return host if queue == DEFAULT_QUEUE else f"{queue}|{host}"


def is_quarantined(lane: str) -> bool:
    """Whether the jobs of a lane leave one after the other, because fliqd died with them."""
    return lane.startswith(QUARANTINED) or lane == NOWHERE


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request to make once, at a time. The field names are the columns of the store."""

    pk: int = 0  # the store's own key, given at creation
    id: str
    dialect: str = "v1"  # the API it came in through, or its buffer; idempotency keys are unique within one
    token_id: str | None = None  # the token that created it
    status: JobStatus = JobStatus.SCHEDULED

    # what was asked for
    url: str
    host: str  # host:port of `url`
    lane: str  # what limits it together with others: `lane_of`, or the quarantine
    http_method: str = "POST"
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    body: bytes | None = None
    body_is_json: bool = False
    timeout_ms: int = 30_000
    max_retries: int = 0
    backoff: Backoff = Backoff()
    success_statuses: tuple[str, ...] = ("2xx",)
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    queue: str = "default"
    name: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None
    replay_of: str | None = None
    scheduled_ms: int
    expires_ms: int | None = None  # no attempt starts later

    # where it stands
    created_ms: int
    updated_ms: int
    started_ms: int | None = None  # of the first attempt
    finished_ms: int | None = None
    next_attempt_ms: int | None  # set exactly while it is scheduled
    due_ms: int | None = None  # of the attempt under way, set exactly while it is running
    owner: str | None = None  # the daemon run that has it, set exactly while it is running
    executions: int = 0  # requests that may have left; also the last attempt's number
    attempts: int = 0  # the budget spent: interrupted ones do not count
    crashes: int = 0  # how often in a row fliqd died while it was under way
    last_status_code: int | None = None
    last_error: str | None = None

    # where it comes from
    source: Source = Source.API
    schedule_id: str | None = None
    slot_ms: int | None = None  # the due time of its schedule; None when it was asked for, or is a replay
    has_references: bool = False  # the URLs, headers, query and (but for items) body may hold ${env:…} and ${file:…}
    buffer_id: str | None = None  # of an item

    # who is told of it
    webhook_url: str | None = None
    webhook_headers: dict[str, str] = {}
    webhook_events: tuple[str, ...] = ENDS
    callback_url: str | None = None  # gets what the target answered

    # what more may be asked of it, and what became of that
    requires_approval: bool = False
    approved_ms: int | None = None
    approved_by: str | None = None
    key_is_free: bool = False  # its idempotency key may name another job by now
    dedupe_key: str | None = None
    dedupe_window_ms: int | None = None
    dynamic_fields: Dynamic | None = None
    asked: bytes | None = None  # JSON: what a stand-in API was asked, as it shows it again

    @property
    def is_held(self) -> bool:
        """Whether it waits for an earlier run of its schedule to end, or for the items before it."""
        return self.next_attempt_ms == HELD_MS


class Execution(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt at a job: one HTTP request that may have left. `attempt_num` counts from 1."""

    id: str
    job_pk: int
    attempt_num: int
    status: ExecutionStatus
    started_ms: int
    finished_ms: int | None = None
    late_ms: int  # how long after its due time it started
    status_code: int | None = None
    error_code: ErrorCode | None = None
    error: str | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    response_body: bytes | None = None
    response_truncated: bool = False
    timings: Timings | None = None
    request_body: bytes | None = None  # what was sent, where that is not the job's own body
