"""What answers look like, as JSON Schema: a word for each field, its `?` for one that may be null."""

from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
    "object": {"type": "object"},
    "list": {"type": "array"},
    "any": {},
}
_REQUEST: Final = {
    "url": "text", "http_method": "text", "headers": "map", "query": "map", "body": "text?", "json": "any",
    "max_retries": "int", "backoff": "any", "timeout_seconds": "number", "queue": "text", "name": "text?",
    "description": "text?", "tags": "texts", "on_interrupt": "text", "success_statuses": "list",
    "requires_approval": "bool", "dynamic_fields": "text?",
}  # fmt: skip
_TOLD: Final = {"webhook_url": "text?", "webhook_headers": "map", "webhook_events": "texts?", "callback_url": "text?"}
_FIELDS: Final[dict[str, dict[str, str]]] = {
    "Job": _REQUEST | _TOLD | {
        "id": "text", "status": "text", "scheduled_at": "time", "expires_at": "time?", "idempotency_key": "text?",
        "created_at": "time", "updated_at": "time", "started_at": "time?", "finished_at": "time?",
        "next_attempt_at": "time?", "attempts": "int", "executions": "int", "last_status_code": "int?",
        "last_error": "text?", "replay_of": "text?", "source": "text", "schedule_id": "text?", "buffer_id": "text?",
        "dedupe_key": "text?", "dedupe_window": "text?", "deduplicated": "bool",
        "approved_at": "time?", "approved_by": "text?", "actions": "texts",
    },
    "Execution": {
        "id": "text", "attempt_num": "int", "status": "text", "status_code": "int?", "duration_ms": "int?",
        "executed_at": "time", "started_at": "time", "finished_at": "time?", "late_ms": "int", "error": "text?",
        "error_code": "text?", "response_headers": "map", "response_body": "text?", "response_truncated": "bool",
        "timings": "object?", "request_body": "text?",
    },
    "Schedule": _REQUEST | _TOLD | {
        "id": "text", "name": "text", "status": "text", "source": "text", "cron": "text?", "every": "text?",
        "timezone": "text", "dst": "object", "explanation": "text?", "starts_at": "time?", "ends_at": "time?",
        "max_runs": "int?", "jitter": "text?", "misfire": "text", "misfire_grace": "text", "overlap": "text",
        "paused": "bool", "created_at": "time", "updated_at": "time", "paused_at": "time?", "next_run_at": "time?",
        "last_run_at": "time?", "last_status": "text?", "run_count": "int", "error": "text?", "state": "object?",
    },
    "Missed": {"first_at": "time", "last_at": "time", "count": "int", "reason": "text", "noted_at": "time"},
    "Buffer": _TOLD | {
        "id": "text", "name": "text", "source": "text", "url": "text", "http_method": "text", "headers": "map",
        "query": "map", "rate_limit": "number", "max_retries": "int", "backoff": "any", "timeout_seconds": "number",
        "success_statuses": "list", "on_interrupt": "text", "description": "text?", "paused": "bool",
        "paused_at": "time?", "created_at": "time", "updated_at": "time",
    },
    "BufferStats": {
        "pending": "int", "running": "int", "completed": "int", "failed": "int", "total": "int",
        "success_rate": "number",
    },
    "Item": {
        "id": "text", "buffer_id": "text", "status": "text", "status_code": "int?", "headers": "map", "body": "text?",
        "idempotency_key": "text?", "retry_count": "int", "max_retries": "int", "executions": "int",
        "last_error": "text?", "replay_of": "text?", "created_at": "time", "started_at": "time?",
        "completed_at": "time?", "next_attempt_at": "time?",
    },
    "Queue": {
        "name": "text", "source": "text", "concurrency": "int?", "rate": "number?", "paused": "bool",
        "paused_at": "time?", "waiting": "int", "running": "int",
    },
    "Channel": {
        "id": "text", "type": "text", "target": "text", "name": "text?", "enabled": "bool", "source": "text",
        "created_at": "time", "updated_at": "time",
    },
    "Tested": {"delivered": "bool", "status_code": "int?", "error": "text?"},
    "Delivery": {
        "id": "text", "job_id": "text", "event": "text", "url": "text", "status": "text", "status_code": "int?",
        "attempts": "int", "max_attempts": "int", "last_error": "text?", "next_retry_at": "time?",
        "delivered_at": "time?", "created_at": "time",
    },
    "Token": {
        "id": "text", "name": "text", "prefix": "text", "scopes": "texts", "created_at": "time",
        "last_used_at": "time?",
    },
    "NewToken": {"id": "text", "name": "text", "scopes": "texts", "created_at": "time", "token": "text"},
    "Why": {"id": "text", "status": "text", "waits_for": "list"},
    "Preview": {"runs": "texts", "description": "text"},
    "Runs": {"runs": "texts"},
    "Results": {"results": "list"},
    "Config": {
        "file": "text?", "settings": "object", "restart_needed": "texts", "schedules": "texts", "jobs": "list",
        "alerts": "texts", "buffers": "texts", "queues": "texts",
    },
    "Reload": {
        "file": "text?", "created": "list", "updated": "list", "deleted": "list", "missed": "list", "unchanged": "int",
        "notes": "texts", "restart_needed": "texts",
    },
    "JobStats": {"total_executions": "int", "since_days": "int", "complete": "bool"},
    "Usage": {
        "buckets": "list", "total_job_executions": "int", "total_buffer_executions": "int", "balance": "int",
        "plan": "text", "since_days": "int",
    },
    "Timeline": {"buckets": "list", "bucket": "text", "since_days": "int", "complete": "bool"},
    "Health": {"status": "text"},
    "Status": {
        "version": "text", "status": "text", "problem": "text?", "time": "time", "started_at": "time",
        "uptime_seconds": "int", "pid": "int", "listen": "texts", "in_flight": "int", "backlog": "int",
        "next_due_at": "time?", "store": "object", "config": "text?",
    },
    "Flat": {},
}  # fmt: skip

ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "request_id"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "problem"],
                        "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
                    },
                },
                "request_id": {"type": ["string", "null"]},
            },
        }
    },
}


def schemas() -> dict[str, Any]:
    """Return the schema of each answer by its name."""
    return {"Error": ERROR} | objects(_FIELDS)


def objects(fields: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    """Return the schemas of objects whose members are described by words, each `?` where it may be null."""
    return {name: _object(words) for name, words in fields.items()}


def _object(fields: dict[str, str]) -> dict[str, Any]:
    properties = {name: _schema(word) for name, word in fields.items()}
    return {"type": "object", "required": list(fields), "properties": properties}


def _schema(word: str) -> dict[str, Any]:
    schema = dict(_WORDS[word.removesuffix("?")])
    if word.endswith("?"):
        schema["type"] = [schema["type"], "null"]
    return schema
