"""Records to JSON, and query parameters to typed values."""

import base64
import binascii
import difflib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from multidict import MultiMapping

from fliqd.core import cron_grammar
from fliqd.core.buffers import Buffer
from fliqd.core.deliveries import MOST_TRIES, Delivery, DeliveryStatus
from fliqd.core.delivery import Timings
from fliqd.core.describe import describe
from fliqd.core.durations import format_duration
from fliqd.core.headers import MASK, masked
from fliqd.core.lifecycle import ACTIONS
from fliqd.core.model import HELD_MS, Execution, ExecutionStatus, Job, JobStatus
from fliqd.core.retry import Backoff
from fliqd.core.schedule import Missed, Schedule
from fliqd.core.times import format_time, maybe_time
from fliqd.errors import InvalidError, Problem


class Params:
    """The query parameters of a request: each known, each at most once, each read once."""

    def __init__(self, query: MultiMapping[str], allowed: Sequence[str]) -> None:
        """Take the query; raise InvalidError for a stranger, or one that comes twice."""
        problems = []
        for name in dict.fromkeys(query):
            if name not in allowed:
                near = difflib.get_close_matches(name[:64], allowed, n=1, cutoff=0.6)
                hint = f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(allowed) or 'none'}"
                problems.append(Problem(name[:64], f"unknown query parameter{hint}", "unknown_parameter"))
            elif len(query.getall(name)) > 1:
                problems.append(Problem(name, "comes more than once"))
        if problems:
            raise InvalidError(problems)
        self._query = query

    def text(self, name: str) -> str | None:
        value = self._query.get(name)
        if value is not None and "\0" in value:
            raise InvalidError([Problem(name, "holds the character NUL")])
        return value

    def limit(self) -> int:
        text = self._query.get("limit", "20")
        if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:  # noqa: PLR2004 -- as it says
            raise InvalidError([Problem("limit", "expected a whole number from 1 to 100")])
        return int(text)

    def cursor(self, kind: str = "j") -> int | None:
        text = self._query.get("cursor")
        return None if text is None else read_cursor(text, kind)

    def count(self, default: int, most: int) -> int:
        text = self._query.get("count", str(default))
        if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not 1 <= int(text) <= most:
            raise InvalidError([Problem("count", f"expected a whole number from 1 to {most}")])
        return int(text)


def write_cursor(pk: int | None, kind: str = "j") -> str | None:
    """Return the opaque place to go on from; it stays right while rows come and go. `kind` is a letter for the list."""
    return None if pk is None else base64.urlsafe_b64encode(f"{kind}{pk}".encode()).rstrip(b"=").decode()


def read_cursor(text: str, kind: str = "j") -> int:
    try:
        place = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        match = re.fullmatch(rb"%s([0-9]{1,18})" % kind.encode(), place)
    except (binascii.Error, ValueError):
        match = None
    if match is None:
        raise InvalidError([Problem("cursor", "expected the next_cursor of an earlier answer, unchanged")])
    return int(match[1])


