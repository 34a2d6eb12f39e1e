"""QuedUp's documents: what it is asked for as drafts of ours, and what there is as it shows it."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from fliqd.core.drafts import BackoffDraft, JobDraft
from fliqd.core.headers import masked
from fliqd.core.model import Execution, ExecutionStatus, Job, JobStatus
from fliqd.core.schedule import Schedule, ScheduleStatus
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.core.times import format_time, maybe_time
from fliqd.dialects.words import body_of, rule_of
from fliqd.errors import Problem

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Its retry page: six retries, the first at once, each wait counted from the attempt before; 15 minutes to answer.
DELAYS_S: Final = (0, 300, 900, 3600, 10800, 21600)
TIMEOUT_S: Final = 900
# What core calls things that have another name here.
NAMES: Final = {"http_method": "method", "scheduled_at": "run_at", "cron": "schedule", "idempotency_key": "name"}

S = JobStatus
STATUS: Final[Mapping[JobStatus, str]] = {
    S.AWAITING_APPROVAL: "paused",
    S.SCHEDULED: "active",
    S.RUNNING: "active",
    S.SUCCESS: "completed",
    S.FAILED: "failed",
    S.CANCELLED: "failed",  # it has no word for it, and "completed" would be a lie
}
RECURRING: Final[Mapping[ScheduleStatus, str]] = {
    ScheduleStatus.ACTIVE: "active",
    ScheduleStatus.PAUSED: "paused",
    ScheduleStatus.ENDED: "completed",
}
RUN: Final[Mapping[ExecutionStatus, str]] = {
    ExecutionStatus.RUNNING: "running",
    ExecutionStatus.SUCCESS: "succeeded",
    ExecutionStatus.FAILED: "failed",
    ExecutionStatus.INTERRUPTED: "failed",
}


class CreateJobRequest(Struct, kw_only=True):
    """The body of `POST /jobs`; what it does not know is let pass."""

    name: str | UnsetType | None = UNSET
    url: str | UnsetType | None = UNSET
    method: str | UnsetType | None = UNSET
    body: str | UnsetType | None = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    run_at: str | UnsetType | None = UNSET
    schedule: str | UnsetType | None = UNSET


class UpdateJobRequest(CreateJobRequest, kw_only=True):
    """The body of `PUT` and `PATCH /jobs/{id}`: the fields that it has are replaced."""

    status: str | UnsetType | None = UNSET


def once(asked: CreateJobRequest, problems: list[Problem]) -> JobDraft:
    """Return the draft of a job that runs once: at `run_at`, or now."""
    _require(asked, problems)
    when: dict[str, Any] = {"scheduled_at": asked.run_at} if isinstance(asked.run_at, str) else {"delay": 0}
    return JobDraft(idempotency_key=asked.name, **_request(asked, problems), **when, **_rules())


def recurring(asked: CreateJobRequest, problems: list[Problem]) -> ScheduleDraft:
    """Return the draft of a job that recurs; `run_at` counts for nothing then, right or wrong."""
    problems[:] = [problem for problem in problems if problem.field != "run_at"]
    _require(asked, problems)
    return ScheduleDraft(
        cron=asked.schedule, timezone="UTC", overlap="skip", **_request(asked, problems), **_rules()
    )  # fmt: skip


def change_of(found: Job | Schedule, asked: UpdateJobRequest, problems: list[Problem]) -> dict[str, Any]:
    """Return the fields to change in a job; what is as it is shown is left alone, so that a job can be sent back."""
    shown = {name: getattr(found, name) for name in ("url", "http_method", "headers")}
    shown |= {"name": _name(found), "body": _body(found)}
    given = {name: value for name, value in _request(asked, problems).items() if value is not UNSET}
    given = {name: value for name, value in given.items() if (value or "") != (shown[name] or "")}
    for name in ("name", "url", "http_method"):
        if given.get(name, UNSET) is None:
            del given[name]
    if isinstance(found, Schedule):
        if isinstance(asked.schedule, str) and asked.schedule != rule_of(found):
            given["cron"] = asked.schedule
    elif isinstance(asked.run_at, str):
        given["scheduled_at"] = asked.run_at
    return given


def _require(asked: CreateJobRequest, problems: list[Problem]) -> None:
    at_fault = {problem.field for problem in problems}
    lacking = (name for name in ("name", "method") if getattr(asked, name) in (UNSET, None))
    problems += [Problem(name, "is required") for name in lacking if name not in at_fault]


def _request(asked: CreateJobRequest, problems: list[Problem]) -> dict[str, Any]:
    method: Any = asked.method
    if isinstance(method, str):
        method = method.upper()
        if method not in METHODS:
            problems.append(Problem("method", f"expected {', '.join(METHODS[:-1])} or {METHODS[-1]}"))
    return {
        "name": asked.name,
        "url": asked.url,
        "http_method": method,
        "body": asked.body,
        "headers": asked.headers,
    }


def _rules() -> dict[str, Any]:
    return {
        "max_retries": len(DELAYS_S),
        "backoff": BackoffDraft(kind="table", delays=list(DELAYS_S)),
        "timeout_seconds": TIMEOUT_S,
    }


def public_id(one: Job | Schedule) -> str:
    """Return the id of a job as QuedUp has it: one that recurs has that of its schedule."""
    return one.id if isinstance(one, Job) else f"job_{one.id.partition('_')[2]}"


def status_of(one: Job | Schedule) -> str:
    """Return the word for where a job stands."""
    return STATUS[one.status] if isinstance(one, Job) else RECURRING[one.status]


def job_view(one: Job | Schedule, *, secrets: bool) -> dict[str, Any]:
    """Return a job as QuedUp shows it; without `secrets`, headers that carry some are masked."""
    return {
        "id": public_id(one),
        "name": _name(one),
        "method": one.http_method,
        "url": one.url,
        "headers": one.headers if secrets else masked(one.headers),
        "body": _body(one),
        "schedule": None if isinstance(one, Job) else rule_of(one),
        "next_run_at": maybe_time(_next_ms(one)),
        "status": status_of(one),
    }


def _name(one: Job | Schedule) -> str:
    return one.name or ""  # its jobs have one always; those of other APIs may have none


def _body(one: Job | Schedule) -> str:
    return body_of(one) or ""  # a text in every job of its page, and never null


def _next_ms(one: Job | Schedule) -> int | None:
    if isinstance(one, Schedule):
        return one.next_run_ms
    if one.status is S.RUNNING:
        return one.due_ms
    return one.scheduled_ms if one.is_held else one.next_attempt_ms


def run_view(job: Job, execution: Execution, *, secrets: bool) -> dict[str, Any]:
    """Return an attempt at a job as a run; its id is made of theirs."""
    headers = dict(execution.response_headers)
    ended_ms = execution.finished_ms
    known = execution.status is not ExecutionStatus.INTERRUPTED and ended_ms is not None
    is_last = ended_ms is not None and execution.attempt_num == job.executions
    retries = is_last and job.status is S.SCHEDULED and not job.is_held
    body = execution.response_body
    return {
        "id": f"run_{_ulid(job.id)}_{execution.attempt_num}",
        "job_id": f"job_{_ulid(job.schedule_id or job.id)}",
        "attempt": execution.attempt_num,
        "status": RUN[execution.status],
        "scheduled_at": format_time(execution.started_ms - execution.late_ms),
        "started_at": format_time(execution.started_ms),
        "finished_at": maybe_time(ended_ms),
        "duration_ms": (ended_ms or 0) - execution.started_ms if known else None,
        "response_status": execution.status_code,
        "response_headers": headers if secrets else masked(headers),
        "response_body": None if body is None else body.decode("utf-8", "replace"),
        "error": execution.error,
        "next_retry_at": maybe_time(job.next_attempt_ms) if retries else None,
    }


def _ulid(an_id: str) -> str:
    return an_id.partition("_")[2]
