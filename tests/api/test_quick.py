"""The short way for creates answers what the ordinary way answers, byte for byte."""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import Iterator

import pytest

from fliqd.api import quick
from fliqd.api.server import MOST_HELD
from tests.support import PATIENCE_S, RunningDaemon, Target, until

QUIET_S = 0.25  # how long nothing comes before a test takes it that nothing will
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
FIRST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
GOOD = json.dumps(
    {"url": "http://127.0.0.1:9/", "delay": "1h", "json": {"a": [1, None]}, "headers": {"X": "ü"}}
).encode()
PLACES = {
    b"url": [b'"http://[::1]:8/x?y#z"', b'"ftp://a/"', b"7", b"null", b'"http://a/' + b"x" * 3_000 + b'"'],
    b"delay": [b"0", b'"90s"', b'"1 parsec"', b"-1", b"true", b"1e400", b"[]"],
    b"headers": [b'{"A": "1", "a": "2"}', b'{"Host": "x"}', b'{"A": 1}', b'{"A": "\\n"}'],
    b"body": [b'"raw"', b'"\\u0000"', b'"\\ud800"', b"{}"],
    b"backoff": [b'"linear"', b'{"kind": "table"}', b'"cubic"'],
    b"tags": [b'["a", "a"]', b'[""]', b"[1]"],
    b"ur": [b"1"],
    b"schedule": [b"null"],
}
BODIES = [
    GOOD,
    b"",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b"\xff",
    b'{"url": NaN}',
    b'{"url":"http://a/","url":"http://b/","delay":1}',
    b"[" * 50_000,
    GOOD + b" ",
    GOOD + b"x",
    b'{"jobs": []}',
    b'{"jobs": [{}, ' + GOOD + b", 1]}",
    b'{"jobs": [' + GOOD + b"]}",
    GOOD[:-1] + b', "idempotency_key": "of-the-body"}',
    b'{"url": "' + b"x" * 70_000 + b'"}',
]


