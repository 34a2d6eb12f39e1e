"""What holds for every request: the caller, the id, the shape of errors."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from fliqd.api import requests, server
from tests.support import PATIENCE_S, RunningDaemon, until


async def test_nothing_without_a_token(fliqd: RunningDaemon) -> None:
    good = fliqd.token
    for token in (None, "x", "fliq_sk_" + "0" * 64, f"{good}0", good.upper() if good else None, ""):
        fliqd.token = token
        for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/status"), ("GET", "/nowhere")):
            answer = await fliqd(method, path)
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    for header in ("Basic " + str(good), str(good), "Bearer"):
        assert (await fliqd("GET", "/v1/status", headers={"Authorization": header})).status == 401


async def test_the_probes_are_open(fliqd: RunningDaemon) -> None:
    fliqd.token = None
    assert (await fliqd("GET", "/healthz")).status == 200
    assert (await fliqd("GET", "/readyz")).body == {"status": "ready"}


async def test_a_request_id_is_echoed_or_made(fliqd: RunningDaemon) -> None:
    given = await fliqd("GET", "/v1/status", headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"
    for bad in ("x" * 200, "a b", "ü", "<script>"):
        made = await fliqd("GET", "/v1/status", headers={"X-Request-Id": bad})
        assert made.headers["X-Request-Id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v2/jobs", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("POST", "/v1/status", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_refusals_of_the_router_have_the_shape_too(
    fliqd: RunningDaemon, method: str, path: str, status: int, code: str
) -> None:
    answer = await fliqd(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert set(answer.body["error"]) == {"code", "message", "details", "request_id"}


async def test_status(fliqd: RunningDaemon) -> None:
    job = await fliqd.create(url="http://127.0.0.1:9/", delay="1h")

    async def knows() -> dict[str, Any] | None:
        answer: dict[str, Any] = (await fliqd("GET", "/v1/status")).body
        return answer if answer["next_due_at"] else None  # the due window is being read at the start

    status = await until(knows, "the due window")
    assert (status["status"], status["in_flight"], status["next_due_at"]) == ("ok", 0, job["scheduled_at"])
    assert status["store"]["bytes"] > 0
    again = (await fliqd("GET", "/status")).body
    assert status | {"uptime_seconds": again["uptime_seconds"]} == again


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:1", 200), ("localhost:3547", 200), ("LOCALHOST", 200), ("[::1]:80", 200),
        ("192.168.1.5", 200), ("nas.lan", 200), ("nas.lan:8080", 200), ("fliqd.example.com", 200),
        ("evil.example", 421), ("localhost.evil.example", 421), ("nas.lan.evil", 421), ("127.0.0.1.nip.io", 421),
        ("", 421), ("a b", 421), ("127.0.0.1:port", 421), ("user@localhost", 421), ("[::1", 421),
        ("localhost:99999999", 421),
    ],
)  # fmt: skip
async def test_a_host_must_be_ours(fliqd: RunningDaemon, host: str, status: int) -> None:
    for path in ("/v1/status", "/healthz"):
        answer = await fliqd("GET", path, headers={"Host": host})
        assert answer.status == status, answer.body
        if status == 421:
            assert answer.code == "misdirected_request"


@pytest.fixture
def env() -> dict[str, str]:
    return {"FLIQD_SERVER__HOSTS": "nas.lan", "FLIQD_SERVER__PUBLIC_URL": "https://fliqd.example.com/x"}


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost", 200), ("http://LOCALHOST", 200), ("https://localhost", 200), ("http://localhost:81", 403),
     ("http://evil.example", 403), ("null", 403), ("", 403), ("http://[", 403)],
)  # fmt: skip
async def test_a_foreign_page_may_not_call(fliqd: RunningDaemon, origin: str, status: int) -> None:
    answer = await fliqd("GET", "/v1/status", headers={"Host": "localhost", "Origin": origin})
    assert answer.status == status
    assert "Access-Control-Allow-Origin" not in answer.headers


async def raw(fliqd: RunningDaemon, sent: bytes) -> bytes:
    """Send bytes as they are; return all that comes back until the connection is closed."""
    host, _, port = fliqd.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: a-miracle\r\nConnection: close\r\n\r\n", 417),
        (b"GET /v1/status HTTP/1.1\r\nHost: a\r\nHost: localhost\r\nConnection: close\r\n\r\n", None),
        (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    ],
    ids=range(11),
)
async def test_what_is_not_http_gets_the_shape_too(fliqd: RunningDaemon, sent: bytes, status: int | None) -> None:
    head, _, body = (await raw(fliqd, sent)).partition(b"\r\n\r\n")
    if status is None:
        assert head.split()[1] in (b"400", b"421")
    else:
        assert head.split()[1] == b"%d" % status
    assert set(json.loads(body)["error"]) == {"code", "message", "details", "request_id"}
    assert b"aiohttp" not in head


async def test_a_body_that_breaks_off_makes_no_job(fliqd: RunningDaemon) -> None:
    host, _, port = fliqd.url.removeprefix("http://").partition(":")
    body = json.dumps({"url": "http://127.0.0.1:9/", "delay": 60}).encode()
    head = (
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
    )
    head = head % (fliqd.token or "").encode() + b"Content-Length: %d\r\n\r\n" % len(body)
    for end in (0, 1, len(body) // 2, len(body) - 1):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + body[:end])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    await fliqd.create(url="http://127.0.0.1:9/", delay=60)
    assert len((await fliqd("GET", "/v1/jobs")).body["jobs"]) == 1


async def until_cut(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the end; that is a reset where what was sent last had not been read."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := await reader.read(65536):
            received += part
    return received


async def test_slow_heads_and_bodies_are_cut(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadlines are absolute: a byte now and then does not move them."""
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    monkeypatch.setattr(requests, "BODY_S", 0.3)
    host, _, port = fliqd.url.removeprefix("http://").partition(":")
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999\r\n"
    head += b"Authorization: Bearer " + (fliqd.token or "").encode() + b"\r\n"
    for at_once, answer in ((b"", b""), (b"GET /v1/st", b""), (head + b"\r\n", b"HTTP/1.1 408 ")):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(at_once)
        ended = asyncio.create_task(until_cut(reader))
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait((ended,), timeout=0.05)
        assert (await ended).startswith(answer)
        writer.close()
    monkeypatch.undo()
    assert (await fliqd("GET", "/v1/status")).status == 200


async def test_answers_that_nobody_reads_have_a_bound(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps the most of them in memory is cut off; the last who came gets all of his."""
    monkeypatch.setattr(server, "MOST_UNREAD", 10 * 1024**2)
    for _ in range(4):
        await fliqd.create(url="http://127.0.0.1:9/", delay="1d", body="x" * 1_000_000)
    host, _, port = fliqd.url.removeprefix("http://").partition(":")
    ask = f"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {fliqd.token}\r\n\r\n".encode()
    clients = []
    for _ in range(8):
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(ask)
        head = await reader.readuntil(b"\r\n\r\n")  # its answer has been written; nothing more is read
        clients.append((reader, writer, int(head.lower().partition(b"content-length: ")[2].split()[0])))
    whole = [await got_all(reader, length) for reader, _, length in clients]
    for _, writer, _ in clients:
        writer.close()
    assert whole[-1]
    assert whole.count(True) == 2
    assert (await fliqd("GET", "/v1/jobs")).status == 200


async def got_all(reader: asyncio.StreamReader, length: int) -> bool:
    """Read an answer's body; tell whether it came to its end."""
    try:
        while length > 0 and (data := await reader.read(65536)):
            length -= len(data)
    except ConnectionError:
        return False
    return length == 0
