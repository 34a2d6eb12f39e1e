"""Cancellation and close: nothing is left behind, nobody waits on."""

import asyncio
import contextlib
import threading

import pytest

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.dns import Address, Resolver
from fliqd.engine.wire.sender import WireSender
from tests.support import PATIENCE_S
from tests.wire.conftest import Serve
from tests.wire.servers import Peer, get


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_request_leaves_nothing_behind(sender: WireSender, serve: Serve, turns: int) -> None:
    """Cancelled after each number of turns of the loop, new connection or reused; the next one gets its own answer."""

    async def echo(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            path = head.split(b" ", 2)[1]
            await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    server = await serve(echo)
    for _ in range(2):
        sending = asyncio.ensure_future(sender.send(get(server.url("/given-up", host="localhost"))))
        for _ in range(turns):
            await asyncio.sleep(0)
        done = sending.done()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert done or sending.cancelled()
        assert sender.idle_connections == sender.open_connections
        assert (await sender.send(get(server.url("/wanted", host="localhost")))).body == b"/wanted"


async def test_close_ends_what_is_under_way(serve: Serve, full_port: int) -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.until_closed()

    server = await serve(script)
    stuck = threading.Event()
    sender = WireSender(
        judge=lambda *_where, **_how: None,
        resolver=Resolver(now=lambda: 0.0, look_up=lambda _host: stuck_look_up()),
    )

    def stuck_look_up() -> list[Address]:
        stuck.wait(5)
        return []

    urls = [server.url(), f"http://127.0.0.1:{full_port}/", "http://nowhere.example/"]
    sending = [asyncio.ensure_future(sender.send(get(url))) for url in urls]
    await arrived.wait()
    await sender.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert all(request.done() for request in sending)
    responses = await asyncio.gather(*sending)
    stuck.set()
    assert [response.failure and response.failure.code for response in responses] == [ErrorCode.INTERRUPTED] * 3
    late = await sender.send(get(server.url()))
    assert late.failure is not None
    assert late.failure.code is ErrorCode.INTERRUPTED
    assert sender.open_connections == 0


async def test_cancelling_closes_the_connection_that_waits(sender: WireSender, serve: Serve) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        with contextlib.suppress(ConnectionError):
            await peer.until_closed()
        closed.set()

    server = await serve(script)
    sending = asyncio.ensure_future(sender.send(get(server.url())))
    await arrived.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await asyncio.wait_for(closed.wait(), PATIENCE_S)
    assert sending.cancelled()
    assert sender.open_connections == 0
