"""`/openapi.json`: the API in the words of OpenAPI 3.1, made from the documents that requests are decoded with."""

import re
from collections.abc import Collection, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from fliqd import __version__
from fliqd.api import auth
from fliqd.api.buffers import STATUSES
from fliqd.api.errors import json_response
from fliqd.api.jobs import STATUS_WORDS, TIMES
from fliqd.api.operations import OPERATIONS, Operation
from fliqd.api.requests import params
from fliqd.api.shapes import REF, schemas
from fliqd.api.stats import BUCKETS, MOST_TEXT_DAYS
from fliqd.core.deliveries import DeliveryStatus
from fliqd.core.drafts import MAX_KEY
from fliqd.core.events import EventType
from fliqd.core.model import Source
from fliqd.core.schedule import ScheduleStatus

JSON: Final = "application/json"
DESCRIPTION: Final = 'Calls HTTP endpoints on time. Times are RFC 3339, durations texts such as "1h30m" or seconds.'
_PARAMS: Final[dict[str, dict[str, Any]]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    "count": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5},
    "days": {"type": "integer", "minimum": 0, "maximum": MOST_TEXT_DAYS},
    "bucket": {"type": "string", "enum": list(BUCKETS)},
    "source": {"type": "string", "enum": [*Source]},
    "type": {"type": "array", "items": {"type": "string", "enum": [*EventType]}, "minItems": 1},
    "Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
    "Last-Event-ID": {"type": "string", "pattern": "^evt_[0-9a-z]{26}$"},
    **{name: {"type": "string", "format": "date-time"} for name in TIMES},
}
# The words of the filter `status`, by what is listed.
_STATUSES: Final[dict[str, list[str]]] = {
    "jobs": [*STATUS_WORDS],
    "schedules": [*ScheduleStatus],
    "items": [*STATUSES],
    "deliveries": [*DeliveryStatus],
}
# What any call may be answered with besides its own answers.
REFUSALS: Final = (400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 431, 500, 503)


def add_routes(router: web.UrlDispatcher, prefix: str) -> None:
    """Add the routes under `prefix`."""
    router.add_get(f"{prefix}/openapi.json", show)


async def show(request: web.Request) -> web.Response:
    params(request)
    return json_response(document())


@cache
def document() -> dict[str, Any]:
    """Return the document; the paths are those under `/v1`, and work without it too."""
    return describe(OPERATIONS, "/v1", schemas(), title="fliqd", description=DESCRIPTION)


def describe(
    operations: Mapping[tuple[str, str], Operation],
    prefix: str,
    shapes: Mapping[str, Any],
    *,
    title: str,
    description: str,
    refusals: Collection[int] = REFUSALS,
) -> dict[str, Any]:
    """Return the document of an API: its calls by method and path, whose answers are among `shapes`, schemas by name.

    `refusals` are the statuses that any call may be answered with; the shape of those is the one called `Error`.
    """
    bodies = sorted(
        {operation.body for operation in operations.values() if operation.body}, key=lambda one: one.__name__
    )
    _, components = msgspec.json.schema_components(bodies, ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in operations.items():
        where = path if path in auth.OPEN else f"{prefix}{path}"
        paths.setdefault(where, {})[method.lower()] = _operation(method, path, operation, refusals)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": description,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**components, **shapes},
            "responses": {
                str(status): {
                    "description": HTTPStatus(status).phrase,
                    "content": {"application/json": {"schema": {"$ref": REF.format(name="Error")}}},
                }
                for status in refusals
            },
        },
    }


def _operation(method: str, path: str, operation: Operation, refusals: Collection[int]) -> dict[str, Any]:
    named = re.findall(r"\{(\w+)\}", path)
    taken: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named
    ]
    taken += [_param(name, "query", operation) for name in operation.params]
    taken += [_param(name, "header", operation) for name in operation.headers]
    told: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "summary": operation.summary,
        "tags": [path.split("/")[1]],
        "responses": {str(status): _answer(operation, status) for status in operation.answers},
    }
    told["responses"] |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in refusals}
    if path in auth.OPEN:
        told["security"] = []
    if taken:
        told["parameters"] = taken
    if operation.body is not None:
        told["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": _body(operation, operation.body)}},
        }
    return told


def _param(name: str, where: str, operation: Operation) -> dict[str, Any]:
    schema = operation.schemas.get(name) or _PARAMS.get(name, {"type": "string"})
    if name == "status" and name not in operation.schemas:
        schema = {"type": "string", "enum": _STATUSES[operation.many]}
    several = {"style": "form", "explode": False} if schema["type"] == "array" else {}  # with commas between
    return {"name": name, "in": where, "schema": schema, **several}


def _body(operation: Operation, kind: type) -> dict[str, Any]:
    one: dict[str, Any] = {"$ref": REF.format(name=kind.__name__)}
    if operation.required:
        one["required"] = list(operation.required)
    if not operation.batch:
        return one
    items = {"type": "array", "items": one, "minItems": 1, "maxItems": 1000}
    many = {"type": "object", "required": [operation.batch], "properties": {operation.batch: items},
            "additionalProperties": False}  # fmt: skip
    return many if operation.batch_alone else {"anyOf": [one, many]}


def _answer(operation: Operation, status: int) -> dict[str, Any]:
    name = operation.answers[status]
    told: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if name is None:
        return told
    schema: dict[str, Any] = {"$ref": REF.format(name=name)}
    if operation.many:
        schema = {
            "type": "object",
            "required": [operation.many, *(["next_cursor"] if "cursor" in operation.params else ())],
            "properties": {
                operation.many: {"type": "array", "items": schema},
                "next_cursor": {"type": ["string", "null"]},
            },
        }
    elif operation.batch_answer and status == HTTPStatus.OK:
        schema = {"anyOf": [schema, {"$ref": REF.format(name=operation.batch_answer)}]}
    return told | {"content": {operation.media: {"schema": schema}}}
