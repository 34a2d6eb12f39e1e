"""The one table from errors to HTTP, and the one shape they have."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from fliqd.api.origin import MisdirectedError
from fliqd.errors import (
    ConflictError,
    FliqdError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    Problem,
    StoreIOError,
    StoreUnusableError,
    UnauthorizedError,
    UnavailableError,
)


class TooLargeError(FliqdError):
    """More than the API takes."""

    code = "too_large"


class SlowError(FliqdError):
    """A body that did not come in time."""

    code = "request_timeout"


class NotJsonError(FliqdError):
    """A body that does not say it is JSON, or is packed."""

    code = "unsupported_media_type"


STATUS: Final[Mapping[type, int]] = {
    InvalidError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    NotJsonError: 415,
    MisdirectedError: 421,
    SlowError: 408,
    UnavailableError: 503,
    StoreIOError: 503,
    StoreUnusableError: 503,
    FliqdError: 500,
}
# aiohttp's own refusals, by their status
FROM_AIOHTTP: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "this is not a valid HTTP request"),
    404: ("not_found", "there is no such path; GET /v1/status answers on this API"),
    405: ("method_not_allowed", "this path does not take that method; see the Allow header"),
    413: ("too_large", "the body is larger than server.max_body allows"),
    417: ("bad_expect", "no expectation but 100-continue is met"),
}


def status_of(err: FliqdError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS[cls] for cls in type(err).__mro__ if cls in STATUS)


def document(code: str, message: str, request_id: str | None, problems: Sequence[Problem] = ()) -> dict[str, Any]:
    """Return the error document; its shape is the same for every error there is."""
    details = [{"field": problem.field, "problem": problem.problem} for problem in problems]
    return {"error": {"code": code, "message": message, "details": details, "request_id": request_id}}


def error_document(err: FliqdError, request_id: str | None) -> dict[str, Any]:
    """Return the document of an error that fliqd raised."""
    problems = err.problems if isinstance(err, InvalidError) else ()
    return document(err.code, str(err), request_id, problems)


def respond_to(err: Exception, request_id: str) -> web.Response:
    """Return the answer to a request that ended with an error; one that is no one's but ours is not explained."""
    if isinstance(err, FliqdError):
        return respond(err, request_id)
    if isinstance(err, web.HTTPException):
        return respond_to_aiohttp(err, request_id)
    return json_response(document("internal", FAILED, request_id), status=500)


def respond(err: FliqdError, request_id: str) -> web.Response:
    """Return the answer to an error that fliqd raised."""
    headers = {}
    if isinstance(err, UnavailableError | StoreIOError | StoreUnusableError):
        headers["Retry-After"] = str(err.retry_after_s)
    if isinstance(err, UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(error_document(err, request_id), status=status_of(err), headers=headers)


def respond_to_aiohttp(err: web.HTTPException, request_id: str) -> web.Response:
    """Return aiohttp's refusal in our shape."""
    code, message = FROM_AIOHTTP.get(err.status, ("bad_request", err.reason))
    headers = {name: err.headers[name] for name in ("Allow",) if name in err.headers}
    return json_response(document(code, message, request_id), status=err.status, headers=headers)


FAILED: Final = "fliqd failed; its log says why, under this request_id"
_encode: Final = msgspec.json.Encoder().encode


def json_response(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=_encode(content), status=status, headers=headers, content_type="application/json")
