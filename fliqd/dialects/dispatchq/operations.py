"""`/dispatchq/openapi.json`: the calls of `/dispatchq` in the words of OpenAPI."""

from functools import cache
from typing import Any, Final

from fliqd.api.openapi import describe
from fliqd.api.operations import Operation
from fliqd.api.shapes import objects
from fliqd.core.drafts import MAX_KEY
from fliqd.dialects.dispatchq.documents import STATUS, CreateJobRequest, ScheduleRequest

DESCRIPTION: Final = "The API of DispatchQ, spoken by fliqd. Times are ISO 8601, cron expressions are read in UTC."
REFUSALS: Final = (400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 431, 500, 503)
PART: Final[dict[str, dict[str, Any]]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    "offset": {"type": "integer", "minimum": 0, "default": 0},
}
FILTERS: Final[dict[str, dict[str, Any]]] = {
    "status": {"type": "string", "enum": list(STATUS)},
    "queue": {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"},
}
KEY: Final[dict[str, dict[str, Any]]] = {"Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY}}
_FIELDS: Final = {
    "Job": {
        "id": "text", "status": "text", "url": "text", "method": "text", "queue": "text", "attempts": "int",
        "max_attempts": "int", "created_at": "time", "required_approval": "bool", "deduplicated": "bool",
        "payload?": "any", "headers": "map", "dedupe_key": "text?", "delay_until": "time?", "started_at": "time?",
        "finished_at": "time?", "next_retry_at": "time?", "last_error": "text?", "response_code": "int?",
        "response_body": "any", "duration_ms": "int?", "approved_at": "time?", "approved_by": "text?",
        "callback_url": "text?", "schedule_id": "text?", "idempotency_key": "text?", "retries_remaining?": "int",
        "next_retry_in_seconds?": "int", "actions": "texts",
    },
    "Schedule": {
        "id": "text", "name": "text", "cron": "text", "url": "text", "method": "text", "payload?": "any",
        "headers": "map", "queue": "text", "max_attempts": "int", "requires_approval": "bool",
        "callback_url": "text?", "enabled": "bool", "next_run_at": "time?", "last_run_at": "time?",
        "created_at": "time", "updated_at": "time",
    },
    "Jobs": {"data": "[Job]", "total": "int", "limit": "int", "offset": "int"},
    "Schedules": {"data": "[Schedule]", "total": "int", "limit": "int", "offset": "int"},
    "Error": {"error": "Refusal"},
    "Refusal": {"code": "text", "message": "text", "details": "[Problem]", "request_id": "text"},
    "Problem": {"field": "text", "problem": "text"},
    "Flat": {},
}  # fmt: skip
OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/jobs"): Operation(
        "Make a job", {201: "Job", 200: "Job"}, CreateJobRequest, required=("url",), headers=(*KEY,), schemas=KEY
    ),
    ("GET", "/v1/jobs"): Operation("List jobs", {200: "Jobs"}, params=(*FILTERS, *PART), schemas=FILTERS | PART),
    ("GET", "/v1/jobs/{id}"): Operation("Read a job", {200: "Job"}),
    ("POST", "/v1/jobs/{id}/approve"): Operation("Approve a job", {200: "Job"}),
    ("POST", "/v1/jobs/{id}/cancel"): Operation("Cancel a job", {200: "Job"}),
    ("POST", "/v1/jobs/{id}/retry"): Operation("Do a job again, as a new one", {201: "Job"}),
    ("POST", "/v1/schedules"): Operation(
        "Make a schedule", {201: "Schedule"}, ScheduleRequest, required=("cron", "url")
    ),
    ("GET", "/v1/schedules"): Operation("List schedules", {200: "Schedules"}, params=(*PART,), schemas=PART),
    ("GET", "/v1/schedules/{id}"): Operation("Read a schedule", {200: "Schedule"}),
    ("PUT", "/v1/schedules/{id}"): Operation("Change a schedule", {200: "Schedule"}, ScheduleRequest),
    ("DELETE", "/v1/schedules/{id}"): Operation("Delete a schedule", {204: None}),
    ("GET", "/openapi.json"): Operation("This document", {200: "Flat"}),
}


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    return describe(
        OPERATIONS,
        "/dispatchq",
        objects(_FIELDS),
        title="fliqd as DispatchQ",
        description=DESCRIPTION,
        refusals=REFUSALS,
    )
