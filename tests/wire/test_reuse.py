"""Kept-alive connections: reused when clean, and never a request sent twice."""

import asyncio
import random

import pytest

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.sender import WireSender
from tests.wire.conftest import Serve
from tests.wire.servers import OK, Peer, answer, answer_and_close, get, post


async def test_the_connection_used_last_is_used_next(sender: WireSender, serve: Serve) -> None:
    server = await serve(answer(OK))
    await asyncio.gather(*(sender.send(get(server.url())) for _ in range(3)))
    assert server.connections == sender.idle_connections == 3
    for _ in range(5):
        await sender.send(get(server.url()))
    assert server.connections == 3


async def test_origins_do_not_share_connections(sender: WireSender, serve: Serve) -> None:
    one, two = await serve(answer(OK)), await serve(answer(OK))
    for server in (one, two, one, two):
        await sender.send(get(server.url()))
    assert (len(one.requests), len(two.requests), one.connections, two.connections) == (2, 2, 1, 1)


async def test_a_connection_closed_while_idle_is_replaced_without_a_failure(sender: WireSender, serve: Serve) -> None:
    server = await serve(answer_and_close(OK))
    for _ in range(20):
        response = await sender.send(get(server.url()))
        assert (response.status, response.failure, response.stale) == (200, None, False)
    assert len(server.requests) == server.connections == 20


async def test_junk_on_an_idle_connection_ends_it(sender: WireSender, serve: Serve) -> None:
    said = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        if not said.is_set():
            await peer.say(OK)
            said.set()
        await peer.until_closed()

    server = await serve(script)
    await sender.send(get(server.url()))
    await said.wait()
    assert (await sender.send(get(server.url()))).status == 200
    assert server.connections == 2


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
async def test_a_loss_on_a_reused_connection_is_told_apart(sender: WireSender, serve: Serve, how: str) -> None:
    """The request arrived and may have been handled: one request, one failure, and a hint."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()
        if how == "reset":
            peer.reset()
        elif how == "half_close":
            await peer.half_close()
            await peer.until_closed()

    server = await serve(script)
    assert (await sender.send(get(server.url()))).status == 200
    response = await sender.send(get(server.url()))
    assert response.failure is not None
    assert (response.failure.code, response.status, response.stale) == (ErrorCode.RESET, None, True)
    assert "reused" in response.failure.message
    assert len(server.requests) == 2


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
async def test_a_loss_on_a_new_connection_is_no_stale_one(sender: WireSender, serve: Serve, how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if how == "reset":
            peer.reset()
        elif how == "half_close":
            await peer.half_close()
            await peer.until_closed()

    server = await serve(script)
    response = await sender.send(get(server.url("/?secret=1")))
    assert response.failure is not None
    assert (response.failure.code, response.status, response.stale) == (ErrorCode.RESET, None, False)
    assert "new connection" in response.failure.message
    assert "secret" not in response.failure.message
    assert len(server.requests) == 1


async def test_a_reset_within_the_body_keeps_the_status(sender: WireSender, serve: Serve) -> None:
    begun = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nabc")
        await begun.wait()
        peer.reset()

    server = await serve(script)
    sending = asyncio.ensure_future(sender.send(get(server.url())))
    for _ in range(20):
        await asyncio.sleep(0.001)
    begun.set()
    response = await sending
    assert response.failure is not None
    assert (response.failure.code, response.status, response.body) == (ErrorCode.RESET, 201, b"abc")
    assert "after 3 bytes" in response.failure.message


async def test_an_early_answer_counts_though_the_body_was_not_read(sender: WireSender, serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.Event().wait()

    server = await serve(script)
    response = await sender.send(post(server.url(), bytes(20_000_000)))
    assert (response.status, response.failure) == (413, None)
    assert sender.idle_connections == 0


async def test_as_many_requests_arrive_as_were_sent_however_connections_end(sender: WireSender, serve: Serve) -> None:
    """A churn of closes and resets at random points, with cancellations: never a request more than calls."""
    chance = random.Random(7)

    async def script(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            assert body
            draw = chance.random()
            if draw < 0.1:
                peer.reset()
                return
            cut = chance.randrange(len(OK)) if draw < 0.3 else len(OK)
            await peer.say(OK[:cut])
            if draw < 0.5:
                return

    server = await serve(script)
    sent = 0
    outcomes: list[object] = []

    async def worker() -> None:
        nonlocal sent
        for _ in range(60):
            sent += 1
            sending = asyncio.ensure_future(sender.send(post(server.url(), b"%d" % sent)))
            if chance.random() < 0.2:
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                sending.cancel()
            outcomes.extend(await asyncio.gather(sending, return_exceptions=True))

    await asyncio.gather(*(worker() for _ in range(10)))
    bodies = [body for _, body in server.requests]
    assert len(bodies) == len(set(bodies)), "a request arrived twice"
    answered = [outcome for outcome in outcomes if getattr(outcome, "status", None) == 200]
    assert 0 < len(answered) <= len(bodies) <= sent == len(outcomes)
    assert {type(outcome).__name__ for outcome in outcomes} == {"Response", "CancelledError"}


async def test_a_connection_is_replaced_when_it_is_old(serve: Serve) -> None:
    server = await serve(answer(OK))
    sender = WireSender(judge=lambda *_where, **_how: None, max_age_s=0.0)
    for _ in range(3):
        assert (await sender.send(get(server.url()))).status == 200
    await sender.close()
    assert server.connections == len(server.requests) == 3
