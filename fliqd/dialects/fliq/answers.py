"""How an answer leaves: with the headers that Fliq puts on every one, an error in the shape of its voice."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from fliqd.api.errors import FAILED, FROM_AIOHTTP, json_response
from fliqd.dialects.fliq.voice import Voice
from fliqd.dialects.refusals import status_and_headers
from fliqd.errors import FliqdError, InvalidError, Problem

# Fliq's but for HSTS, which is for a proxy with TLS to say (RFC 6797, 7.2: not over a connection without).
ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# What Fliq says, where it is known; ours says more, and stands in `message`.
TEXTS: Final = {
    "unauthorized": "Unauthorized",
    "not_cancellable": "Job cannot be cancelled in its current state",
    "invalid_status": "Invalid status value",
}
CRON: Final = "Invalid cron expression"
NO_PATH: Final = "there is no such path; openapi.json beside it names those there are"


def answer(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return json_response(content, status=status, headers=ALWAYS | dict(headers or {}))


def done() -> web.Response:
    """Return the answer that has nothing to say."""
    return web.Response(status=204, headers=ALWAYS)


def refuse(voice: Voice, err: Exception) -> web.Response:
    """Return the answer to a request that ended with an error; one that is no one's but ours is not explained."""
    status, headers = status_and_headers(err)
    code, message = "internal", FAILED
    if isinstance(err, FliqdError):
        code, message = err.code, _message(err)
    elif isinstance(err, web.HTTPException):
        code, message = FROM_AIOHTTP.get(status, ("bad_request", err.reason))
        message = NO_PATH if code == "not_found" else message
    said = {"code": code, "message": message}
    content = {"error": said} if voice.error_objects else {"error": _text(err, code, message), **said}
    return answer(content, status=status, headers=headers)


def _text(err: Exception, code: str, message: str) -> str:
    if isinstance(err, InvalidError) and err.problems[0].field.startswith("cron") and not _is_sentence(err.problems[0]):
        return CRON
    return TEXTS.get(code, message)


def _message(err: FliqdError) -> str:
    if not isinstance(err, InvalidError):
        return str(err)
    return "; ".join(
        f"{one.field} {one.problem.partition(' (')[0]}" if _is_sentence(one) else str(one) for one in err.problems
    )


def _is_sentence(problem: Problem) -> bool:
    """Whether a problem goes on from its field's name, as Fliq's texts do: `scheduled_at must be in the future`."""
    return problem.problem.startswith(("is required", "must be"))
