"""`/quedup/openapi.json`: the calls of `/quedup` in the words of OpenAPI."""

from functools import cache
from typing import Any, Final

from fliqd.api.openapi import describe
from fliqd.api.operations import Operation
from fliqd.api.shapes import REF, objects
from fliqd.dialects.quedup.documents import CreateJobRequest, UpdateJobRequest

DESCRIPTION: Final = "The API of QuedUp, spoken by fliqd. Times are RFC 3339, cron expressions are read in UTC."
REFUSALS: Final = (400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 431, 500, 503)
PART: Final[dict[str, dict[str, Any]]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 100},
    "offset": {"type": "integer", "minimum": 0, "default": 0},
}
_FIELDS: Final = {
    "Job": {
        "id": "text", "name": "text", "method": "text", "url": "text", "headers": "map", "body": "text",
        "schedule": "text?", "next_run_at": "time?", "status": "text",
    },
    "Run": {
        "id": "text", "job_id": "text", "attempt": "int", "status": "text", "scheduled_at": "time",
        "started_at": "time", "finished_at": "time?", "duration_ms": "int?", "response_status": "int?",
        "response_headers": "map", "response_body": "text?", "error": "text?", "next_retry_at": "time?",
    },
    "Error": {"error": "text"},
    "Flat": {},
}  # fmt: skip
OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/jobs"): Operation("Make a job", {200: "Job"}, CreateJobRequest, required=("name", "url", "method")),
    ("GET", "/jobs"): Operation("List jobs", {200: "Jobs"}, params=(*PART,), schemas=PART),
    ("GET", "/jobs/{id}"): Operation("Read a job", {200: "Job"}),
    ("PUT", "/jobs/{id}"): Operation("Change a job", {200: "Job"}, UpdateJobRequest),
    ("PATCH", "/jobs/{id}"): Operation("Change a job", {200: "Job"}, UpdateJobRequest),
    ("DELETE", "/jobs/{id}"): Operation("Delete a job", {200: "Job"}),
    ("POST", "/jobs/{id}/pause"): Operation("Pause a job", {200: "Job"}),
    ("POST", "/jobs/{id}/resume"): Operation("Resume a job", {200: "Job"}),
    ("POST", "/jobs/{id}/run"): Operation("Run a job now", {200: "Job"}),
    ("GET", "/jobs/{id}/runs"): Operation("List the runs of a job", {200: "Runs"}, params=(*PART,), schemas=PART),
    ("GET", "/runs/{id}"): Operation("Read a run", {200: "Run"}),
    ("GET", "/openapi.json"): Operation("This document", {200: "Flat"}),
}


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    lists = {f"{name}s": {"type": "array", "items": {"$ref": REF.format(name=name)}} for name in ("Job", "Run")}
    return describe(
        OPERATIONS,
        "/quedup",
        objects(_FIELDS) | lists,
        title="fliqd as QuedUp",
        description=DESCRIPTION,
        refusals=REFUSALS,
    )