def all_masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers without any value: those of webhooks are there to carry secrets."""
    return dict.fromkeys(headers, MASK)


def job_view(job: Job, *, secrets: bool = True, deduplicated: bool = False) -> dict[str, Any]:
    """Return a job as the API shows it; without `secrets`, headers that carry some are masked.

    `deduplicated`: it is the answer to a create that asked for the same work.
    """
    waits = job.status is JobStatus.SCHEDULED
    body = job.body
    return {
        "id": job.id,
        "status": job.status,
        "url": job.url,
        "http_method": job.http_method,
        "scheduled_at": format_time(job.scheduled_ms),
        "headers": job.headers if secrets else masked(job.headers),
        "query": job.query,
        "body": None if body is None or job.body_is_json else body.decode(errors="replace"),
        "json": msgspec.Raw(body) if body is not None and job.body_is_json else None,
        "max_retries": job.max_retries,
        "backoff": backoff_view(job.backoff),
        "timeout_seconds": seconds(job.timeout_ms),
        "expires_at": maybe_time(job.expires_ms),
        "idempotency_key": job.idempotency_key,
        "dedupe_key": job.dedupe_key,
        "dedupe_window": None if job.dedupe_window_ms is None else format_duration(job.dedupe_window_ms),
        "deduplicated": deduplicated,
        "queue": job.queue,
        "name": job.name,
        "description": job.description,
        "tags": job.tags,
        "on_interrupt": job.on_interrupt,
        "success_statuses": statuses_view(job.success_statuses),
        **told_view(job, secrets=secrets),
        "created_at": format_time(job.created_ms),
        "updated_at": format_time(job.updated_ms),
        "started_at": maybe_time(job.started_ms),
        "finished_at": maybe_time(job.finished_ms),
        "next_attempt_at": maybe_time(job.next_attempt_ms) if waits and not job.is_held else None,
        "attempts": job.attempts,
        "executions": job.executions,
        "last_status_code": job.last_status_code,
        "last_error": job.last_error,
        "replay_of": job.replay_of,
        "source": job.source,
        "schedule_id": job.schedule_id,
        "buffer_id": job.buffer_id,
        "dialect": job.dialect,
        **more_view(job),
        "approved_at": maybe_time(job.approved_ms),
        "approved_by": job.approved_by,
        "actions": ACTIONS[job.status],
    }


def schedule_view(schedule: Schedule, *, secrets: bool = True) -> dict[str, Any]:
    """Return a schedule as the API shows it; without `secrets`, headers that carry some are masked."""
    body = schedule.body
    return {
        "id": schedule.id,
        "name": schedule.name,
        "status": schedule.status.value,
        "source": schedule.source.value,
        "cron": schedule.cron,
        "every": None if schedule.every_ms is None else format_duration(schedule.every_ms),
        "timezone": schedule.timezone,
        "dst": {"gap": schedule.dst_gap.value, "overlap": schedule.dst_overlap.value},
        "explanation": _explanation(schedule.cron, schedule.every_ms),
        "starts_at": maybe_time(schedule.starts_ms),
        "ends_at": maybe_time(schedule.ends_ms),
        "max_runs": schedule.max_runs,
        "jitter": format_duration(schedule.jitter_ms) if schedule.jitter_ms else None,
        "misfire": schedule.misfire.value,
        "misfire_grace": format_duration(schedule.misfire_grace_ms),
        "overlap": schedule.overlap.value,
        "paused": schedule.paused_ms is not None,
        "url": schedule.url,
        "http_method": schedule.http_method,
        "headers": schedule.headers if secrets else masked(schedule.headers),
        "query": schedule.query,
        "body": None if body is None or schedule.body_is_json else body.decode(errors="replace"),
        "json": msgspec.Raw(body) if body is not None and schedule.body_is_json else None,
        "max_retries": schedule.max_retries,
        "backoff": backoff_view(schedule.backoff),
        "timeout_seconds": seconds(schedule.timeout_ms),
        "queue": schedule.queue,
        "description": schedule.description,
        "tags": schedule.tags,
        "on_interrupt": schedule.on_interrupt.value,
        "success_statuses": statuses_view(schedule.success_statuses),
        **told_view(schedule, secrets=secrets),
        "dialect": schedule.dialect,
        **more_view(schedule),
        "state": None if schedule.state is None else msgspec.Raw(schedule.state),
        "created_at": format_time(schedule.created_ms),
        "updated_at": format_time(schedule.updated_ms),
        "paused_at": maybe_time(schedule.paused_ms),
        "next_run_at": maybe_time(schedule.next_run_ms),
        "last_run_at": maybe_time(schedule.last_run_ms),
        "last_status": schedule.last_status and schedule.last_status.value,
        "run_count": schedule.run_count,
        "error": schedule.error,
    }


def told_view(job: Job | Schedule | Buffer, *, secrets: bool) -> dict[str, Any]:
    """Return who is told of a job, or of what a schedule or a buffer makes."""
    headers = job.webhook_headers
    return {
        "webhook_url": job.webhook_url,
        "webhook_headers": headers if secrets or not headers else all_masked(headers),
        "webhook_events": None if job.webhook_url is None else job.webhook_events,
        "callback_url": job.callback_url,
    }


def more_view(job: Job | Schedule) -> dict[str, Any]:
    """Return what more is asked of a job, or of what a schedule makes."""
    return {
        "requires_approval": job.requires_approval,
        "dynamic_fields": job.dynamic_fields and job.dynamic_fields.value,
    }


def delivery_view(delivery: Delivery) -> dict[str, Any]:
    """Return a notice as the API shows it: never its headers or its body."""
    return {
        "id": delivery.id,
        "job_id": delivery.job_id,
        "event": delivery.event,
        "url": delivery.url,
        "status": delivery.status.value,
        "status_code": delivery.status_code,
        "attempts": delivery.attempts,
        "max_attempts": MOST_TRIES,
        "last_error": delivery.last_error,
        "next_retry_at": _unless_held(delivery.next_attempt_ms),
        "delivered_at": maybe_time(delivery.finished_ms) if delivery.status is DeliveryStatus.DELIVERED else None,
        "created_at": format_time(delivery.created_ms),
    }


def _unless_held(next_ms: int | None) -> str | None:
    """Write when a notice leaves; one that waits behind another has no time yet."""
    return None if next_ms is None or next_ms == HELD_MS else format_time(next_ms)


@lru_cache(maxsize=4096)
def _explanation(cron: str | None, every_ms: int | None) -> str | None:
    """Say in plain English when it runs; None for an expression that this version cannot read."""
    if every_ms is not None:
        return f"Every {format_duration(every_ms)}"
    try:
        return describe(cron_grammar.parse(cron or ""))
    except cron_grammar.CronError:
        return None


def missed_view(missed: Missed) -> dict[str, Any]:
    """Return due times that were not run as the API shows them."""
    return {
        "first_at": format_time(missed.first_ms),
        "last_at": format_time(missed.last_ms),
        "count": missed.count,
        "reason": missed.reason.value,
        "noted_at": format_time(missed.noted_ms),
    }


@lru_cache(maxsize=256)
def statuses_view(words: tuple[str, ...]) -> tuple[int | str, ...]:
    """Return statuses as they may be given: numbers where they are."""
    return tuple(int(word) if word.isdigit() else word for word in words)


def _timings(timings: Timings | None) -> dict[str, float | None] | None:
    """Return the phases in milliseconds, to the microsecond."""
    if timings is None:
        return None
    phases = msgspec.structs.asdict(timings)
    return {name: None if ms is None else round(ms, 3) for name, ms in phases.items()}


def execution_view(execution: Execution, *, secrets: bool = True) -> dict[str, Any]:
    """Return an attempt as the API shows it; `executed_at` is `started_at` by its older name."""
    headers = dict(execution.response_headers)
    ended_ms = execution.finished_ms
    known = execution.status is not ExecutionStatus.INTERRUPTED and ended_ms is not None
    return {
        "id": execution.id,
        "attempt_num": execution.attempt_num,
        "status": execution.status.value,
        "status_code": execution.status_code,
        "duration_ms": (ended_ms or 0) - execution.started_ms if known else None,
        "executed_at": format_time(execution.started_ms),
        "started_at": format_time(execution.started_ms),
        "finished_at": maybe_time(ended_ms),
        "late_ms": execution.late_ms,
        "error": execution.error,
        "error_code": execution.error_code and execution.error_code.value,
        "response_headers": headers if secrets else masked(headers),
        "response_body": None
        if execution.response_body is None
        else execution.response_body.decode("utf-8", "replace"),
        "response_truncated": execution.response_truncated,
        "timings": _timings(execution.timings),
        "request_body": None if execution.request_body is None else execution.request_body.decode("utf-8", "replace"),
    }


@lru_cache(maxsize=256)
def backoff_view(backoff: Backoff) -> object:
    """Return a backoff as it may be given: its kind alone where nothing else was."""
    if backoff == Backoff(kind=backoff.kind):
        return backoff.kind.value
    return {
        "kind": backoff.kind.value,
        "initial": backoff.initial_s,
        "max": backoff.max_s,
        "jitter": backoff.jitter,
        "delays": list(backoff.delays_s) or None,
    }


def seconds(ms: int) -> int | float:
    """Return milliseconds as seconds, whole where they are."""
    return ms // 1000 if ms % 1000 == 0 else ms / 1000
