"""What answers look like, as JSON Schema: a word for each field.

A word is one of the table, or names another shape; `[word]` is a list of it, `{word}` an object of it by any name, and
a `?` after it says that it may be null. A `?` after the field's name says that it may not be there.
"""

from collections.abc import Mapping
from typing import Any, Final

REF: Final = "#/components/schemas/{name}"
_WORDS: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
    "object": {"type": "object"},
    "list": {"type": "array"},
    "any": {},
    "statuses": {"type": "array", "items": {"type": ["integer", "string"]}},
}
_REQUEST: Final = {
    "url": "text", "http_method": "text", "headers": "map", "query": "map", "body": "text?", "json": "any",
    "max_retries": "int", "backoff": "Backoff", "timeout_seconds": "number", "queue": "text", "name": "text?",
    "description": "text?", "tags": "texts", "on_interrupt": "text", "success_statuses": "statuses",
    "requires_approval": "bool", "dynamic_fields": "text?", "dialect": "text",
}  # fmt: skip
_TOLD: Final = {"webhook_url": "text?", "webhook_headers": "map", "webhook_events": "texts?", "callback_url": "text?"}
_SUMS: Final = {
    "succeeded": "int", "failed": "int", "interrupted": "int", "success_rate": "number", "avg_duration_ms": "number",
    "p95_duration_ms": "number", "avg_late_ms": "number", "max_late_ms": "int",
}  # fmt: skip
_TOKEN: Final = {
    "id": "text", "name": "text", "prefix": "text", "scopes": "texts", "created_at": "time", "last_used_at": "time?",
}  # fmt: skip
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
        "timings": "Timings?", "request_body": "text?",
    },
    "Timings": {
        "dns_ms": "number?", "connect_ms": "number?", "tls_ms": "number?", "first_byte_ms": "number?",
        "total_ms": "number",
    },
    "Schedule": _REQUEST | _TOLD | {
        "id": "text", "name": "text", "status": "text", "source": "text", "cron": "text?", "every": "text?",
        "timezone": "text", "dst": "Dst", "explanation": "text?", "starts_at": "time?", "ends_at": "time?",
        "max_runs": "int?", "jitter": "text?", "misfire": "text", "misfire_grace": "text", "overlap": "text",
        "paused": "bool", "created_at": "time", "updated_at": "time", "paused_at": "time?", "next_run_at": "time?",
        "last_run_at": "time?", "last_status": "text?", "run_count": "int", "error": "text?", "state": "object?",
    },
    "Dst": {"gap": "text", "overlap": "text"},
    "Missed": {"first_at": "time", "last_at": "time", "count": "int", "reason": "text", "noted_at": "time"},
    "Buffer": _TOLD | {
        "id": "text", "name": "text", "source": "text", "url": "text", "http_method": "text", "headers": "map",
        "query": "map", "rate_limit": "number", "max_retries": "int", "backoff": "Backoff", "timeout_seconds": "number",
        "success_statuses": "statuses", "on_interrupt": "text", "description": "text?", "paused": "bool",
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
    "Token": _TOKEN,
    "NewToken": {**_TOKEN, "token": "text"},
    "Secret": {"secret": "text?", "created_at": "time?", "source": "text", "former": "[FormerSecret]"},
    "FormerSecret": {"expires_at": "time"},
    "Why": {"id": "text", "status": "text", "waits_for": "[Reason]"},
    "Reason": {"reason": "text", "message": "text", "until": "time?"},
    "Preview": {"runs": "texts", "description": "text"},
    "Runs": {"runs": "texts"},
    "JobResults": {"results": "[JobResult]"},
    "JobResult": {"status": "int", "job?": "Job", "error?": "Refusal"},
    "ItemResults": {"results": "[ItemResult]"},
    "ItemResult": {"status": "int", "item?": "Item", "error?": "Refusal"},
    "Config": {
        "file": "text?", "settings": "{{Setting}}", "restart_needed": "texts", "schedules": "texts",
        "jobs": "[DeclaredJob]", "alerts": "texts", "buffers": "texts", "queues": "texts",
    },
    "Setting": {"value": "any", "origin": "text"},
    "DeclaredJob": {"name": "text", "status": "text", "job_id": "text?", "scheduled_at": "time", "seen_at": "time"},
    "Reload": {
        "file": "text?", "created": "[Entry]", "updated": "[ChangedEntry]", "deleted": "[Entry]", "missed": "[Entry]",
        "unchanged": "int", "notes": "texts", "restart_needed": "texts",
    },
    "Entry": {"kind": "text", "name": "text"},
    "ChangedEntry": {"kind": "text", "name": "text", "changes": "{Change}"},
    "Change": {"from": "any", "to": "any"},
    "JobStats": {"total_executions": "int", **_SUMS, "since_days": "int", "complete": "bool"},
    "Usage": {
        "buckets": "[UsageBucket]", "total_job_executions": "int", "total_buffer_executions": "int", "balance": "int",
        "plan": "text", "since_days": "int",
    },
    "UsageBucket": {"date": "date", "job_executions": "int", "buffer_executions": "int"},
    "Timeline": {"buckets": "[TimelineBucket]", "bucket": "text", "since_days": "int", "complete": "bool"},
    "TimelineBucket": {"start": "time", "total_executions": "int", **_SUMS},
    "Health": {"status": "text"},
    "Status": {
        "version": "text", "status": "text", "problem": "text?", "time": "time", "started_at": "time",
        "uptime_seconds": "int", "pid": "int", "loop": "text", "listen": "texts", "tls": "CertificateStatus?",
        "in_flight": "int", "backlog": "int", "next_due_at": "time?", "store": "StoreStatus", "config": "text?",
    },
    "CertificateStatus": {"certificate": "text", "expires_at": "time"},
    "StoreStatus": {"kind": "text", "path": "text", "bytes": "int", "sqlite_version": "text", "checked_at": "time?"},
    "Summary": {
        "status": "text", "problem": "text", "version": "text", "uptime_seconds": "int", "jobs_waiting": "int",
        "jobs_awaiting_approval": "int", "jobs_running": "int", "jobs_finished_24h": "int", "jobs_failed_24h": "int",
        "items_waiting": "int", "items_running": "int", "items_failed_24h": "int", "next_due_at": "time?",
        "next_due_in_seconds": "int?", "late_seconds": "int", "db_bytes": "int",
    },
    "Document": {
        "openapi": "text", "info": "object", "security": "list", "paths": "object", "components": "object",
    },
    "Error": {"error": "Refusal"},
    "Refusal": {"code": "text", "message": "text", "details": "[Problem]", "request_id": "text?"},
    "Problem": {"field": "text", "problem": "text"},
}  # fmt: skip
# A kind alone, where nothing else was given.
_BACKOFF: Final = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "required": ["kind", "initial", "max", "jitter", "delays"],
            "properties": {
                "kind": {"type": "string"},
                **{name: {"type": ["number", "null"]} for name in ("initial", "max", "jitter")},
                "delays": {"type": ["array", "null"], "items": {"type": "number"}},
            },
        },
    ]
}


def schemas() -> dict[str, Any]:
    """Return the schema of each answer, and of what they are made of, by its name."""
    return {"Backoff": _BACKOFF, "Text": {"type": "string"}} | objects(_FIELDS)


def objects(fields: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    """Return the schemas of objects whose members are described by words, each `?` where it may be null."""
    return {name: _object(words) for name, words in fields.items()}


def _object(fields: dict[str, str]) -> dict[str, Any]:
    required = [name for name in fields if not name.endswith("?")]
    properties = {name.removesuffix("?"): _schema(word) for name, word in fields.items()}
    return {"type": "object", "required": required, "properties": properties}


def _schema(word: str) -> dict[str, Any]:
    if word.endswith("?"):
        schema = _schema(word[:-1])
        if "$ref" in schema:
            return {"anyOf": [schema, {"type": "null"}]}
        return {**schema, "type": [schema["type"], "null"]}
    if word.startswith("["):
        return {"type": "array", "items": _schema(word[1:-1])}
    if word.startswith("{"):
        return {"type": "object", "additionalProperties": _schema(word[1:-1])}
    return dict(_WORDS[word]) if word in _WORDS else {"$ref": REF.format(name=word)}
