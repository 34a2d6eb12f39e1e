"""Sends one request over a connection of its own choosing: kept alive, or looked up, judged and connected."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest, Response
from fliqd.engine.wire.connect import connect
from fliqd.engine.wire.connection import Connection
from fliqd.engine.wire.deadlines import Deadlines
from fliqd.engine.wire.dns import Address, Resolver
from fliqd.engine.wire.faults import WireError, unconnected, untrusted
from fliqd.engine.wire.octets import IPAddress, Origin, UnsendableError, encode
from fliqd.engine.wire.pool import Pool
from fliqd.engine.wire.stopwatch import Monotonic, Phase, Stopwatch


class Judge(Protocol):
    """Decides on the very address that is connected to."""

    def __call__(
        self,
        address: IPAddress,
        port: int,
        host: str | None,
        *,
        source: str | None = None,
        previous: str | None = None,
    ) -> str | None:
        """Return why `address` may not be connected to, as the failure's message; None when it may.

        `host` is the name that led there, `source` our end once it is known, `previous` the address that
        redirected here.
        """


INBOX: Final = 64 * 1024
TLS_CLOSE_S: Final = 1.0
# asyncio's own handshake timeout must not come first: its error names no cause.
HANDSHAKE_MARGIN_S: Final = 5.0
CLOSING_TURNS: Final = 100


class WireSender:
    """Sends a request at most once; a `Sender`.

    Every address is judged: those of a name when it is looked up, a literal, and the one behind a kept-alive
    connection again before each request. A busy connection is replaced after `max_age_s`, or it would never
    see that its name has moved. Redirects, cookies, proxies and decompression do not exist here.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        per_origin: int = 64,
        total: int = 512,
        idle_s: float = 4.0,
        max_age_s: float = 60.0,
        stagger_s: float = 0.25,
        now: Monotonic = time.monotonic,
    ) -> None:
        self._judge = judge
        self._tls = tls
        self._resolver = resolver or Resolver(now=now)
        self._pool = Pool(now=now, per_origin=per_origin, total=total, idle_s=idle_s)
        self._max_age_s = max_age_s
        self._stagger_s = stagger_s
        self._now = now
        self._inbox = memoryview(bytearray(INBOX))
        self._deadlines = Deadlines(now)
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Timeout] = set()
        self._closed = False

    @property
    def open_connections(self) -> int:
        """How many connections there are, busy and idle."""
        return len(self._open)

    @property
    def idle_connections(self) -> int:
        """How many of them wait for a request."""
        return len(self._pool)

    def start(self, request: OutgoingRequest, done: Callable[[Response], None]) -> "Exchange":
        """Make the request; `done` is called once, within its deadline, and never from inside this call."""
        watch = Stopwatch(self._now, request.timeout_s)
        exchange = Exchange(request, watch, done)
        try:
            origin, head = encode(request)
            connection = self._kept(origin, request.previous)
            if connection is None:
                opening = self._open_then_start(exchange, origin, head)
                exchange.opening = asyncio.get_running_loop().create_task(opening, name="connect")
            else:
                self._start_on(connection, exchange, origin, head)
        except Exception as err:  # noqa: BLE001 - one request must not end what sends the others
            asyncio.get_running_loop().call_soon(exchange.finish, _failure_of(err, watch))
        return exchange

    async def send(self, request: OutgoingRequest) -> Response:
        """Make the request and wait for its outcome. Raises nothing but CancelledError."""
        outcome: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        # Cancelled in the turn in which the answer comes, the future takes none any more.
        exchange = self.start(request, lambda response: None if outcome.done() else outcome.set_result(response))
        try:
            return await outcome
        except asyncio.CancelledError:
            exchange.cancel()
            raise

    async def close(self) -> None:
        """Drop every connection; requests under way end with a failure."""
        self._closed = True
        self._pool.clear()
        for opening in self._opening:
            if not opening.expired():
                opening.reschedule(asyncio.get_running_loop().time())
        for connection in list(self._open):
            connection.interrupt()
        for _ in range(CLOSING_TURNS):
            if not self._open and not self._opening:
                return
            await asyncio.sleep(0)

    async def _open_then_start(self, exchange: "Exchange", origin: Origin, head: bytes) -> None:
        try:
            connection = await self._connect(origin, exchange.request.previous, exchange.watch)
            exchange.opening = None
            self._start_on(connection, exchange, origin, head)
        except Exception as err:  # noqa: BLE001 - as above
            exchange.finish(_failure_of(err, exchange.watch))

    def _start_on(self, connection: Connection, exchange: "Exchange", origin: Origin, head: bytes) -> None:
        def ended(response: Response) -> None:
            self._deadlines.clear(connection)
            if connection.reusable:
                if self._closed or self._now() >= connection.expires_at:
                    connection.close()
                else:
                    self._pool.put(origin.key, connection)
            exchange.finish(response)

        exchange.connection = connection
        try:
            connection.start(head, exchange.request, exchange.watch, ended)
        except BaseException:
            connection.drop()
            raise
        self._deadlines.set(connection, exchange.watch.left_s())

    def _kept(self, origin: Origin, previous: str | None) -> Connection | None:
        """Return a kept-alive connection whose address is still allowed, None if a new one must be made."""
        while (connection := self._pool.take(origin.key)) is not None:
            allowed = False
            try:
                allowed = self._judge(connection.address.ip, origin.port, origin.host, previous=previous) is None
            finally:
                if not allowed:
                    connection.drop()
            if allowed:
                return connection
        return None

    async def _connect(self, origin: Origin, previous: str | None, watch: Stopwatch) -> Connection:
        """Make a connection; raise WireError if that cannot be done, or not in time."""
        if self._closed:
            raise _interrupted(origin)
        timeout = asyncio.timeout(watch.left_s())
        try:
            async with timeout:
                self._opening.add(timeout)
                return await self._make(origin, previous, watch)
        except TimeoutError:
            raise _interrupted(origin) if self._closed else _too_slow(origin, watch) from None
        finally:
            self._opening.discard(timeout)

    async def _make(self, origin: Origin, previous: str | None, watch: Stopwatch) -> Connection:
        """Look up, judge, connect and secure: in this order, and on the address that was judged."""
        if origin.literal is not None:
            addresses = [Address(origin.literal)]
        else:
            addresses = await self._resolver.resolve(origin.host)
            watch.dns_ms = watch.lap()
        allowed = self._allowed(addresses, origin, previous)
        tls = self._tls_context() if origin.tls else None
        watch.phase = Phase.CONNECT
        connected = await connect(allowed, origin.port, stagger_s=self._stagger_s)
        if isinstance(connected, list):
            raise unconnected(origin.peer, connected)
        sock, address = connected
        # Only now is it known whether this connection leads back to this machine.
        refusal = self._judge(address.ip, origin.port, origin.host, source=sock.getsockname()[0])
        if refusal is not None:
            sock.close()
            raise WireError(ErrorCode.EGRESS_DENIED, refusal)
        watch.connect_ms = watch.lap()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(origin.peer, address, sock, self._inbox, self._forget)
        connection.expires_at = self._now() + self._max_age_s
        loop = asyncio.get_running_loop()
        if tls is not None:
            watch.phase = Phase.TLS
            try:
                await loop.create_connection(
                    lambda: connection,
                    sock=sock,
                    ssl=tls,
                    server_hostname=origin.host.rstrip("."),
                    ssl_handshake_timeout=max(watch.left_s(), 0) + HANDSHAKE_MARGIN_S,
                    ssl_shutdown_timeout=TLS_CLOSE_S,
                )
            except OSError as err:
                raise untrusted(origin.peer, err) from err
            except ValueError:
                sock.close()
                raise WireError(ErrorCode.TLS, f"{origin.host} is no name that a certificate can be for.") from None
            watch.tls_ms = watch.lap()
        else:
            await loop.create_connection(lambda: connection, sock=sock)
        self._open.add(connection)
        if not connection.is_open:
            connection.drop()
            raise WireError(
                ErrorCode.RESET,
                f"{origin.peer} closed the new connection before anything was sent: look at its log.",
            )
        return connection

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._deadlines.clear(connection)

    def _allowed(self, addresses: Sequence[Address], origin: Origin, previous: str | None) -> list[Address]:
        verdicts = [self._judge(address.ip, origin.port, origin.host, previous=previous) for address in addresses]
        allowed = [address for address, refusal in zip(addresses, verdicts, strict=True) if refusal is None]
        if not allowed:
            raise WireError(ErrorCode.EGRESS_DENIED, next(refusal for refusal in verdicts if refusal is not None))
        return allowed

    def _tls_context(self) -> ssl.SSLContext:
        """Return the given context, or the system's, loaded when first needed: many daemons call no https."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


class Exchange:
    """A request under way: first a connection in the making, then one that carries it, then nothing."""

    __slots__ = ("_done", "connection", "opening", "request", "watch")

    def __init__(self, request: OutgoingRequest, watch: Stopwatch, done: Callable[[Response], None]) -> None:
        self.request = request
        self.watch = watch
        self._done: Callable[[Response], None] | None = done
        self.opening: asyncio.Task[None] | None = None
        self.connection: Connection | None = None

    def finish(self, response: Response) -> None:
        """Tell the outcome, once, and not after `cancel`."""
        done, self._done = self._done, None
        self.opening = self.connection = None
        if done is not None:
            done(response)

    def cancel(self) -> None:
        """Give it up: its connection is closed, and nobody is told of an outcome."""
        self._done = None
        if self.opening is not None:
            self.opening.cancel()
        if self.connection is not None:
            self.connection.drop()
        self.opening = self.connection = None


def _failure_of(err: Exception, watch: Stopwatch) -> Response:
    """Say why there was no exchange."""
    if isinstance(err, WireError):
        return Response(failure=err.failure, timings=watch.timings())
    if isinstance(err, UnsendableError):
        return _failed(ErrorCode.INTERNAL, str(err), watch)
    return _failed(ErrorCode.INTERNAL, f"fliqd failed to send the request ({type(err).__name__}).", watch)


def _failed(code: ErrorCode, message: str, watch: Stopwatch) -> Response:
    return Response(failure=Failure(code=code, message=message), timings=watch.timings())


def _interrupted(origin: Origin) -> WireError:
    return WireError(ErrorCode.INTERRUPTED, f"fliqd stopped before it was connected to {origin.peer}.")


def _too_slow(origin: Origin, watch: Stopwatch) -> WireError:
    """Say which phase before the request used up the time; nothing was sent yet."""
    within = f"within {watch.timeout_s:g} s"
    match watch.phase:
        case Phase.DNS:
            return WireError(
                ErrorCode.DNS,
                f"{origin.host} was not looked up {within}: check the resolver (/etc/resolv.conf).",
            )
        case Phase.CONNECT:
            return WireError(
                ErrorCode.CONNECT_TIMEOUT,
                f"{origin.peer} did not accept a connection {within}: is there a firewall, is the host off?",
            )
        case Phase.TLS:
            return WireError(
                ErrorCode.CONNECT_TIMEOUT,
                f"{origin.peer} did not finish the TLS handshake {within}: check that this port speaks TLS.",
            )
