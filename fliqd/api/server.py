"""The HTTP server's edge, which aiohttp leaves open: deadlines for slow clients, and our shape for its own refusals."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from fliqd.api.app import Edge
from fliqd.api.errors import document, json_response, respond_to_aiohttp

log = structlog.get_logger()

HEAD_S: Final = 30.0  # from a request's first byte (or the connection) to the end of its head
IDLE_S: Final = 75.0  # between two requests on a kept-alive connection
UNREAD_MS: Final = 60_000  # how long an answer may lie in the socket unread
MAX_HEADERS: Final = 100
MAX_HEAD: Final = 32 * 1024


class EdgeHandler(RequestHandler):
    """One connection. The deadline for a head is absolute: dripping bytes do not move it."""

    __slots__ = ("_edge_server", "_head_deadline", "on_lost")

    def __init__(self, server: "EdgeServer", **settings: Any) -> None:
        super().__init__(server, **settings)
        self._edge_server = server
        self._head_deadline: asyncio.TimerHandle | None = None
        self.on_lost: Callable[[], None] | None = None  # for answers that go on: told at once when nobody reads them

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._edge_server.connections) > self._edge_server.max_connections:
            self.force_close()
            return
        opened = transport.get_extra_info("socket")
        if opened is not None and opened.family in (socket.AF_INET, socket.AF_INET6):
            # A client that reads nothing is cut by the kernel (tcp(7)), however long its window stays shut.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        self._head_deadline = self._loop.call_later(HEAD_S, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages or self._request_in_progress:
            if self._head_deadline is not None:
                self._head_deadline.cancel()
                self._head_deadline = None
        elif self._head_deadline is None:
            self._head_deadline = self._loop.call_later(HEAD_S, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(exc)

    def _head_is_late(self) -> None:
        self._head_deadline = None
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it may repeat what the client sent
    ) -> web.StreamResponse:
        """Answer what is not HTTP, and what went wrong outside the application."""
        request_id = self._edge_server.new_request_id()
        if isinstance(exc, LineTooLong):
            response = json_response(
                document("head_too_large", "the request line or a header is too long", request_id), status=431
            )
        elif status < 500:  # noqa: PLR2004 -- the client's fault
            response = json_response(
                document("bad_request", "this is not a valid HTTP/1.1 request", request_id), status=status
            )
        else:
            log.error("api.crashed", request_id=request_id, exc_info=exc)
            text = "fliqd failed; its log says why, under this request_id"
            response = json_response(document("internal", text, request_id), status=status)
        response.headers["X-Request-Id"] = request_id
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Put a refusal that aiohttp made by itself into our shape."""
        if isinstance(resp, web.HTTPException):
            request_id = self._edge_server.new_request_id()
            resp = respond_to_aiohttp(resp, request_id)
            resp.headers["X-Request-Id"] = request_id
        resp.headers["Server"] = "fliqd"
        return await super().finish_response(request, resp, start_time)


class EdgeServer(web.Server):
    """Makes an EdgeHandler for each connection; requests go to `edge`."""

    def __init__(
        self, app: web.Application, edge: Edge, new_request_id: Callable[[], str], max_connections: int
    ) -> None:
        handler = app._make_handler(  # noqa: SLF001 -- as aiohttp's own AppRunner does
            access_log=None,
            keepalive_timeout=IDLE_S,
            lingering_time=2.0,
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=MAX_HEADERS,
            auto_decompress=False,  # a packed body is refused, not unpacked
        )
        super().__init__(edge, request_factory=handler.request_factory, **handler._kwargs)  # type: ignore[arg-type]  # noqa: SLF001
        self.new_request_id = new_request_id
        self.max_connections = max_connections

    def __call__(self) -> RequestHandler:
        return EdgeHandler(self, loop=self._loop, **self._kwargs)


class EdgeRunner(web.AppRunner):
    """Runs the application behind its edge."""

    __slots__ = ("_edge", "_max_connections", "_new_request_id")

    def __init__(
        self,
        app: web.Application,
        edge: Edge,
        *,
        new_request_id: Callable[[], str],
        max_connections: int,
        shutdown_timeout: float,
    ) -> None:
        super().__init__(app, handle_signals=False, shutdown_timeout=shutdown_timeout)
        self._edge = edge
        self._new_request_id = new_request_id
        self._max_connections = max_connections

    async def _make_server(self) -> web.Server:
        await super()._make_server()
        return EdgeServer(self.app, self._edge, self._new_request_id, self._max_connections)
