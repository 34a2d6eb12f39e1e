"""DispatchQ's documents: what it is asked for as drafts of ours, and what there is as it shows it."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from fliqd.core.answers import Answer
from fliqd.core.dispatchq_notices import WORDS, attempts
from fliqd.core.drafts import BackoffDraft, JobDraft
from fliqd.core.headers import masked
from fliqd.core.model import Execution, Job, JobStatus
from fliqd.core.schedule import Schedule
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.core.times import format_time, maybe_time
from fliqd.dialects.words import rule_of
from fliqd.errors import Problem

MAX_ATTEMPTS: Final = 100
DEFAULT_ATTEMPTS: Final = 3  # the first one among them
TIMEOUT_S: Final = 30
# Its retry page: min(2^attempt · 10, 3600) seconds, attempt = 1 after the first failure, not spread.
BACKOFF: Final = BackoffDraft(kind="exponential", initial=20, max=3600, jitter=0)
DELAY: Final = re.compile(r"[0-9]+[smhd]", re.ASCII)
# What core calls things that have another name here.
NAMES: Final = {"http_method": "method", "json": "payload", "max_retries": "max_attempts"}

S = JobStatus
STATUS: Final[Mapping[str, JobStatus]] = {word: status for status, word in WORDS.items()}
ACTIONS: Final[Mapping[JobStatus, tuple[str, ...]]] = {
    S.AWAITING_APPROVAL: ("approve", "cancel"),
    S.SCHEDULED: ("cancel",),
    S.RUNNING: (),
    S.SUCCESS: (),
    S.FAILED: ("retry",),
    S.CANCELLED: ("retry",),
}
RETRYABLE: Final = frozenset({S.FAILED, S.CANCELLED})

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


def _said(**schema: object) -> msgspec.Meta:
    """Have the OpenAPI document say more of a field; what is wrong with its value is said below, in our words."""
    return msgspec.Meta(extra_json_schema=schema)


Payload = Annotated[Raw, _said(type=["object", "null"])]
Attempts = Annotated[int, _said(minimum=1, maximum=MAX_ATTEMPTS, default=DEFAULT_ATTEMPTS)]
Queue = Annotated[str, _said(pattern="^[a-zA-Z0-9_-]+$", minLength=1, maxLength=64, default="default")]
Delay = Annotated[str, _said(pattern=r"^(\d+)(s|m|h|d)$")]


class RequestFields(Struct, kw_only=True):
    """What is sent and what becomes of it, in jobs and in schedules; what it does not know is let pass."""

    url: str | UnsetType | None = UNSET
    method: Method | UnsetType | None = UNSET
    payload: Payload | UnsetType = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    max_attempts: Attempts | UnsetType | None = UNSET
    requires_approval: bool | UnsetType | None = UNSET
    callback_url: str | UnsetType | None = UNSET
    queue: Queue | UnsetType | None = UNSET


class CreateJobRequest(RequestFields, kw_only=True):
    """The body of `POST /v1/jobs`."""

    delay: Delay | UnsetType | None = UNSET
    dedupe_key: str | UnsetType | None = UNSET


class ScheduleRequest(RequestFields, kw_only=True):
    """The body of `POST /v1/schedules`, and of `PUT /v1/schedules/{id}`, which replaces the fields that it has."""

    name: str | UnsetType | None = UNSET
    cron: str | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET


def job_draft(asked: CreateJobRequest, problems: list[Problem]) -> JobDraft:
    """Return the draft of a job."""
    _require(asked, ("url",), problems)
    if isinstance(asked.delay, str) and not DELAY.fullmatch(asked.delay):
        problems.append(Problem("delay", 'expected digits and one of s, m, h and d, such as "30s"'))
    return JobDraft(
        delay=0 if asked.delay in (UNSET, None) or _is_wrong("delay", problems) else asked.delay,
        dedupe_key=asked.dedupe_key,
        **_rules() | _request(asked, problems),
    )


def schedule_draft(asked: ScheduleRequest, problems: list[Problem]) -> ScheduleDraft:
    """Return the draft of a schedule."""
    _require(asked, ("cron", "url"), problems)
    fields = _rules() | _request(asked, problems)
    return ScheduleDraft(
        name=asked.name, cron=asked.cron, timezone="UTC", paused=asked.enabled is False, **fields
    )  # fmt: skip


def change_of(schedule: Schedule, asked: ScheduleRequest, problems: list[Problem]) -> ScheduleDraft:
    """Return the draft of a change: the fields that are given; a rule that is the one there is stays."""
    fields = _request(asked, problems)
    if asked.name is not UNSET:
        fields["name"] = asked.name
    if isinstance(asked.cron, str) and asked.cron != rule_of(schedule):
        fields["cron"] = asked.cron
    if isinstance(asked.enabled, bool):
        fields["paused"] = not asked.enabled
    return ScheduleDraft(**fields)


def _is_wrong(name: str, problems: list[Problem]) -> bool:
    return any(problem.field == name for problem in problems)


def _require(asked: RequestFields, names: tuple[str, ...], problems: list[Problem]) -> None:
    lacking = [name for name in names if getattr(asked, name) in (UNSET, None) and not _is_wrong(name, problems)]
    problems += [Problem(name, "is required", "missing_field") for name in lacking]
    for name in lacking:
        setattr(asked, name, UNSET)


def _rules() -> dict[str, Any]:
    return {"max_retries": DEFAULT_ATTEMPTS - 1, "backoff": BACKOFF, "timeout_seconds": TIMEOUT_S}


def _request(asked: RequestFields, problems: list[Problem]) -> dict[str, Any]:
    fields = {
        "url": asked.url,
        "http_method": asked.method,
        "headers": asked.headers,
        "requires_approval": asked.requires_approval,
        "callback_url": asked.callback_url,
        "queue": asked.queue,
        **_payload(asked.payload, problems),
        **_attempts(asked.max_attempts, problems),
    }
    return {name: value for name, value in fields.items() if value is not UNSET}


def _payload(payload: Raw | UnsetType, problems: list[Problem]) -> dict[str, Any]:
    """Return a payload as it is sent: without white space, as those who parse it and write it again to verify it do."""
    if not isinstance(payload, Raw):
        return {}
    text = bytes(payload).strip()
    if text == b"null":
        return {"body": None}
    if not text.startswith(b"{"):
        problems.append(Problem("payload", "expected an object"))
        return {}
    try:
        return {"json": Raw(msgspec.json.format(text, indent=-1))}
    except RecursionError:
        problems.append(Problem("payload", "is nested too deeply"))
        return {}


def _attempts(count: int | UnsetType | None, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(count, int):
        return {} if count is UNSET else {"max_retries": DEFAULT_ATTEMPTS - 1}
    if not 1 <= count <= MAX_ATTEMPTS:
        problems.append(Problem("max_attempts", f"got {count}, expected a whole number from 1 to {MAX_ATTEMPTS}"))
        return {}
    return {"max_retries": count - 1}


def job_view(
    job: Job, last: Execution | None, *, now_ms: int, secrets: bool, deduplicated: bool = False
) -> dict[str, Any]:
    """Return a job as DispatchQ shows it; without `secrets`, headers that carry some are masked.

    `last` is the last attempt that has ended, None if none has.
    """
    spent = attempts(job)
    tried = job.executions > 0 and job.status in (S.SCHEDULED, S.RUNNING)
    next_ms = job.next_attempt_ms if job.status is S.SCHEDULED and tried and not job.is_held else None
    view = {
        "id": job.id,
        "status": WORDS[job.status],
        "url": job.url,
        "method": job.http_method,
        "queue": job.queue,
        "attempts": spent,
        "max_attempts": job.max_retries + 1,
        "created_at": format_time(job.created_ms),
        "required_approval": job.requires_approval,
        "deduplicated": deduplicated,
        **_payload_view(job),
        "headers": job.headers if secrets else masked(job.headers),
        "dedupe_key": job.dedupe_key,
        "delay_until": format_time(job.scheduled_ms) if job.scheduled_ms > job.created_ms else None,
        "started_at": maybe_time(job.started_ms),
        "finished_at": maybe_time(job.finished_ms),
        "next_retry_at": maybe_time(next_ms),
        "last_error": job.last_error,
        **_response_view(last),
        "approved_at": maybe_time(job.approved_ms),
        "approved_by": job.approved_by,
        "callback_url": job.callback_url,
        "schedule_id": None if job.schedule_id is None else public_id(job.schedule_id),
        "idempotency_key": job.idempotency_key,
    }
    if tried and job.attempts:
        view["retries_remaining"] = max(0, job.max_retries + 1 - spent)
    if next_ms is not None:
        view["next_retry_in_seconds"] = max(0, math.ceil((next_ms - now_ms) / 1000))
    return view | {"actions": ACTIONS[job.status]}


def _payload_view(one: Job | Schedule) -> dict[str, Any]:
    """Return the payload, which is left out where there is none: it is an object, and never null."""
    if one.body is None:
        return {}
    return {"payload": Raw(one.body) if one.body_is_json else one.body.decode("utf-8", "replace")}


def _response_view(last: Execution | None) -> dict[str, Any]:
    if last is None:
        return {"response_code": None, "response_body": None, "duration_ms": None}
    answer = Answer(
        status_code=last.status_code,
        headers=last.response_headers,
        body=last.response_body,
        truncated=last.response_truncated,
        duration_ms=(last.finished_ms or last.started_ms) - last.started_ms,
    )
    return {
        "response_code": answer.status_code,
        "response_body": answer.content,
        "duration_ms": answer.duration_ms,
    }


def schedule_view(schedule: Schedule, *, secrets: bool) -> dict[str, Any]:
    """Return a schedule; without `secrets`, headers that carry some are masked."""
    return {
        "id": public_id(schedule.id),
        "name": schedule.name,
        "cron": rule_of(schedule),
        "url": schedule.url,
        "method": schedule.http_method,
        **_payload_view(schedule),
        "headers": schedule.headers if secrets else masked(schedule.headers),
        "queue": schedule.queue,
        "max_attempts": schedule.max_retries + 1,
        "requires_approval": schedule.requires_approval,
        "callback_url": schedule.callback_url,
        "enabled": schedule.paused_ms is None,
        "next_run_at": maybe_time(schedule.next_run_ms),
        "last_run_at": maybe_time(schedule.last_run_ms),
        "created_at": format_time(schedule.created_ms),
        "updated_at": format_time(schedule.updated_ms),
    }


def public_id(schedule_id: str) -> str:
    """Return the id of a schedule as DispatchQ has it."""
    return f"sch_{schedule_id.partition('_')[2]}"


def schedule_id(public: str) -> str:
    """Return the id of a schedule as we have it."""
    return f"sched_{public.partition('_')[2]}"
