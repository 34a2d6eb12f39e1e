"""Answers to what is asked most, as their parts."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, cast

import msgspec
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REASONS: Final[Mapping[int, str]] = {status.value: status.phrase for status in HTTPStatus}
_encode: Final = msgspec.json.Encoder().encode


class Answer:
    """A JSON answer that is no `web.Response` yet: to make one costs a create more than to read its head."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body: bytes = _encode(content)
        self.headers = {"Content-Type": "application/json", **(headers or {})}

    @property
    def reason(self) -> str:
        return REASONS[self.status]

    def in_full(self) -> web.Response:
        """Return it as aiohttp sends answers."""
        return web.Response(body=self.body, status=self.status, headers=self.headers)


def to_edge(handler: Callable[[web.Request], Awaitable[Answer]]) -> Handler:
    """Let a handler stand among aiohttp's; what it returns is for the `Edge`, which everything passes."""
    return cast("Handler", handler)
