"""One deadline from the look-up to the end of the body, and what each phase says when it runs out."""

import asyncio
import socket

import pytest

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.sender import WireSender
from tests.wire.conftest import Serve
from tests.wire.servers import OK, Peer, answer, get, post


async def test_no_answer_in_time(sender: WireSender, serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    server = await serve(script)
    response = await sender.send(get(server.url("/?secret=1"), timeout_s=0.05))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.TIMEOUT
    assert f"127.0.0.1:{server.port} took the request" in response.failure.message
    assert sender.idle_connections == 0


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", "head of its answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "head of its answer"),
        (
            b"HTTP/1.1 202 OK\r\nContent-Length: 9\r\n\r\nabc",
            "answered 202 but had not finished after 3 bytes",
        ),
    ],
)
async def test_a_deadline_within_the_answer(sender: WireSender, serve: Serve, start: bytes, says: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(start)
        await peer.until_closed()

    server = await serve(script)
    response = await sender.send(get(server.url(), timeout_s=0.1))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.TIMEOUT
    assert says in response.failure.message
    assert response.status == (202 if b"202" in start else None)


@pytest.mark.parametrize(("pause_s", "fails"), [(0.0005, False), (0.05, True)])
async def test_a_drip_is_measured_as_a_whole(sender: WireSender, serve: Serve, *, pause_s: float, fails: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(40):
            await peer.say(b"x")
            await asyncio.sleep(pause_s)

    server = await serve(script)
    response = await sender.send(get(server.url(), timeout_s=0.2 if fails else 5.0))
    assert (response.failure is not None) == fails
    assert fails or response.body == b"x" * 40


async def test_a_body_nobody_reads_runs_into_the_deadline(sender: WireSender, serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.Event().wait()

    server = await serve(script)
    response = await sender.send(post(server.url(), bytes(20_000_000), timeout_s=0.1))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.TIMEOUT
    assert "had not taken the whole request" in response.failure.message


async def test_a_connection_that_is_not_accepted_in_time(sender: WireSender, full_port: int) -> None:
    response = await sender.send(get(f"http://127.0.0.1:{full_port}/", timeout_s=0.05))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.CONNECT_TIMEOUT
    assert response.timings.connect_ms is None


async def test_a_refused_connection(sender: WireSender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    response = await sender.send(get(f"http://127.0.0.1:{port}/?secret=1"))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.CONNECT_REFUSED
    assert f"127.0.0.1:{port} refused" in response.failure.message
    assert "secret" not in response.failure.message


async def test_timings_say_what_happened(serve: Serve) -> None:
    server = await serve(answer(OK))
    sender = WireSender(judge=lambda *_where, **_how: None)
    new = (await sender.send(get(server.url(host="localhost")))).timings
    reused = (await sender.send(get(server.url(host="localhost")))).timings
    await sender.close()
    assert new.dns_ms is not None
    assert new.connect_ms is not None
    assert new.first_byte_ms is not None
    assert new.tls_ms is None
    assert new.total_ms >= new.dns_ms + new.connect_ms + new.first_byte_ms
    assert (reused.dns_ms, reused.connect_ms, reused.tls_ms) == (None, None, None)
    assert reused.first_byte_ms is not None


async def test_a_deadline_ends_with_its_request(sender: WireSender, serve: Serve) -> None:
    """The first request's deadline comes while the second waits on the same connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()
        await asyncio.sleep(0.1)
        await peer.say(OK)
        await peer.until_closed()

    server = await serve(script)
    assert (await sender.send(get(server.url(), timeout_s=0.05))).status == 200
    assert (await sender.send(get(server.url(), timeout_s=5.0))).status == 200
    assert server.connections == 1
