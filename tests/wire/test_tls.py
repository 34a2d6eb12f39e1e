"""TLS as strict as the standard library's: names, chains, dates, versions, and a word for each failure."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from fliqd.core.delivery import ErrorCode, Response
from fliqd.engine.wire.dns import Address, Resolver, getaddrinfo
from fliqd.engine.wire.sender import WireSender
from tests.wire.conftest import Serve
from tests.wire.servers import OK, Peer, answer, answer_and_close, get, post

CA = trustme.CA()


def server_side(*names: str, ca: trustme.CA = CA, **options: dt.datetime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, **options).configure_cert(context)  # type: ignore[arg-type]
    return context


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def look_up(host: str) -> list[Address]:
    return getaddrinfo("localhost" if host.rstrip(".").endswith(".example") else host)


@pytest.fixture
async def trusting_sender() -> AsyncIterator[WireSender]:
    resolver = Resolver(now=lambda: 0.0, look_up=look_up)
    sender = WireSender(judge=lambda *_where, **_how: None, tls=trusting(CA), resolver=resolver, stagger_s=0.01)
    yield sender
    await sender.close()
    assert sender.open_connections == 0


def assert_tls_failure(response: Response, says: str) -> None:
    assert response.failure is not None
    assert (response.failure.code, response.status) == (ErrorCode.TLS, None)
    assert says in response.failure.message
    assert "secret" not in response.failure.message


@pytest.mark.parametrize("host", ["a.example", "A.Example", "a.example.", "127.0.0.1", "localhost"])
async def test_a_name_in_the_certificate_is_served_and_kept(
    trusting_sender: WireSender, serve: Serve, host: str
) -> None:
    server = await serve(answer(OK), ssl=server_side("a.example", "127.0.0.1", "localhost"))
    for _ in range(3):
        response = await trusting_sender.send(post(server.url(host=host), b"x" * 100_000))
        assert (response.status, response.body, response.failure) == (200, b"ok", None)
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_the_name_is_sent_along_and_timed(trusting_sender: WireSender, serve: Serve) -> None:
    names: list[str | None] = []
    context = server_side("a.example")
    context.sni_callback = lambda _object, name, _context: names.append(name)
    server = await serve(answer(OK), ssl=context)
    response = await trusting_sender.send(get(server.url(host="a.example")))
    assert names == ["a.example"]
    assert response.timings.tls_ms is not None


@pytest.mark.parametrize("host", ["b.example", "x.a.example", "127.0.0.1"])
async def test_another_name_is_refused(trusting_sender: WireSender, serve: Serve, host: str) -> None:
    server = await serve(answer(OK), ssl=server_side("a.example"))
    assert_tls_failure(await trusting_sender.send(get(server.url("/?secret", host=host))), "for another name")
    assert server.requests == []


async def test_an_expired_certificate_is_refused(trusting_sender: WireSender, serve: Serve) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    server = await serve(answer(OK), ssl=server_side("a.example", not_before=past, not_after=past.replace(year=2021)))
    assert_tls_failure(await trusting_sender.send(get(server.url(host="a.example"))), "has expired: renew it")
    assert server.requests == []


async def test_a_certificate_from_the_future_is_refused(trusting_sender: WireSender, serve: Serve) -> None:
    future = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
    context = server_side("a.example", not_before=future, not_after=future + dt.timedelta(days=30))
    server = await serve(answer(OK), ssl=context)
    assert_tls_failure(await trusting_sender.send(get(server.url(host="a.example"))), "not valid yet")


async def test_an_unknown_issuer_is_refused(trusting_sender: WireSender, serve: Serve) -> None:
    server = await serve(answer(OK), ssl=server_side("a.example", ca=trustme.CA()))
    assert_tls_failure(await trusting_sender.send(get(server.url(host="a.example"))), "showed a")
    assert server.requests == []


async def test_the_default_context_does_not_trust_strangers(sender: WireSender, serve: Serve) -> None:
    server = await serve(answer(OK), ssl=server_side("localhost"))
    assert_tls_failure(await sender.send(get(server.url(host="localhost"))), "give fliqd its CA (SSL_CERT_FILE)")
    assert server.requests == []


async def test_old_versions_are_refused(trusting_sender: WireSender, serve: Serve) -> None:
    context = server_side("a.example")
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = await serve(answer(OK), ssl=context)
    response = await trusting_sender.send(get(server.url(host="a.example")))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.TLS


async def test_tls_1_2_is_spoken(trusting_sender: WireSender, serve: Serve) -> None:
    context = server_side("a.example")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = await serve(answer(OK), ssl=context)
    assert (await trusting_sender.send(get(server.url(host="a.example")))).status == 200


@pytest.mark.parametrize(
    "first_words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail ESMTP\r\n", b"SSH-2.0-x\r\n", b"\0" * 40]
)
async def test_a_port_without_tls_is_named_as_such(
    trusting_sender: WireSender, serve: Serve, first_words: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.say(first_words)
        await peer.until_closed()

    server = await serve(script)
    response = await trusting_sender.send(get(f"https://localhost:{server.port}/"))
    assert_tls_failure(response, "http://")


async def test_a_port_that_closes_on_the_handshake(trusting_sender: WireSender, serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        return

    server = await serve(script)
    assert_tls_failure(await trusting_sender.send(get(f"https://localhost:{server.port}/")), "during the TLS handshake")


async def test_a_handshake_that_never_ends_runs_into_the_deadline(trusting_sender: WireSender, serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await peer.until_closed()

    server = await serve(script)
    response = await trusting_sender.send(get(f"https://localhost:{server.port}/", timeout_s=0.05))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.CONNECT_TIMEOUT
    assert "TLS handshake" in response.failure.message


async def test_http_to_a_tls_port(sender: WireSender, serve: Serve) -> None:
    """OpenSSL answers with an alert or just closes; either way no request counts as answered."""
    server = await serve(answer(OK), ssl=server_side("localhost"))
    response = await sender.send(get(f"http://localhost:{server.port}/"))
    assert response.failure is not None
    assert response.failure.code in {ErrorCode.PROTOCOL, ErrorCode.RESET}


async def test_a_body_ended_by_the_close(trusting_sender: WireSender, serve: Serve) -> None:
    server = await serve(answer_and_close(b"HTTP/1.1 200 OK\r\n\r\nok"), ssl=server_side("a.example"))
    for _ in range(2):
        response = await trusting_sender.send(get(server.url(host="a.example")))
        assert (response.status, response.body, response.failure) == (200, b"ok", None)


async def test_a_close_between_requests_is_no_failure(trusting_sender: WireSender, serve: Serve) -> None:
    server = await serve(answer_and_close(OK), ssl=server_side("a.example"))
    for _ in range(5):
        response = await trusting_sender.send(get(server.url(host="a.example")))
        assert (response.status, response.failure) == (200, None)
    assert len(server.requests) == 5


async def test_a_large_body_comes_whole(trusting_sender: WireSender, serve: Serve) -> None:
    body = bytes(range(256)) * 4000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    server = await serve(answer(head + body), ssl=server_side("a.example"))
    request = get(server.url(host="a.example"), capture=len(body), limit=len(body))
    for _ in range(2):
        assert (await trusting_sender.send(request)).body == body
    assert server.connections == 1


@pytest.mark.parametrize("turns", [*range(1, 12), 20, 40])
async def test_cancelled_within_the_handshake(trusting_sender: WireSender, serve: Serve, turns: int) -> None:
    server = await serve(answer(OK), ssl=server_side("127.0.0.1"))
    sending = asyncio.ensure_future(trusting_sender.send(get(server.url())))
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert (await trusting_sender.send(get(server.url()))).status == 200
