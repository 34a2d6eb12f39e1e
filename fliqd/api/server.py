"""The HTTP server's edge, which aiohttp leaves open: deadlines for slow clients, and our shape for its own refusals."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from fliqd.api import quick
from fliqd.api.app import Edge
from fliqd.api.errors import document, json_response, respond_to_aiohttp

log = structlog.get_logger()

HEAD_S: Final = 30.0  # from a request's first byte (or the connection) to the end of its head
IDLE_S: Final = 75.0  # between two requests on a kept-alive connection
UNREAD_MS: Final = 60_000  # how long an answer may lie in the socket unread
MOST_UNREAD: Final = 64 * 1024**2  # bytes of answers in memory that clients are slow to read; all clients together
TOLD_S: Final = 1.0  # between two lines of the log about that
MOST_HELD: Final = 64 * 1024  # bytes of further requests that are read while one is being answered
MAX_HEADERS: Final = 100
MAX_HEAD: Final = 32 * 1024


class EdgeHandler(RequestHandler):
    """One connection. The deadline for a head is absolute: dripping bytes do not move it."""

    __slots__ = (
        "_edge_server",
        "_head_deadline",
        "_held",
        "_ordinary",
        "_quick",
        "answer_bytes",
        "answered",
        "on_lost",
    )

    def __init__(self, server: "EdgeServer", **settings: Any) -> None:
        super().__init__(server, **settings)
        self._edge_server = server
        self._head_deadline: asyncio.TimerHandle | None = None
        self._ordinary = False  # it has brought something that is not for the short way, and stays on the ordinary one
        self._quick = False  # a request is being answered on the short way
        self._held = b""  # what came meanwhile
        self.answer_bytes = 0  # of the answer that is being sent: it lies in memory whole until its end is
        self.answered = False
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
        if self._quick:
            self._hold(data)
            return
        if not self._ordinary:
            request = None if self._force_close or self._close else quick.take(data, self._edge_server.longest_body)
            if request is not None and not self._edge_server.edge.is_below(request.path):
                self._answer_quickly(request)
                return
            self._ordinary = True
        super().data_received(data)
        if self._messages or self._request_in_progress:
            if self._head_deadline is not None:
                self._head_deadline.cancel()
                self._head_deadline = None
        elif self._head_deadline is None:
            self._head_deadline = self._loop.call_later(HEAD_S, self._head_is_late)

    def _answer_quickly(self, request: quick.PlainRequest) -> None:
        """Answer a request without aiohttp, which sees an idle connection, or one that is busy when it shuts down."""
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None
        self._request_in_progress = True
        self._quick = True
        quick.drive(self._answer(request))

    async def _answer(self, request: quick.PlainRequest) -> None:
        try:
            self._next_keepalive_close_time = self._loop.time() + IDLE_S
            response = await self._edge_server.edge.answer(cast("web.Request", request))
            response.headers["Server"] = "fliqd"
            if self.transport is not None:
                answer = quick.encode(response)
                self.answer_bytes = len(answer)
                self.transport.write(answer)
                self.answered = True
                if self._paused:
                    await self._drain_helper()  # a client that reads nothing is answered nothing more
        except ConnectionError:
            self.force_close()
        except Exception:
            self.force_close()  # nobody may wait for an answer that will not come
            raise
        finally:
            self._quick = False
            self._request_in_progress = False
            self._next_keepalive_close_time = self._loop.time() + IDLE_S
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
        if self._held and self.transport is not None:
            held, self._held = self._held, b""
            if len(held) > MOST_HELD:
                self._resume_transport_reading()
            self.data_received(held)

    def _hold(self, data: bytes) -> None:
        """Keep what comes before its turn, and have no more come than that."""
        if len(self._held) <= MOST_HELD < len(self._held) + len(data):
            self._pause_transport_reading()
        self._held += data

    def pause_writing(self) -> None:
        super().pause_writing()
        self._edge_server.goes_unread(self)

    def resume_writing(self) -> None:
        self._edge_server.unread.pop(self, None)
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._edge_server.unread.pop(self, None)
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
        body = resp.body if isinstance(resp, web.Response) else None
        self.answer_bytes = len(body) if isinstance(body, bytes) else 0
        finished = await super().finish_response(request, resp, start_time)
        self.answered = True
        return finished


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
        self.edge = edge
        self.longest_body = app._client_max_size  # noqa: SLF001 -- likewise
        self.new_request_id = new_request_id
        self.max_connections = max_connections
        self.unread: dict[EdgeHandler, int] = {}  # whose answers wait to be read, and how many bytes those are
        self._told_at = -TOLD_S

    def goes_unread(self, connection: EdgeHandler) -> None:
        """Take note of an answer that its client is slow to read; cut those that keep the most when it is too much.

        The newest is let be: were it cut, a single answer could be too long for whoever asks.
        """
        self.unread[connection] = connection.answer_bytes
        while len(self.unread) > 1 and sum(self.unread.values()) > MOST_UNREAD:
            others = (other for other in self.unread if other is not connection)
            slowest = max(others, key=lambda other: self.unread[other])
            kept = self.unread.pop(slowest)
            if slowest.transport is not None:
                slowest.transport.abort()
            if self._loop.time() - self._told_at >= TOLD_S:
                self._told_at = self._loop.time()
                log.warning("api.unread", cut_off_with=kept, kept_for_others=sum(self.unread.values()))

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

    async def first_answers(self, within_s: float) -> None:
        """Wait until every client that has been let in has had an answer; no longer than told, as some never ask."""
        assert self.server is not None  # noqa: S101 -- it has been set up
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while True:
            await asyncio.sleep(0.01)  # what has just been accepted is no connection yet
            waiting = [one for one in self.server.connections if isinstance(one, EdgeHandler) and not one.answered]
            if not waiting or loop.time() >= deadline:
                return

    async def _make_server(self) -> web.Server:
        await super()._make_server()
        return EdgeServer(self.app, self._edge, self._new_request_id, self._max_connections)
