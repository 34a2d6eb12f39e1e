"""How `/dispatchq` refuses: the codes of DispatchQ, in its shape."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from fliqd.api.errors import FROM_AIOHTTP, document, json_response
from fliqd.dialects.dispatchq.documents import NAMES
from fliqd.dialects.refusals import problems_of, status_and_headers, told
from fliqd.errors import FliqdError, InvalidError

# What we call a refusal that has another name there; what has none keeps ours.
CODES: Final[Mapping[str, str]] = {
    "too_large": "payload_too_large",
    "unsupported_media_type": "invalid_content_type",
    "not_replayable": "not_retryable",
    "invalid_json": "invalid_request",
}
KEPT: Final = frozenset({"missing_body", "missing_field", "invalid_query", "invalid_cron", "invalid_delay"})


def refuse(err: Exception, request_id: str) -> web.Response:
    """Answer a request that ended with an error."""
    status, headers = status_and_headers(err)
    problems = problems_of(err, NAMES)
    content = document(_code(err), told(err, problems), request_id, problems)
    return json_response(content, status=status, headers=headers)


def _code(err: Exception) -> str:
    if isinstance(err, InvalidError):
        return CODES.get(err.code, err.code if err.code in KEPT else "validation_error")
    if isinstance(err, web.HTTPException):
        ours = FROM_AIOHTTP.get(err.status, ("bad_request", ""))[0]
        return CODES.get(ours, ours)
    code = err.code if isinstance(err, FliqdError) else "internal"
    return CODES.get(code, code)
