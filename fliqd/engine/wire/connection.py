"""One connection, carrying one request at a time: bytes out, bytes in, and the end of it.

Every way out of an exchange goes through `_finish`, which tells the caller once and keeps the
connection open only if it is clean: after a complete answer, with nothing left over on either side (RFC 9112,
section 9.3).
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest, Response
from fliqd.engine.wire.answer import HEAD_LIMIT, AnswerReader
from fliqd.engine.wire.dns import Address
from fliqd.engine.wire.stopwatch import Stopwatch

# Head and body leave in one write up to here; beyond it the copy costs more than a second write.
ONE_WRITE: Final = 64 * 1024


class Connection(asyncio.BufferedProtocol):
    """A connection to an address that was judged before; `on_lost` is called once, when it is gone.

    `inbox` is where the transport reads to, shared by all connections of one loop: what comes is taken out in
    the same call. asyncio would otherwise allocate 256 KiB a read, a third of what a whole request costs.
    """

    __slots__ = (
        "_done", "_early", "_inbox", "_ip", "_on_lost", "_reader", "_socket", "_transport", "_used", "_watch",
        "address", "expires_at", "lost", "peer", "proven", "reusable",
    )  # fmt: skip

    def __init__(
        self,
        peer: str,
        address: Address,
        sock: socket.socket,
        inbox: memoryview,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.peer = peer
        self.address = address
        self.reusable = False
        self.lost = False
        self.expires_at = 0.0  # after which it is not used again, by the sender's clock
        self.proven = False  # it was used a second time and answered: the target does keep it open
        self._socket = sock
        self._inbox = inbox
        self._on_lost = on_lost
        self._reader = AnswerReader(peer)
        self._transport: asyncio.Transport | None = None
        self._done: Callable[[Response], None] | None = None
        self._watch: Stopwatch | None = None
        self._used = False  # it has carried a request before the present one
        self._early = b""
        self._ip = str(address.ip)

    @property
    def is_open(self) -> bool:
        """Whether a request may be written, as far as the loop has been told."""
        return self._transport is not None and not self.lost and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Return whether an idle connection is good for another request: open, and nothing came unasked.

        The kernel may know of the peer's FIN before the loop does. To look costs a microsecond, not to look
        an attempt. What waits there on TLS is no better: a farewell, or at best a ticket nobody uses.
        """
        if not self.is_open:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def start(self, head: bytes, request: OutgoingRequest, watch: Stopwatch, done: Callable[[Response], None]) -> None:
        """Write the request and have `done` called with its outcome; the connection must be open.

        From here on the request counts as sent, whatever becomes of it.
        """
        transport = cast("asyncio.Transport", self._transport)
        self._watch = watch
        self._reader.expect(request)
        self._done = done
        body = request.body
        if not body:
            transport.write(head)
        elif len(body) <= ONE_WRITE:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        watch.lap()
        if self._early:
            asyncio.get_running_loop().call_soon(self._take_early)

    def _take_early(self) -> None:
        early, self._early = self._early, b""
        self._take(early)

    def expire(self) -> None:
        """End the exchange: its deadline has come."""
        if self._done is None:
            return  # the outcome came within the same turn of the loop
        reader, watch = self._reader, cast("Stopwatch", self._watch)
        unsent = cast("asyncio.Transport", self._transport).get_write_buffer_size()
        if unsent and not reader.began:
            what = "had not taken the whole request: look at whether the target reads its body"
        elif reader.status is not None:
            what = (
                f"answered {reader.status} but had not finished after {reader.read} bytes: "
                "look at what it streams or raise the timeout"
            )
        elif reader.began:
            what = "had not finished the head of its answer: look at the target's handler"
        else:
            what = "took the request but had not answered: look at the target's handler or raise the timeout"
        self._finish(Failure(code=ErrorCode.TIMEOUT, message=f"After {watch.timeout_s:g} s {self.peer} {what}."))

    def interrupt(self) -> None:
        """Close at once; a request under way ends with a failure."""
        if self._done is not None:
            message = f"fliqd stopped before {self.peer} had answered."
            self._finish(Failure(code=ErrorCode.INTERRUPTED, message=message))
        self.drop()

    def drop(self) -> None:
        """Close at once and forget the exchange: nobody waits for it any more."""
        self._done = None
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection politely, with TLS's close_notify."""
        self.reusable = False
        if self._transport is not None:
            self._transport.close()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's guess
        return self._inbox

    def buffer_updated(self, nbytes: int) -> None:
        self._take(bytes(self._inbox[:nbytes]))

    def _take(self, data: bytes) -> None:
        if self._done is None:
            self._keep_early(data)
            return
        reader, watch = self._reader, cast("Stopwatch", self._watch)
        if not reader.began:
            watch.first_byte_ms = watch.lap()
        if reader.feed(data):
            self._finish(reader.failure)

    def eof_received(self) -> None:
        self.connection_ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.reusable = False
        self.connection_ended(exc)
        self._reader.release()
        self._transport = None
        self._on_lost(self)

    def connection_ended(self, exc: Exception | None) -> None:
        """Settle the exchange under way, if any: the peer has ended the stream, or broken it (`exc`)."""
        self.reusable = False
        if self._done is None:
            return
        reader = self._reader
        if not reader.began:
            self._finish(self._unanswered(), stale=self._used)
        elif exc is not None:
            message = (
                f"The connection to {self.peer} broke within the answer, after {reader.read} bytes "
                "of its body: look at the target's log."
            )
            self._finish(Failure(code=ErrorCode.RESET, message=message))
        else:
            reader.end()
            self._finish(reader.failure)

    def _keep_early(self, data: bytes) -> None:
        """Keep what comes before the request, as `printf … | nc -l` sends it; after an answer it is junk."""
        self._early += data
        if self._used or len(self._early) > HEAD_LIMIT:
            self.drop()

    def _unanswered(self) -> Failure:
        if self._used:
            what = (
                "closed a kept-alive connection (reused) before it answered: "
                "its idle timeout may have met the request; whether it was handled is not known"
            )
        else:
            what = "closed the new connection before it answered: look at its log for a crash or a limit"
        return Failure(code=ErrorCode.RESET, message=f"{self.peer} {what}.")

    def _finish(self, failure: Failure | None, *, stale: bool = False) -> None:
        done, self._done = self._done, None
        reader, transport = self._reader, self._transport
        if transport is not None:
            written = not transport.get_write_buffer_size()
            self.reusable = reader.reusable and failure is None and written and not transport.is_closing()
            if self.reusable:
                self.proven, self._used = self._used, True
            elif failure is None and written and not reader.cut:
                transport.close()
            else:
                transport.abort()
        if done is None:
            return
        done(
            Response(
                peer=self._ip,
                status=reader.status,
                headers=reader.headers,
                body=reader.body,
                truncated=reader.truncated,
                failure=failure,
                timings=cast("Stopwatch", self._watch).timings(),
                stale=stale,
            )
        )
