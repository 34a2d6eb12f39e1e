"""Records as Fliq shows them: the fields of its pages and of its client library together."""

from typing import Any

from fliqd.api.documents import all_masked, delivery_view, seconds
from fliqd.core.buffers import Buffer
from fliqd.core.channels import Channel, shown
from fliqd.core.deliveries import Delivery, DeliveryStatus
from fliqd.core.headers import masked
from fliqd.core.model import FINAL, HELD_MS, Execution, ExecutionStatus, Job
from fliqd.core.rollups import Summary
from fliqd.core.schedule import Schedule
from fliqd.core.times import format_time
from fliqd.dialects.fliq import cron
from fliqd.dialects.fliq.voice import LIBRARY, Voice
from fliqd.dialects.words import body_of
from fliqd.service.tokens import PREFIX_SHOWN
from fliqd.store.base import Token

WORKER = "fliqd"


def time(ms: int) -> str:
    """Write an instant as Go does: `2026-04-01T09:00:00Z`, with a fraction only where there is one."""
    text = format_time(ms)
    return f"{text[:-1].rstrip('0').rstrip('.')}Z"


def maybe(ms: int | None) -> str | None:
    """Write an instant that may be unset."""
    return None if ms is None else time(ms)


def job_view(job: Job, voice: Voice, user_id: str, *, secrets: bool) -> dict[str, Any]:
    """Return a job; without `secrets`, headers that carry some are masked."""
    return {
        "id": job.id,
        "user_id": user_id,
        **_request_view(job, secrets=secrets),
        "body": body_of(job),
        "status": voice.words[job.status],
        "scheduled_at": time(job.scheduled_ms),
        "started_at": maybe(job.started_ms),
        "completed_at": maybe(job.finished_ms),
        "attempts": job.executions,
        "retry_count": retries_of(job),
        "idempotency_key": job.idempotency_key or _slot_key(job),
        "replay_of": job.replay_of,
        "schedule_id": job.schedule_id,
        "last_error": job.last_error,
        "created_at": time(job.created_ms),
        "updated_at": time(job.updated_ms),
    }


def attempt_view(job_id: str, execution: Execution) -> dict[str, Any]:
    """Return an attempt as the client library has it; one that a crash cut off has no end."""
    return {
        "id": execution.id,
        "job_id": job_id,
        "attempt_num": execution.attempt_num,
        "worker_id": WORKER,
        "started_at": time(execution.started_ms),
        "completed_at": None if _duration_ms(execution) is None else maybe(execution.finished_ms),
        "status_code": execution.status_code,
        "error": execution.error,
        "duration_ms": _duration_ms(execution),
    }


def execution_view(execution: Execution) -> dict[str, Any]:
    """Return an attempt as the pages show it."""
    status = execution.status
    return {
        "id": execution.id,
        "attempt_num": execution.attempt_num,
        "status": "failed" if status is ExecutionStatus.INTERRUPTED else status.value,
        "status_code": execution.status_code,
        "duration_ms": _duration_ms(execution),
        "executed_at": time(execution.started_ms),
    }


def schedule_view(schedule: Schedule, user_id: str, *, secrets: bool) -> dict[str, Any]:
    """Return a schedule; without `secrets`, headers that carry some are masked."""
    expression = cron.write(schedule.cron, schedule.every_ms, schedule.timezone)
    paused = schedule.paused_ms is not None
    return {
        "id": schedule.id,
        "user_id": user_id,
        "name": schedule.name,
        "cron": expression,
        "cron_expr": expression,
        **_request_view(schedule, secrets=secrets),
        "body": body_of(schedule),
        "status": "paused" if paused else "active",
        "paused": paused,
        "next_run_at": maybe(schedule.next_run_ms),
        "last_run_at": maybe(schedule.last_run_ms),
        "created_at": time(schedule.created_ms),
        "updated_at": time(schedule.updated_ms),
    }


