"""Targets of every bad kind, beside good ones that must not feel them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support import RunningDaemon, Target

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(data: bytes) -> Talk:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return talk


async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()  # to the end of the connection


async def drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def drips_a_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def floods(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        writer.write(b"x" * 1_000_000)
        await writer.drain()


async def storms(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()


# what the target does; what becomes of the job; the code of its error
KINDS: dict[str, tuple[Talk, str, str | None]] = {
    "hangs": (hangs, "failed", "timeout"),
    "drips its head": (drips, "failed", "timeout"),
    "drips its body": (drips_a_body, "failed", "timeout"),
    "floods with 100 MB": (floods, "success", None),
    "storms with 1xx": (storms, "failed", "protocol"),
    "closes": (says(b""), "failed", "reset"),
    "garbage": (says(b"\x00\xff\x13garbage\r\n\r\n"), "failed", "protocol"),
    "status 999": (says(b"HTTP/1.1 999 Strange\r\nContent-Length: 0\r\n\r\n"), "failed", "protocol"),
    "status 42": (says(b"HTTP/1.1 42 Odd\r\nContent-Length: 0\r\n\r\n"), "failed", "protocol"),
    "too long a length": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"), "failed", "protocol"),
    "two lengths": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "failed", "protocol"),
    "no end of head": (says(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 9_000), "failed", "too_large"),
    "odd headers": (says(b"HTTP/1.1 200 OK\r\nX-\xc3\xbc: y\r\n\r\n"), "failed", "protocol"),
    "header bytes": (says(b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\nContent-Length: 0\r\n\r\n"), "success", None),
    "body bytes": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x80"), "success", None),
    "until it closes": (says(b"HTTP/1.1 200 OK\r\n\r\nto the end"), "success", None),
    "tls": (says(b"\x15\x03\x01\x00\x02\x02\x46"), "failed", "protocol"),
}


@pytest.fixture
async def bad_targets() -> AsyncIterator[dict[str, str]]:
    """The URL of each kind of bad target."""
    servers = []
    urls = {}
    for name, (talk, _, _) in KINDS.items():

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: Talk = talk) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                await talk(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        urls[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    yield urls
    for server in servers:
        server.close()


async def test_each_bad_target_is_an_outcome_and_no_good_one_feels_it(
    fliqd: RunningDaemon, target: Target, bad_targets: dict[str, str]
) -> None:
    bad = {
        name: await fliqd.create(url=url, http_method="GET", delay=0, timeout_seconds=1)
        for name, url in bad_targets.items()
    }
    good = [await fliqd.create(url=target.url, delay=0) for _ in range(100)]
    for job in good:
        assert (await fliqd.until(job["id"], "success"))["executions"] == 1
    seen = {}
    for name, job in bad.items():
        ended = await fliqd.until(job["id"], "success", "failed")
        execution = (await fliqd.executions(job["id"]))[0]
        seen[name] = (ended["status"], execution["error_code"])
        assert (execution["error"] is None) == (ended["status"] == "success")
    assert seen == {name: (status, code) for name, (_, status, code) in KINDS.items()}
