"""What is read from a request beside its body; what Fliq does not know, it does not look at."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from fliqd.api.auth import CALLER
from fliqd.api.documents import read_cursor
from fliqd.api.requests import json_body
from fliqd.core.decoding import decode
from fliqd.core.model import JobStatus
from fliqd.core.times import LAST_MS
from fliqd.dialects.fliq.documents import in_our_words, names_in
from fliqd.errors import InvalidError, Problem
from fliqd.store.base import Place

D = TypeVar("D", bound=msgspec.Struct)
MOST: Final = 100
USUAL: Final = 20
DAYS: Final = 30
MOST_DAYS: Final = 365
_LIMIT: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
_DAYS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class Part(NamedTuple):
    """Which part of a list is asked for."""

    limit: int
    before_pk: int | None


class Read(NamedTuple, Generic[D]):
    """A document, what is wrong with its fields by our names, and by which names it has them."""

    asked: D
    problems: list[Problem]
    names: dict[str, str]


async def read(request: web.Request, kind: type[D]) -> Read[D]:
    """Return the body of a request."""
    asked, problems = decode(await json_body(request), kind)
    return Read(asked, in_our_words(problems), names_in(asked, problems))


def token_of(request: web.Request) -> str | None:
    """Return the id of the token that calls."""
    return request[CALLER].token_id


def sees_secrets(request: web.Request) -> bool:
    """Whether the caller is shown the values of headers that carry secrets."""
    return request[CALLER].sees_secrets


def limit(request: web.Request, usual: int = USUAL) -> int:
    """Return how many rows are asked for; raise InvalidError."""
    text = request.query.get("limit", str(usual))
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MOST:
        raise InvalidError([Problem("limit", f"expected a whole number from 1 to {MOST}")])
    return int(text)


def part(request: web.Request, kind: str, usual: int = USUAL) -> Part:
    """Return which part of a list is asked for, one in the order of birth; raise InvalidError."""
    cursor = request.query.get("cursor")
    return Part(limit(request, usual), read_cursor(cursor, kind) if cursor else None)


def place(request: web.Request) -> Place | None:
    """Return after which job a page begins, None for the first page; raise InvalidError."""
    text = request.query.get("cursor")
    if not text:
        return None
    try:
        found = msgspec.json.decode(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), type=Place
        )
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        found = None
    if found is None or not 0 <= found.scheduled_ms <= LAST_MS or not 0 <= found.pk < 1 << 62:
        raise InvalidError([Problem("cursor", "expected the next_cursor of an earlier answer, unchanged")])
    return found


def write_place(place: Place | None) -> str | None:
    """Return the cursor of what comes beyond a place."""
    return None if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def status(request: web.Request, words: Mapping[str, JobStatus]) -> JobStatus | None:
    """Return the state that a list is of, None for any; raise InvalidError for a word that is none."""
    word = request.query.get("status")
    if not word:
        return None
    if word not in words:
        raise InvalidError([Problem("status", f"expected one of {', '.join(words)}")])
    return words[word]


def days(request: web.Request) -> int:
    """Return how many days to look back, put right where it is too little or too much; raise InvalidError."""
    text = request.query.get("days") or str(DAYS)
    if not _DAYS.fullmatch(text):
        raise InvalidError([Problem("days", f"expected a whole number from 1 to {MOST_DAYS}")])
    return max(1, min(int(text), MOST_DAYS))
