"""Every call of Fliq's that is answered, and the document that tells of them. A test holds it against the routes."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from fliqd.api.openapi import describe
from fliqd.api.operations import Operation
from fliqd.api.shapes import REF, objects
from fliqd.dialects.fliq.documents import (
    ChannelState,
    Checkout,
    NewBuffer,
    NewChannel,
    NewItem,
    NewJob,
    NewSchedule,
    NewToken,
)
from fliqd.dialects.fliq.voice import Voice

PAGE: Final = ("limit", "cursor")
OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/jobs"): Operation("Make a job", {201: "Job", 200: "Job"}, NewJob),
    ("GET", "/jobs"): Operation("List jobs", {200: "Job"}, params=("status", *PAGE), many="jobs"),
    ("GET", "/jobs/{id}"): Operation("Read a job", {200: "Job"}),
    ("DELETE", "/jobs/{id}"): Operation("Cancel a waiting job", {204: None}),
    ("POST", "/jobs/{id}/replay"): Operation("Do a failed job again", {201: "Job"}),
    ("GET", "/jobs/{id}/executions"): Operation("List the attempts at a job", {200: "Execution"}, many="executions"),
    ("GET", "/jobs/{id}/attempts"): Operation("List the attempts at a job", {200: "Attempts"}),
    ("POST", "/schedules"): Operation("Make a schedule", {201: "Schedule"}, NewSchedule),
    ("GET", "/schedules"): Operation("List schedules", {200: "Schedule"}, params=PAGE, many="schedules"),
    ("GET", "/schedules/{id}"): Operation("Read a schedule", {200: "Schedule"}),
    ("DELETE", "/schedules/{id}"): Operation("Delete a schedule", {204: None}),
    ("POST", "/schedules/{id}/pause"): Operation("Pause a schedule", {204: None}),
    ("POST", "/schedules/{id}/resume"): Operation("Resume a schedule", {204: None}),
    ("GET", "/schedules/{id}/jobs"): Operation("List its jobs", {200: "Job"}, params=("status", *PAGE), many="jobs"),
    ("POST", "/buffers"): Operation("Make a buffer", {201: "Buffer"}, NewBuffer),
    ("GET", "/buffers"): Operation("List buffers", {200: "Buffer"}, params=PAGE, many="buffers"),
    ("GET", "/buffers/{id}"): Operation("Read a buffer", {200: "Buffer"}),
    ("DELETE", "/buffers/{id}"): Operation("Delete a buffer and its items", {204: None}),
    ("POST", "/buffers/{id}/pause"): Operation("Send no more items", {204: None}),
    ("POST", "/buffers/{id}/resume"): Operation("Go on sending", {204: None}),
    ("GET", "/buffers/{id}/stats"): Operation("Count its items", {200: "BufferStats"}),
    ("POST", "/buffers/{id}/items"): Operation("Push an item", {201: "Item", 200: "Item"}, NewItem),
    ("GET", "/buffers/{id}/items"): Operation("List items", {200: "Item"}, params=("status", *PAGE), many="items"),
    ("GET", "/buffers/{id}/items/{item_id}"): Operation("Read an item", {200: "Item"}),
    ("POST", "/buffers/{id}/items/{item_id}/replay"): Operation("Push a failed item again", {201: "Item"}),
    ("POST", "/alerts"): Operation("Make a channel for alerts", {201: "Channel"}, NewChannel),
    ("GET", "/alerts"): Operation("List channels", {200: "Channel"}, many="channels"),
    ("GET", "/alerts/{id}"): Operation("Read a channel", {200: "Channel"}),
    ("PATCH", "/alerts/{id}"): Operation("Enable or disable a channel", {204: None}, ChannelState),
    ("DELETE", "/alerts/{id}"): Operation("Delete a channel", {204: None}),
    ("GET", "/stats/jobs"): Operation("Sum up executions", {200: "JobStats"}, params=("days",)),
    ("GET", "/stats/usage"): Operation("Count executions a day", {200: "Usage"}, params=("days",)),
    ("GET", "/billing/balance"): Operation("Show a balance that never falls", {200: "Balance"}),
    ("POST", "/billing/checkout"): Operation("Buy nothing", {200: "Url"}, Checkout),
    ("GET", "/billing/transactions"): Operation(
        "List no transactions", {200: "Transaction"}, params=PAGE, many="transactions"
    ),
    ("GET", "/tokens"): Operation("List tokens", {200: "Tokens"}),
    ("POST", "/tokens"): Operation("Make a token", {201: "NewlyMadeToken"}, NewToken),
    ("DELETE", "/tokens/{id}"): Operation("Revoke a token", {204: None}),
    ("GET", "/signing-secret"): Operation("Show the signing secret", {200: "Secret"}),
    ("POST", "/signing-secret/rotate"): Operation("Make a new signing secret", {200: "Secret"}),
    ("GET", "/webhooks/deliveries"): Operation(
        "List webhook deliveries", {200: "Delivery"}, params=PAGE, many="deliveries"
    ),
    ("GET", "/health"): Operation("Whether it answers", {200: "Health"}),
    ("GET", "/openapi.json"): Operation("This document", {200: "Flat"}),
}
_REQUEST: Final = {
    "url": "text", "method": "text", "http_method": "text", "max_retries": "int", "timeout_seconds": "number",
    "backoff": "text", "webhook_url": "text?",
}  # fmt: skip
_SENT: Final = _REQUEST | {"headers": "map", "webhook_headers": "map?", "body": "text?"}
_TOKEN: Final = {"id": "text", "name": "text", "prefix": "text", "last_used_at": "time?", "created_at": "time"}
_FIELDS: Final[dict[str, dict[str, str]]] = {
    "Job": _SENT | {
        "id": "text", "user_id": "text", "status": "text", "scheduled_at": "time", "started_at": "time?",
        "completed_at": "time?", "attempts": "int", "retry_count": "int", "idempotency_key": "text?",
        "replay_of": "text?", "schedule_id": "text?", "last_error": "text?", "created_at": "time", "updated_at": "time",
    },
    "Execution": {
        "id": "text", "attempt_num": "int", "status": "text", "status_code": "int?", "duration_ms": "int?",
        "executed_at": "time",
    },
    "Attempt": {
        "id": "text", "job_id": "text", "attempt_num": "int", "worker_id": "text", "started_at": "time",
        "completed_at": "time?", "status_code": "int?", "error": "text?", "duration_ms": "int?",
    },
    "Schedule": _SENT | {
        "id": "text", "user_id": "text", "name": "text", "cron": "text", "cron_expr": "text", "status": "text",
        "paused": "bool", "next_run_at": "time?", "last_run_at": "time?", "created_at": "time", "updated_at": "time",
    },
    "Buffer": _REQUEST | {
        "id": "text", "name": "text", "rate_limit": "number", "paused": "bool", "created_at": "time",
        "updated_at": "time",
    },
    "BufferStats": {
        "pending": "int", "running": "int", "completed": "int", "failed": "int", "total": "int",
        "success_rate": "number",
    },
    "Item": {
        "id": "text", "buffer_id": "text", "status": "text", "status_code": "int?", "retry_count": "int",
        "max_retries": "int", "last_error": "text?", "replay_of": "text?", "created_at": "time",
        "completed_at": "time?",
    },
    "Channel": {
        "id": "text", "type": "text", "target": "text", "name": "text", "enabled": "bool", "verified": "bool",
        "created_at": "time", "updated_at": "time",
    },
    "JobStats": {
        "total_executions": "int", "succeeded": "int", "failed": "int", "success_rate": "number",
        "avg_duration_ms": "number", "p95_duration_ms": "number", "since_days": "int",
    },
    "Usage": {
        "buckets": "list", "total_job_executions": "int", "total_buffer_executions": "int", "balance": "int",
        "plan": "text", "since_days": "int",
    },
    "Balance": {"balance": "int", "plan": "text", "daily_limit": "int", "credits_per_dollar": "int"},
    "Url": {"url": "text"},
    "Transaction": {
        "id": "text", "amount": "int", "type": "text", "job_id": "text?", "stripe_payment_intent_id": "text?",
        "description": "text?", "created_at": "time",
    },
    "Token": _TOKEN,
    "NewlyMadeToken": _TOKEN | {"token": "text"},
    "Secret": {"secret": "text?", "created_at": "time?"},
    "Delivery": {
        "id": "text", "job_id": "text", "event": "text", "url": "text", "status": "text", "status_code": "int?",
        "attempts": "int", "max_attempts": "int", "last_error": "text?", "next_retry_at": "time?",
        "delivered_at": "time?", "created_at": "time",
    },
    "Health": {"status": "text", "version": "text", "time": "time"},
    "Flat": {},
}  # fmt: skip
_SAID: Final = {"code": {"type": "string"}, "message": {"type": "string"}}


@cache
def document(voice: Voice) -> dict[str, Any]:
    """Return the OpenAPI document of one voice."""
    told = describe(
        OPERATIONS,
        f"/{voice.name}",
        {"Error": _error(voice), **objects(_FIELDS), "Attempts": _list_of("Attempt"), "Tokens": _list_of("Token")},
        title="fliqd in the place of Fliq",
        description="What a client of Fliq may call. Unknown fields and query parameters are ignored.",
    )
    told["paths"][f"/{voice.name}/health"]["get"]["security"] = []
    return told


def _error(voice: Voice) -> Mapping[str, Any]:
    said = {"type": "object", "required": list(_SAID), "properties": _SAID}
    if voice.error_objects:
        return {"type": "object", "required": ["error"], "properties": {"error": said}}
    return said | {"required": ["error", *_SAID], "properties": {"error": {"type": "string"}, **_SAID}}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": REF.format(name=name)}}
