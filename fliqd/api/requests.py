"""What handlers ask of a request: its JSON body, its parameters, its ids."""

import asyncio
from typing import Final, Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError
from msgspec import UnsetType
from multidict import MultiDict

from fliqd.api.documents import Params
from fliqd.api.errors import NotJsonError, SlowError
from fliqd.core.drafts import MAX_KEY
from fliqd.errors import InvalidError, NotFoundError, Problem
from fliqd.ids import id_pattern

BODY_S: Final = 60.0
KEY: Final = "Idempotency-Key"
NO_PARAMS: Final = Params(MultiDict(), ())
_PREFIXES: Final = {
    "job": "job",
    "schedule": "sched",
    "buffer": "buf",
    "item": "item",
    "channel": "alt",
    "token": "tok",
}
_PATTERNS: Final = {kind: id_pattern(prefix) for kind, prefix in _PREFIXES.items()}


class Keyed(Protocol):
    """A draft that may carry an idempotency key."""

    idempotency_key: str | UnsetType | None


async def json_body(request: web.Request) -> bytes:
    """Return the body of a request that says it is JSON; raise NotJsonError, or aiohttp's 413."""
    headers = request.headers
    if headers.get("Content-Type") != "application/json" and request.content_type != "application/json":
        raise NotJsonError("send the header Content-Type: application/json")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise NotJsonError("send the body as it is, without Content-Encoding")
    if request.content.is_eof():
        return await request.read()  # all of it came with the head
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise SlowError(f"the body did not come within {BODY_S:g} s") from None
    except (RequestPayloadError, ConnectionError):
        raise SlowError("the body broke off") from None


def params(request: web.Request, *allowed: str) -> Params:
    """Return the query parameters; raise InvalidError for unknown or repeated ones."""
    return Params(request.query, allowed) if request.query_string else NO_PARAMS


def take_key(draft: Keyed, request: web.Request) -> None:
    """Take the key of a header `Idempotency-Key` into a draft that names none or the same; raise InvalidError."""
    keys = request.headers.getall(KEY, ())
    if not keys:
        return
    if len(keys) > 1:
        raise InvalidError([Problem("idempotency_key", f"the header {KEY} comes more than once")])
    key = keys[0]
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidError([Problem("idempotency_key", f"the header must have 1 to {MAX_KEY} visible characters")])
    if isinstance(draft.idempotency_key, str) and draft.idempotency_key != key:
        raise InvalidError([Problem("idempotency_key", f"differs from the header {KEY}")])
    draft.idempotency_key = key


def refuse_key(request: web.Request, kind: str) -> None:
    """Refuse a header `Idempotency-Key` for many at once, which would make them the same; raise InvalidError."""
    if KEY in request.headers:
        text = f"the header {KEY} is for one; here give each {kind} an idempotency_key of its own"
        raise InvalidError([Problem("idempotency_key", text)])


def path_id(request: web.Request, kind: str, part: str = "id") -> str:
    """Return the id in a part of the path; what cannot be one is not looked up: NotFoundError."""
    public_id = request.match_info[part]
    if not _PATTERNS[kind].fullmatch(public_id):
        raise NotFoundError(kind, repr(public_id[:40]))
    return public_id
