"""`/tokens`: who may call. For tokens with the scope admin."""

from functools import partial
from typing import Any, Literal

import msgspec
from aiohttp import web

from fliqd.api.auth import require_admin
from fliqd.api.errors import json_response
from fliqd.api.requests import json_body, params, path_id
from fliqd.core.decoding import decode
from fliqd.core.times import format_time, maybe_time
from fliqd.errors import InvalidError, Problem
from fliqd.service.tokens import DEFAULT_SCOPES, PREFIX_SHOWN, Tokens
from fliqd.store.base import Token

MAX_NAME = 256


class TokenDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of `POST /v1/tokens`."""

    name: str = ""
    scopes: list[Literal["read", "write", "admin"]] | None = None


def add_routes(router: web.UrlDispatcher, prefix: str, tokens: Tokens) -> None:
    """Add the routes under `prefix`."""
    router.add_get(f"{prefix}/tokens", partial(list_tokens, tokens))
    router.add_post(f"{prefix}/tokens", partial(create, tokens))
    router.add_delete(f"{prefix}/tokens/{{id}}", partial(revoke, tokens))


async def list_tokens(tokens: Tokens, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    return json_response({"tokens": [_view(token, tokens) for token in tokens.list()], "next_cursor": None})


async def create(tokens: Tokens, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    draft, found = decode(await json_body(request), TokenDraft)
    problems = list(found)
    if not 1 <= len(draft.name) <= MAX_NAME and not any(problem.field == "name" for problem in problems):
        problems.insert(0, Problem("name", f"expected 1 to {MAX_NAME} characters"))
    if draft.scopes == []:
        problems.append(Problem("scopes", "expected at least one of read, write and admin"))
    if problems:
        raise InvalidError(problems)
    scopes = DEFAULT_SCOPES if draft.scopes is None else tuple(dict.fromkeys(draft.scopes))
    token, text = await tokens.create(draft.name, scopes)
    return json_response(_view(token, tokens) | {"token": text}, status=201)


async def revoke(tokens: Tokens, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    await tokens.revoke(path_id(request, "token"))
    return web.Response(status=204)


def _view(token: Token, tokens: Tokens) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "prefix": tokens.text(token.id)[:PREFIX_SHOWN],
        "scopes": token.scopes,
        "created_at": format_time(token.created_ms),
        "last_used_at": maybe_time(token.last_used_ms),
    }
