"""Who calls, and whether they may."""

from collections.abc import Collection
from typing import Final, NamedTuple

from aiohttp import web
from multidict import MultiMapping

from fliqd.errors import ForbiddenError, UnauthorizedError
from fliqd.service.tokens import ADMIN, ALL_SCOPES, READ, WRITE, Tokens

OPEN: Final = frozenset({"/healthz", "/readyz", "/fliq/health", "/fliq/v1/health"})  # and nothing else
QUESTIONS: Final = frozenset({"/cron/preview", "/v1/cron/preview"})  # asked by POST, and change nothing


class Caller(NamedTuple):
    """The token of a request, and what it allows."""

    token_id: str | None
    scopes: tuple[str, ...]
    name: str

    @property
    def sees_secrets(self) -> bool:
        """Whether the values of headers that carry secrets are shown: not to those who can only read."""
        return WRITE in self.scopes or ADMIN in self.scopes


ANYONE: Final = Caller(None, ALL_SCOPES, "anyone")
BEARER: Final = frozenset({"bearer"})
CALLER: Final = web.RequestKey("caller", Caller)


def identify(headers: MultiMapping[str], tokens: Tokens | None, schemes: Collection[str] = BEARER) -> Caller:
    """Return who sent a request; raise UnauthorizedError. `tokens` is None where none are asked for.

    `schemes` are the words that may stand before a token, in lower case.
    """
    if tokens is None:
        return ANYONE
    given = headers.getall("Authorization", [""])
    if len(given) > 1:
        raise UnauthorizedError("the header Authorization comes more than once: send one")
    scheme, _, text = given[0].partition(" ")
    if scheme.lower() not in schemes or not text:
        raise UnauthorizedError(
            "send the header Authorization: Bearer <token>; the first token is in the file admin.token of the state"
            " directory (lost it? empty that file and restart fliqd: it writes a new one)"
        )
    token = tokens.who(text.strip())
    return Caller(token.id, token.scopes, token.name)


def check(caller: Caller, method: str, path: str) -> None:
    """Raise ForbiddenError unless the caller's scopes cover a request."""
    needed = READ if method in ("GET", "HEAD") or path in QUESTIONS else WRITE
    if needed not in caller.scopes and ADMIN not in caller.scopes:
        raise ForbiddenError(f"this token may not do that: it lacks the scope {needed}")


def require_admin(request: web.Request) -> None:
    """Raise ForbiddenError unless the caller may manage the daemon itself."""
    if ADMIN not in request[CALLER].scopes:
        raise ForbiddenError(f"this token may not do that: it lacks the scope {ADMIN}")
