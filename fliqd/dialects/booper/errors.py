"""Errors in Booper's shape, as its reference recommends: a status, a message, and what is wrong field by field."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from fliqd.api.errors import json_response
from fliqd.dialects.refusals import problems_of, status_and_headers, told
from fliqd.errors import InvalidError

UNPROCESSABLE: Final = 422
# What is called otherwise in the drafts of the core.
NAMES: Final[Mapping[str, str]] = {
    "http_method": "method",
    "delay": "schedule_in",
    "starts_at": "scheduled_at",
    "every": "repeat_every",
    "json": "body",
}


def refusal(err: Exception) -> web.Response:
    """Return the answer to a request that ended with an error; one that is no one's but ours is not explained."""
    problems = problems_of(err, NAMES)
    status, headers = status_and_headers(err)
    message, errors = told(err, problems), {}
    if isinstance(err, InvalidError):
        status = UNPROCESSABLE
        if err.code == "invalid_json":  # which is the fault of no field, although one is called body
            message = f"the request {problems[0].problem}"
        else:
            errors = {one.field: [same.problem for same in problems if same.field == one.field] for one in problems}
    document = {"error": {"status": status, "message": message, "errors": errors}}
    return json_response(document, status=status, headers=headers)
