"""What handlers ask of a request: its JSON body, its parameters, its ids."""

from aiohttp import web

from fliqd.api.documents import Params
from fliqd.api.errors import NotJsonError
from fliqd.errors import NotFoundError
from fliqd.ids import id_pattern

_PATTERNS = {kind: id_pattern(kind) for kind in ("job",)}


async def json_body(request: web.Request) -> bytes:
    """Return the body of a request that says it is JSON; raise NotJsonError, or aiohttp's 413."""
    if request.content_type != "application/json":
        raise NotJsonError("send the header Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise NotJsonError("send the body as it is, without Content-Encoding")
    return await request.read()


def params(request: web.Request, *allowed: str) -> Params:
    """Return the query parameters; raise InvalidError for unknown or repeated ones."""
    return Params(request.query, allowed)


def path_id(request: web.Request, kind: str) -> str:
    """Return the id in the path; what cannot be one is not looked up: NotFoundError."""
    public_id = request.match_info["id"]
    if not _PATTERNS[kind].fullmatch(public_id):
        raise NotFoundError(kind, repr(public_id[:40]))
    return public_id
