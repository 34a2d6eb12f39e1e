"""One request and its answer: what is written, what is kept of what comes back."""

import random

import pytest

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.sender import WireSender
from tests.wire.conftest import Serve
from tests.wire.servers import OK, Peer, answer, get, post


async def test_the_request_arrives_as_it_was_given(sender: WireSender, serve: Serve) -> None:
    server = await serve(answer(OK))
    url = server.url("/a/b?c=%20d#part")
    await sender.send(post(url, b'{"x": 1}', headers=(("X-Name", "Zoë"), ("accept", "*/*"))))
    head = (
        f"POST /a/b?c=%20d HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-Name: Zoë\r\naccept: */*\r\n"
        "Content-Length: 8\r\n\r\n"
    )
    assert server.requests == [(head.encode(), b'{"x": 1}')]


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
async def test_bodies_of_all_sizes_arrive_whole(sender: WireSender, serve: Serve, size: int) -> None:
    server = await serve(answer(OK))
    body = random.Random(size).randbytes(size)
    for _ in range(2):
        assert (await sender.send(post(server.url(), body))).status == 200
    assert [received for _, received in server.requests] == [body, body]
    assert server.connections == 1


async def test_head_is_answered_without_a_body(sender: WireSender, serve: Serve) -> None:
    server = await serve(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"))
    for _ in range(2):
        response = await sender.send(get(server.url(), method="HEAD"))
        assert (response.status, response.body, response.failure) == (200, b"", None)


async def test_headers_come_back_as_latin_1(sender: WireSender, serve: Serve) -> None:
    server = await serve(answer(b"HTTP/1.1 200 OK\r\nX-A: d\xe9j\xe0\r\nx-a: \r\nContent-Length: 0\r\n\r\n"))
    response = await sender.send(get(server.url()))
    assert response.headers == (("X-A", "déjà"), ("x-a", ""), ("Content-Length", "0"))


@pytest.mark.parametrize(
    ("capture", "limit", "body", "truncated", "reused"),
    [
        (10, 100, b"0123456789", False, True),
        (9, 100, b"012345678", True, True),
        (0, 100, b"", True, True),
        (10, 10, b"0123456789", False, True),
        (10, 9, b"012345678", True, False),
        (3, 9, b"012", True, False),
        (10, 0, b"", True, False),
    ],
)
async def test_a_body_is_kept_up_to_capture_and_read_up_to_limit(
    sender: WireSender, serve: Serve, *, capture: int, limit: int, body: bytes, truncated: bool, reused: bool
) -> None:
    server = await serve(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"))
    for _ in range(2):
        response = await sender.send(get(server.url(), capture=capture, limit=limit))
        assert (response.status, response.failure) == (200, None)
        assert (response.body, response.truncated) == (body, truncated)
    assert server.connections == (1 if reused else 2)


async def test_an_endless_body_is_cut_without_an_error(sender: WireSender, serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.say(b"x" * 10_000)

    server = await serve(script)
    response = await sender.send(get(server.url(), capture=5, limit=100_000))
    assert (response.status, response.body, response.truncated, response.failure) == (
        200,
        b"xxxxx",
        True,
        None,
    )
    assert sender.idle_connections == 0


async def test_what_is_said_before_the_request_is_the_answer(sender: WireSender, serve: Serve) -> None:
    """As `printf … | nc -l` does."""

    async def script(peer: Peer) -> None:
        await peer.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        await peer.until_closed()

    server = await serve(script)
    assert (await sender.send(get(server.url()))).body == b"ok"


async def test_no_proxy_is_taken_from_the_environment(
    sender: WireSender, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = await serve(answer(OK)), await serve(answer(OK))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())
    assert (await sender.send(get(server.url()))).status == 200
    assert proxy.connections == 0


async def test_what_cannot_be_sent_is_a_failure(sender: WireSender, serve: Serve) -> None:
    server = await serve(answer(OK))
    response = await sender.send(get(server.url(), headers=(("X", "a\r\nEvil: secret"),)))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.INTERNAL
    assert "secret" not in response.failure.message
    assert server.connections == 0
