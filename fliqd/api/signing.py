"""`/signing-secret`: what requests are signed with. For tokens with the scope admin."""

from functools import partial
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from fliqd.api.auth import require_admin
from fliqd.api.errors import json_response
from fliqd.api.requests import json_body, params
from fliqd.core.decoding import decode
from fliqd.core.durations import UNIT_MS, parse_duration
from fliqd.core.times import format_time, maybe_time
from fliqd.errors import InvalidError, Problem

LONGEST_OVERLAP_MS: Final = 30 * UNIT_MS["d"]


class Shown(Protocol):
    """What may be seen of the secrets."""

    @property
    def secret(self) -> str | None: ...
    @property
    def created_ms(self) -> int | None: ...
    @property
    def former_until_ms(self) -> tuple[int, ...]: ...


class Secrets(Protocol):
    """What keeps them."""

    def show(self) -> Shown: ...
    async def rotate(self, overlap_ms: int) -> Shown: ...


class RotateDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of `POST /v1/signing-secret/rotate`."""

    overlap: str | int | float | None = None


def add_routes(router: web.UrlDispatcher, prefix: str, secrets: Secrets) -> None:
    """Add the routes under `prefix`."""
    router.add_get(f"{prefix}/signing-secret", partial(show, secrets))
    router.add_post(f"{prefix}/signing-secret/rotate", partial(rotate, secrets))


async def show(secrets: Secrets, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    return _answer(secrets.show())


async def rotate(secrets: Secrets, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    overlap_ms = _overlap_ms(await json_body(request)) if request.can_read_body else 0
    return _answer(await secrets.rotate(overlap_ms))


def _overlap_ms(body: bytes) -> int:
    draft, found = decode(body, RotateDraft)
    problems = list(found)
    overlap_ms = 0
    if not problems and draft.overlap is not None:
        try:
            overlap_ms = parse_duration(draft.overlap)
            if overlap_ms > LONGEST_OVERLAP_MS:
                problems.append(Problem("overlap", "expected a duration of at most 30d"))
        except ValueError as err:
            problems.append(Problem("overlap", str(err)))
    if problems:
        raise InvalidError(problems)
    return overlap_ms


def _answer(shown: Shown) -> web.Response:
    view: dict[str, Any] = {
        "secret": shown.secret,
        "created_at": maybe_time(shown.created_ms),
        "source": "config" if shown.secret is None else "file",
        "former": [{"expires_at": format_time(until_ms)} for until_ms in shown.former_until_ms],
    }
    return json_response(view, headers={"Cache-Control": "no-store"})
