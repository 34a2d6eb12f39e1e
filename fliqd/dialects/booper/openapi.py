"""`/booper/openapi.json`: this API in the words of OpenAPI 3.1, made from the documents that requests are read with."""

from functools import cache, partial
from typing import Any, Final

from aiohttp import web

from fliqd.api.errors import json_response
from fliqd.api.openapi import describe
from fliqd.api.operations import Operation
from fliqd.api.shapes import objects
from fliqd.dialects.booper.documents import Create
from fliqd.dialects.booper.params import FEW, MOST
from fliqd.dialects.booper.routes import FARTHEST, FARTHEST_LOG, LOG_ORDERS, ORDERS, STATES

PAGE: Final = ("limit", "offset", "order_by")
_LIMIT: Final = {"type": "integer", "minimum": 1, "maximum": MOST, "default": FEW}
_OF_JOBS: Final[dict[str, dict[str, Any]]] = {
    "state": {"type": "string", "enum": [*STATES]},
    "limit": _LIMIT,
    "offset": {"type": "integer", "minimum": 0, "maximum": FARTHEST, "default": 0},
    "order_by": {"type": "string", "enum": [f"{field},{way}" for field in ORDERS for way in ("asc", "desc")]},
}
_OF_THE_LOG: Final[dict[str, dict[str, Any]]] = {
    "job_id": {"type": "string", "description": "the number of a job, or its UUID"},
    "limit": _LIMIT,
    "offset": {"type": "integer", "minimum": 0, "maximum": FARTHEST_LOG, "default": 0},
    "order_by": {"type": "string", "enum": [f"{field},{way}" for field in LOG_ORDERS for way in ("asc", "desc")]},
}
OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/api/jobs"): Operation(
        "Make a job, or a recurring one", {201: "Record", 200: "Record"}, Create, required=("url",)
    ),
    ("GET", "/api/jobs"): Operation("List jobs", {200: "Records"}, params=("state", *PAGE), schemas=_OF_JOBS),
    ("GET", "/api/jobs/{id}"): Operation("Read a job", {200: "Record"}),
    ("POST", "/api/jobs/{id}/cancel"): Operation("Cancel a job and its recurrence", {200: "Record"}),
    ("GET", "/api/logs"): Operation(
        "List what attempts did", {200: "Log"}, params=("job_id", *PAGE), schemas=_OF_THE_LOG
    ),
    ("GET", "/openapi.json"): Operation("This document", {200: "Document"}),
}
REFUSALS: Final = (400, 401, 403, 404, 405, 408, 409, 413, 415, 417, 421, 422, 431, 500, 503)
SHAPES: Final = objects({
    "Record": {"data": "Job"},
    "Records": {"data": "[Job]"},
    "Job": {
        "id": "text", "idempotency_key": "text?", "inserted_at": "text", "name": "text?", "description": "text?",
        "user_id": "text", "schedule_id": "text?", "job_id": "int", "job": "JobPart", "args": "Args",
    },
    "JobPart": {
        "id": "int", "state": "text", "inserted_at": "time", "scheduled_at": "time", "attempted_at": "time?",
        "completed_at": "time?", "cancelled_at": "time?", "discarded_at": "time?", "has_confict": "bool",
    },
    "Args": {
        "method": "text", "url": "text", "headers": "map", "body": "any", "query?": "any", "schedule_in?": "any",
        "scheduled_at?": "any", "repeat_every?": "any", "cron?": "text", "callback_url?": "text",
        "webhook_url?": "text",
    },
    "Log": {"data": "[Entry]"},
    "Entry": {
        "id": "text", "event": "text", "inserted_at": "time", "job_id": "int", "user_id": "text", "payload": "object",
    },
    "Error": {"error": "Fault"},
    "Fault": {"status": "int", "message": "text", "errors": "{texts}"},
    "Document": {"openapi": "text", "info": "object", "security": "list", "paths": "object", "components": "object"},
})  # fmt: skip


def add_routes(router: web.UrlDispatcher, prefix: str) -> None:
    """Add the routes under `prefix`."""
    router.add_get(f"{prefix}/openapi.json", partial(show, prefix))


async def show(prefix: str, _request: web.Request) -> web.Response:
    return json_response(document(prefix))


@cache
def document(prefix: str = "/booper") -> dict[str, Any]:
    """Return the document; its paths begin with `prefix`."""
    return describe(
        OPERATIONS,
        prefix,
        SHAPES,
        title="fliqd in the place of Booper",
        description="What docs.booper.dev describes, over the jobs of this daemon. A token may follow Bearer or Token.",
        refusals=REFUSALS,
    )
