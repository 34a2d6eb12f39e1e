"""One connection by itself: what must hold between two turns of the loop, where a server cannot aim."""

import asyncio
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from fliqd.core.delivery import ErrorCode, Response
from fliqd.engine.wire.answer import HEAD_LIMIT
from fliqd.engine.wire.connection import Connection
from fliqd.engine.wire.dns import Address
from fliqd.engine.wire.stopwatch import Stopwatch
from tests.wire.servers import OK, get


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.over = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return bool(self.over)

    def close(self) -> None:
        self.over = self.over or "closed"

    def abort(self) -> None:
        self.over = "aborted"


class Wire:
    """A connection, both its ends, and the request under way."""

    def __init__(self, ours: socket.socket) -> None:
        self.inbox = memoryview(bytearray(65536))
        self.transport = FakeTransport()
        self.lost: list[Connection] = []
        address = Address(IPv4Address("127.0.0.1"))
        self.connection = Connection("a.example:80", address, ours, self.inbox, self.lost.append)
        self.connection.connection_made(self.transport)

    def start(self) -> asyncio.Future[Response]:
        outcome: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        watch = Stopwatch(time.monotonic, 5.0)
        self.connection.start(b"GET", get("http://a.example/"), watch, outcome.set_result)
        return outcome

    def receive(self, data: bytes) -> None:
        self.inbox[: len(data)] = data
        self.connection.buffer_updated(len(data))


@pytest.fixture
def wire() -> Iterator[Wire]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield Wire(ours)


async def test_a_deadline_in_the_turn_of_the_answer_comes_too_late(wire: Wire) -> None:
    outcome = wire.start()
    wire.receive(OK)
    wire.connection.expire()
    assert (await outcome).status == 200
    assert (wire.connection.reusable, wire.transport.over) == (True, "")


async def test_a_deadline_in_the_turn_of_the_loss_comes_too_late(wire: Wire) -> None:
    outcome = wire.start()
    wire.connection.connection_lost(ConnectionResetError())
    wire.connection.expire()
    failure = (await outcome).failure
    assert failure is not None
    assert failure.code is ErrorCode.RESET
    assert wire.lost == [wire.connection]


async def test_an_answer_after_the_deadline_changes_nothing(wire: Wire) -> None:
    outcome = wire.start()
    wire.connection.expire()
    wire.receive(OK)
    wire.connection.connection_lost(None)
    failure = (await outcome).failure
    assert failure is not None
    assert failure.code is ErrorCode.TIMEOUT
    assert wire.transport.over == "aborted"


async def test_a_dropped_exchange_is_settled_by_nobody(wire: Wire) -> None:
    outcome = wire.start()
    wire.connection.drop()
    wire.receive(OK)
    wire.connection.connection_lost(None)
    assert not outcome.done()
    assert not wire.connection.reusable


async def test_bytes_after_the_answer_end_an_idle_connection(wire: Wire) -> None:
    outcome = wire.start()
    wire.receive(OK)
    assert (await outcome).status == 200
    wire.receive(b"x")
    assert wire.transport.over == "aborted"
    assert not wire.connection.is_quiet()


async def test_what_comes_before_the_request_is_bounded(wire: Wire) -> None:
    wire.receive(b"x" * HEAD_LIMIT)
    assert wire.transport.over == ""
    wire.receive(b"x")
    assert wire.transport.over == "aborted"


async def test_the_end_of_the_stream_settles_once(wire: Wire) -> None:
    outcome = wire.start()
    wire.receive(b"HTTP/1.1 200 OK\r\n\r\nok")
    wire.connection.eof_received()
    wire.connection.connection_lost(None)
    response = await outcome
    assert (response.body, response.failure) == (b"ok", None)
    assert not wire.connection.reusable


def test_bytes_in_the_kernel_make_a_connection_unquiet() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        wire = Wire(ours)
        assert wire.connection.is_quiet()
        theirs.send(b"x")
        assert not wire.connection.is_quiet()


def test_a_farewell_in_the_kernel_makes_a_connection_unquiet() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        wire = Wire(ours)
        theirs.close()
        assert not wire.connection.is_quiet()
