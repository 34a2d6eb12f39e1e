"""Happy Eyeballs: the order of addresses, the head start, and no socket left of those who lost."""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.connect import MAX_TRIED, connect, interleave
from fliqd.engine.wire.dns import Address
from fliqd.engine.wire.faults import unconnected
from tests.wire.conftest import open_sockets


def addresses(text: str) -> list[Address]:
    return [Address(ip_address(word)) for word in text.split()]


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("::1", "::1"),
        ("::1 ::2 1.1.1.1 1.1.1.2", "::1 1.1.1.1 ::2 1.1.1.2"),
        ("1.1.1.1 1.1.1.2 ::1", "1.1.1.1 ::1 1.1.1.2"),
        ("::1 ::2 ::3 1.1.1.1", "::1 1.1.1.1 ::2 ::3"),
        ("1.1.1.1 1.1.1.2", "1.1.1.1 1.1.1.2"),
    ],
)
def test_families_alternate_beginning_with_the_first(given: str, order: str) -> None:
    assert interleave(addresses(given)) == addresses(order)


@given(st.lists(st.ip_addresses().map(Address), min_size=1))
def test_interleaving_loses_none_and_keeps_the_order_within_a_family(found: list[Address]) -> None:
    order = interleave(found)
    assert order[0] == found[0]
    for version in (4, 6):
        assert [a for a in order if a.ip.version == version] == [a for a in found if a.ip.version == version]


@pytest.fixture
def port() -> Iterator[int]:
    """Give a port where 127.0.0.1 listens, 127.0.0.2 does not, and 127.0.0.3 never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_server(("127.0.0.3", port), backlog=0):
            waiting = [socket.socket() for _ in range(3)]
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.3", port))
            yield port
            for sock in waiting:
                sock.close()


@pytest.mark.parametrize(
    ("order", "stagger_s", "winner"),
    [
        ("127.0.0.1", 10, "127.0.0.1"),
        ("127.0.0.1 127.0.0.3", 10, "127.0.0.1"),
        ("127.0.0.2 127.0.0.1", 10, "127.0.0.1"),  # a refusal starts the next at once
        ("127.0.0.3 127.0.0.1", 0.01, "127.0.0.1"),
        ("127.0.0.3 127.0.0.2 127.0.0.1", 0.01, "127.0.0.1"),
        ("127.0.0.2 127.0.0.3 127.0.0.1", 0.01, "127.0.0.1"),
    ],
)
async def test_the_first_that_connects_wins(port: int, order: str, stagger_s: float, winner: str) -> None:
    before = open_sockets()
    connected = await connect(addresses(order), port, stagger_s=stagger_s)
    assert isinstance(connected, tuple)
    sock, address = connected
    assert sock.getpeername() == (winner, port)
    assert str(address.ip) == winner
    sock.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert open_sockets() == before


async def test_whoever_connects_second_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All connect within one turn of the loop, too late to be cancelled."""
    gate = asyncio.Event()
    begun: list[Address] = []
    sockets: list[socket.socket] = []

    async def attempt(address: Address, port: int) -> tuple[socket.socket, Address]:
        begun.append(address)
        if len(begun) == 3:
            gate.set()
        await gate.wait()
        sockets.append(socket.socket())
        return sockets[-1], address

    monkeypatch.setattr("fliqd.engine.wire.connect._attempt", attempt)
    connected = await connect(addresses("127.0.0.1 127.0.0.2 127.0.0.3"), 80, stagger_s=0)
    assert isinstance(connected, tuple)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(sockets) == 3
    assert [sock for sock in sockets if sock.fileno() != -1] == [connected[0]]
    connected[0].close()


async def test_all_errors_come_back_when_none_connects(port: int) -> None:
    errors = await connect(addresses("127.0.0.2 127.0.0.4"), port, stagger_s=0.01)
    assert isinstance(errors, list)
    assert [type(error) for error in errors] == [ConnectionRefusedError] * 2


async def test_no_more_than_some_addresses_are_tried(port: int) -> None:
    many = addresses(" ".join(f"127.0.1.{i}" for i in range(1, 60)))
    errors = await connect(many, port, stagger_s=0)
    assert isinstance(errors, list)
    assert len(errors) == MAX_TRIED


@pytest.mark.parametrize("turns", range(1, 8))
async def test_cancelling_leaves_no_socket(port: int, turns: int) -> None:
    before = open_sockets()
    connecting = asyncio.ensure_future(connect(addresses("127.0.0.3 127.0.0.3 127.0.0.3"), port, stagger_s=0.0))
    for _ in range(turns):
        await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)
    assert connecting.cancelled()
    assert open_sockets() == before


@pytest.mark.parametrize(
    ("errors", "code", "says"),
    [
        ([ConnectionRefusedError(111, "refused")], ErrorCode.CONNECT_REFUSED, "refused the connection:"),
        ([OSError(101, "x"), ConnectionRefusedError(111, "x")], ErrorCode.CONNECT_REFUSED, "its 2 addresses"),
        ([TimeoutError(110, "timed out")], ErrorCode.CONNECT_TIMEOUT, "firewall"),
        ([OSError(101, "Network is unreachable")], ErrorCode.CONNECT_FAILED, "no route"),
        ([OSError(113, "No route to host")], ErrorCode.CONNECT_FAILED, "no route"),
        ([OSError(24, "Too many open files")], ErrorCode.CONNECT_FAILED, "LimitNOFILE"),
        ([OSError(13, "Permission denied")], ErrorCode.CONNECT_FAILED, "Permission denied"),
    ],
)
def test_a_failure_names_the_likeliest_cause(errors: list[OSError], code: ErrorCode, says: str) -> None:
    failure = unconnected("a.example:80", errors).failure
    assert failure.code is code
    assert says in failure.message
    assert "a.example:80" in failure.message