def buffer_view(buffer: Buffer) -> dict[str, Any]:
    """Return a buffer, whose headers Fliq shows to nobody."""
    view = _request_view(buffer, secrets=False)
    for name in ("headers", "webhook_headers"):
        del view[name]
    rate = buffer.rate_limit
    return {
        "id": buffer.id,
        "name": buffer.name,
        **view,
        "rate_limit": int(rate) if rate.is_integer() else rate,
        "paused": buffer.paused_ms is not None,
        "created_at": time(buffer.created_ms),
        "updated_at": time(buffer.updated_ms),
    }


def item_view(item: Job) -> dict[str, Any]:
    """Return an item of a buffer."""
    return {
        "id": item.id,
        "buffer_id": item.buffer_id,
        "status": LIBRARY.words[item.status],
        "status_code": item.last_status_code,
        "retry_count": retries_of(item),
        "max_retries": item.max_retries,
        "last_error": item.last_error,
        "replay_of": item.replay_of,
        "created_at": time(item.created_ms),
        "completed_at": maybe(item.finished_ms),
    }


def channel_view(channel: Channel, *, secrets: bool) -> dict[str, Any]:
    """Return a channel; what its target is, is a secret, and of one from the configuration file for good."""
    return {
        "id": channel.id,
        "type": channel.type.value,
        "target": channel.target if secrets and not channel.has_references else shown(channel),
        "name": channel.name or "",
        "enabled": channel.enabled,
        "verified": True,
        "created_at": time(channel.created_ms),
        "updated_at": time(channel.updated_ms),
    }


def stats_view(summary: Summary, days: int) -> dict[str, Any]:
    """Return what executions came to."""
    return {
        "total_executions": summary.total,
        "succeeded": summary.succeeded,
        "failed": summary.failed,
        "success_rate": summary.success_rate,
        "avg_duration_ms": summary.avg_duration_ms,
        "p95_duration_ms": summary.p95_duration_ms,
        "since_days": days,
    }


def notice_view(delivery: Delivery) -> dict[str, Any]:
    """Return a webhook's delivery."""
    delivered = delivery.status is DeliveryStatus.DELIVERED
    next_ms = delivery.next_attempt_ms
    return delivery_view(delivery) | {
        "next_retry_at": None if next_ms == HELD_MS else maybe(next_ms),
        "delivered_at": maybe(delivery.finished_ms) if delivered else None,
        "created_at": time(delivery.created_ms),
    }


def retries_of(job: Job) -> int:
    """Return how many of the attempts that count were retries, the one that is to come included."""
    return max(0, job.attempts - 1) if job.status in FINAL else job.attempts


def _request_view(record: Job | Schedule | Buffer, *, secrets: bool) -> dict[str, Any]:
    told = record.webhook_headers if record.webhook_url is not None else None
    return {
        "url": record.url,
        "method": record.http_method,
        "http_method": record.http_method,
        "headers": record.headers if secrets else masked(record.headers),
        "max_retries": record.max_retries,
        "timeout_seconds": seconds(record.timeout_ms),
        "backoff": record.backoff.kind.value,
        "webhook_url": record.webhook_url,
        "webhook_headers": told if secrets or not told else all_masked(told),
    }


def _slot_key(job: Job) -> str | None:
    """Return the key that Fliq gives the job of a due time, which none but it can have."""
    return None if job.slot_ms is None else f"sched:{job.schedule_id}:{job.slot_ms // 1000}"


def _duration_ms(execution: Execution) -> int | None:
    ended_ms = execution.finished_ms
    known = execution.status is not ExecutionStatus.INTERRUPTED and ended_ms is not None
    return (ended_ms or 0) - execution.started_ms if known else None


def token_view(token: Token, text: str) -> dict[str, Any]:
    """Return a token, of whose `text` a part is shown, so that people can tell theirs."""
    return {
        "id": token.id,
        "name": token.name,
        "prefix": text[:PREFIX_SHOWN],
        "last_used_at": maybe(token.last_used_ms),
        "created_at": time(token.created_ms),
    }
