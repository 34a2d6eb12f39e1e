"""Errors in Booper's shape, as its reference recommends: a status, a message, and what is wrong field by field."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from fliqd.api.errors import FAILED, FROM_AIOHTTP, json_response, respond_to
from fliqd.errors import FliqdError, InvalidError, Problem

UNPROCESSABLE: Final = 422
# What is called otherwise in the drafts of the core.
NAMES: Final[Mapping[str, str]] = {
    "http_method": "method",
    "delay": "schedule_in",
    "starts_at": "scheduled_at",
    "every": "repeat_every",
    "json": "body",
}
_KEPT: Final = ("Allow", "Retry-After", "WWW-Authenticate")


def refusal(err: Exception, request_id: str) -> web.Response:
    """Return the answer to a request that ended with an error; one that is no one's but ours is not explained."""
    native = respond_to(err, request_id)
    status = native.status
    errors: dict[str, list[str]] = {}
    if isinstance(err, InvalidError):
        status = UNPROCESSABLE
        message, errors = _invalid(err)
    elif isinstance(err, FliqdError):
        message = str(err)
    elif isinstance(err, web.HTTPException):
        message = FROM_AIOHTTP[status][1] if status in FROM_AIOHTTP else err.reason
    else:
        message = FAILED
    headers = {name: native.headers[name] for name in _KEPT if name in native.headers}
    document = {"error": {"status": status, "message": message, "errors": errors}}
    return json_response(document, status=status, headers=headers)


def _invalid(err: InvalidError) -> tuple[str, dict[str, list[str]]]:
    """Return the message, and the problems by the names that the client knows; none where no field is at fault."""
    if err.code == "invalid_json":
        return f"the request {err.problems[0].problem}", {}
    errors: dict[str, list[str]] = {}
    for problem in err.problems:
        errors.setdefault(_name(problem), []).append(problem.problem)
    return "; ".join(f"{name}: {said}" for name, problems in errors.items() for said in problems), errors


def _name(problem: Problem) -> str:
    first, dot, rest = problem.field.partition(".")
    return NAMES.get(first, first) + dot + rest