def heads(token: str) -> Iterator[list[bytes]]:
    """Yield heads, good ones and bad ones, without their length."""
    good = [b"POST /v1/jobs HTTP/1.1", b"Host: localhost", b"Authorization: Bearer " + token.encode()]
    typed = [*good, b"Content-Type: application/json"]
    yield typed
    for line in (
        b"POST /jobs HTTP/1.1",
        b"POST /v1/jobs/batch HTTP/1.1",
        b"POST /jobs/batch HTTP/1.1",
        b"POST /v1/jobs/ HTTP/1.1",
        b"POST /v1/jobs?x=1 HTTP/1.1",
        b"POST /v1/jobs? HTTP/1.1",
        b"POST /v1/job%73 HTTP/1.1",
        b"POST //v1/jobs HTTP/1.1",
        b"POST http://localhost/v1/jobs HTTP/1.1",
        b"POST /v1/nothing HTTP/1.1",
        b"POST /v1/jobs HTTP/1.0",
        b"POST /v1/jobs HTTP/1.2",
        b"POST  /v1/jobs HTTP/1.1",
        b"POST /v1/jobs",
        b"POST /v1/jobs#x HTTP/1.1",
        b"PUT /v1/jobs HTTP/1.1",
        b"post /v1/jobs HTTP/1.1",
        b"DELETE /v1/jobs HTTP/1.1",
    ):
        yield [line, *typed[1:]]
    for line in (
        b"X-Request-Id: given-1",
        b"X-Request-Id: <bad>",
        b"Idempotency-Key: k",
        b"Idempotency-Key: ",
        b"Idempotency-Key: \xfc",
        b"Origin: http://localhost",
        b"Origin: http://evil.example",
        b"Origin: null",
        b"Host: localhost",
        b"Host: other",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Expect: 100-continue",
        b"Expect: wonders",
        b"Content-Encoding: gzip",
        b"Content-Encoding: identity",
        b"Transfer-Encoding: identity",
        b"TE: trailers",
        b"Content-Type: application/json",
        b"Content-Type: text/plain",
        b"Authorization: Bearer x",
        b"Cookie: a=b",
        b"X: \x01",
        b"X : y",
        b" folded",
        b"X",
        b": x",
        b"X: " + b"x" * 5_000,
        b"X: " + b"x" * 40_000,
        b"Accept: */*",
        b"X: \xc3\xa9",
    ):
        yield [*typed, line]
    yield typed[1:]
    for missing in (1, 2, 3):
        yield typed[:missing] + typed[missing + 1 :]
    for kind in (b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/jsonx", b"text/json", b""):
        yield [*good, b"Content-Type: " + kind]
    for host in (b"127.0.0.1:80", b"[::1]", b"evil.example", b"", b"a b", b"LOCALHOST"):
        yield [typed[0], b"Host: " + host, *typed[2:]]
    for scheme in (b"bearer ", b"Bearer  ", b"Basic ", b"Bearer", b""):
        yield [*typed[:2], b"Authorization: " + scheme + token.encode(), typed[3]]
    yield [line.lower() if number else line for number, line in enumerate(typed)]


def requests(token: str) -> Iterator[bytes]:
    every = list(heads(token))
    for lines in every:
        yield request(lines, GOOD)
    for lines in (every[0], [b"POST /v1/jobs/batch HTTP/1.1", *every[0][1:]]):
        for body in BODIES:
            yield request(lines, body)
    for name, values in PLACES.items():
        for value in values:
            yield request(every[0], GOOD[:-1] + b', "%b": %b}' % (name, value))
            yield request(every[0], b'{"%b": %b}' % (name, value))
    for length in (
        b"0",
        b"1",
        b"+1",
        b"-1",
        b"1.0",
        b"0x10",
        b"00000000000000000000009",
        b" 9",
        b"9 ",
        b"9, 9",
        b"",
        b"x",
    ):
        yield b"\r\n".join([*every[0], b"Content-Length: " + length, b"", GOOD])
    yield b"\r\n".join([*every[0], b"Content-Length: 1", b"Content-Length: 2", b"", b"{}"])
    yield b"\r\n".join([*every[0], b"Transfer-Encoding: chunked", b"", b"2\r\n{}\r\n0\r\n\r\n"])
    yield b"\r\n".join([*every[0], b"Content-Length: 2", b"Transfer-Encoding: chunked", b"", b"2\r\n{}\r\n0\r\n\r\n"])
    yield request(every[0], GOOD).replace(b"\r\n", b"\n")
    yield b"\r\n" + request(every[0], GOOD)
    chance = random.Random(7)
    plain = request(every[0], GOOD)
    for _ in range(300):
        broken = bytearray(plain)
        for _ in range(chance.randint(1, 3)):
            broken[chance.randrange(len(broken))] = chance.choice(b"\0\t\r\n :;,{}[]\"'/\\%0aZ\x7f\xff")
        yield bytes(broken)


def request(lines: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


class Line:
    """A connection to the API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def rest(self, quiet_s: float = QUIET_S) -> bytes:
        """Return what comes until the connection is closed or nothing comes any more, and whether it is good then."""
        received = b""
        try:
            with contextlib.suppress(ConnectionError):
                while part := await asyncio.wait_for(self.reader.read(65536), quiet_s):
                    received += part
        except TimeoutError:
            self.writer.write(LAST)
            with contextlib.suppress(ConnectionError, TimeoutError):
                received += b"(open)" + await asyncio.wait_for(self.reader.read(), quiet_s)
        self.writer.close()
        return received

    async def to_the_end(self) -> bytes:
        """Return what comes until the connection is closed."""
        received = await asyncio.wait_for(self.reader.read(), PATIENCE_S)
        self.writer.close()
        return received


async def connect(fliqd: RunningDaemon, *, ordinary: bool = False) -> Line:
    """Connect, and bring something that is not for the short way, which keeps a connection off it."""
    host, _, port = fliqd.url.removeprefix("http://").partition(":")
    line = Line(*await asyncio.open_connection(host, int(port)))
    if ordinary:
        line.writer.write(FIRST)
        await line.reader.readuntil(b"}")
    return line


async def answers(fliqd: RunningDaemon, sent: bytes, *, ordinary: bool = False, quiet_s: float = QUIET_S) -> bytes:
    """Send bytes; return what comes back."""
    line = await connect(fliqd, ordinary=ordinary)
    line.writer.write(sent)
    return await line.rest(quiet_s)


def same(answer: bytes) -> bytes:
    """Put one word for what differs from request to request, and is as long each time."""
    answer = re.sub(rb"job_[0-9a-z]{26}", b"job_ID", answer)
    answer = re.sub(rb"req_[0-9a-f]{18}", b"req_ID", answer)
    return re.sub(rb"Date: [^\r]*", b"Date: NOW", answer)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What went the short way."""
    bodies: list[bytes] = []
    take = quick.take

    def and_note(data: bytes, longest_body: int) -> quick.PlainRequest | None:
        found = take(data, longest_body)
        if found is not None:
            bodies.append(found._body)  # noqa: SLF001 -- to see what it was
        return found

    monkeypatch.setattr(quick, "take", and_note)
    return bodies


async def test_both_ways_answer_the_same(fliqd: RunningDaemon, taken: list[bytes]) -> None:
    """Hundreds of requests, malformed ones too, each with another one behind it."""
    every = list(dict.fromkeys(requests(fliqd.token or "")))
    assert len(every) > 400
    for first in range(0, len(every), 100):
        part = every[first : first + 100]
        short = await asyncio.gather(*(answers(fliqd, sent) for sent in part))
        count = len(taken)
        ordinary = await asyncio.gather(*(answers(fliqd, sent, ordinary=True) for sent in part))
        assert len(taken) == count
        # A busy machine may be quiet for longer; a real difference is there again.
        differ = [sent for sent, one, other in zip(part, short, ordinary, strict=True) if not alike(sent, one, other)]
        short = await asyncio.gather(*(answers(fliqd, sent, quiet_s=2.0) for sent in differ))
        ordinary = await asyncio.gather(*(answers(fliqd, sent, ordinary=True, quiet_s=2.0) for sent in differ))
        for sent, one, other in zip(differ, short, ordinary, strict=True):
            assert alike(sent, one, other), (sent, one, other)
    assert len(taken) > 100


def alike(sent: bytes, one: bytes, other: bytes) -> bool:
    if b"dempotency" in sent and b" 200 OK" in other:  # the second asks again
        return re.findall(rb"job_[0-9a-z]{26}", one) == re.findall(rb"job_[0-9a-z]{26}", other)
    return same(one) == same(other)


async def test_a_key_makes_one_job_on_either_way(fliqd: RunningDaemon, taken: list[bytes]) -> None:
    sent = request([*next(heads(fliqd.token or "")), b"Idempotency-Key: k"], GOOD)
    got = await answers(fliqd, sent) + await answers(fliqd, sent)
    assert len(taken) == 2
    got += await answers(fliqd, sent, ordinary=True)
    assert len(set(re.findall(rb"job_[0-9a-z]{26}", got))) == 1
    assert got.count(b"Idempotent-Replayed: true") == 2
    assert got.count(b" 201 Created") == 1


async def test_two_tokens_are_refused(fliqd: RunningDaemon, taken: list[bytes]) -> None:
    """Which of them a proxy has let through is not known."""
    sent = request([*next(heads(fliqd.token or "")), b"Authorization: Bearer x"], GOOD)
    for got in (await answers(fliqd, sent), await answers(fliqd, sent, ordinary=True)):
        assert b" 401 Unauthorized" in got
        assert b"comes more than once" in got


async def test_two_keys_are_refused(fliqd: RunningDaemon, taken: list[bytes]) -> None:
    sent = request([*next(heads(fliqd.token or "")), b"Idempotency-Key: k", b"Idempotency-Key: l"], GOOD)
    for got in (await answers(fliqd, sent), await answers(fliqd, sent, ordinary=True)):
        assert b" 400 Bad Request" in got
        assert b"comes more than once" in got
    assert len(taken) == 1


async def test_it_may_come_in_two_pieces(fliqd: RunningDaemon) -> None:
    """Split anywhere, with another behind it: each is answered once, in order."""
    sent = request(next(heads(fliqd.token or "")), GOOD)
    for place in range(0, 2 * len(sent), 23):
        line = await connect(fliqd)
        line.writer.write((sent + sent)[:place])
        await asyncio.sleep(0)
        line.writer.write((sent + sent)[place:] + LAST)
        got = await line.to_the_end()
        assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"201", b"201", b"200"], place


async def test_more_than_is_held_at_once_is_answered_all_the_same(fliqd: RunningDaemon) -> None:
    """While one is being answered, hundreds come behind it."""
    sent = request(next(heads(fliqd.token or "")), GOOD)
    count = 3 * MOST_HELD // len(sent)
    line = await connect(fliqd)
    line.writer.write(sent)
    await asyncio.sleep(0)
    line.writer.write(sent * count)
    line.writer.write(LAST)
    assert (await line.to_the_end()).count(b" 201 Created") == count + 1


async def test_a_client_that_leaves_takes_nothing_along(fliqd: RunningDaemon, target: Target) -> None:
    body = json.dumps({"url": target.url, "delay": 0}).encode()
    sent = request(next(heads(fliqd.token or "")), body)
    for _ in range(20):
        line = await connect(fliqd)
        line.writer.write(sent)
        await line.writer.drain()
        line.writer.transport.abort()
    await fliqd.create(url=target.url, delay=0)
    await target.received(1)

    async def idle() -> bool | None:
        status = (await fliqd("GET", "/v1/status")).body
        return (status["in_flight"], status["backlog"]) == (0, 0) or None

    await until(idle, "an idle daemon")


async def test_a_stop_lets_it_be_answered(fliqd: RunningDaemon) -> None:
    sent = request(next(heads(fliqd.token or "")), GOOD)
    asked = [asyncio.ensure_future(answers(fliqd, sent)) for _ in range(20)]
    while not all(answer.done() for answer in asked):
        await asyncio.sleep(0)
        if (await fliqd("GET", "/v1/jobs?limit=1")).body["jobs"]:
            break
    await fliqd.stop()
    for got in await asyncio.gather(*asked):
        assert got in (b"", b"(open)") or b" 201 Created" in got or b" 503 " in got
