"""Targets of every bad kind, beside good ones that must not feel them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.support import RunningDaemon, Target, until

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


class Hanging:
    """A host that takes requests and never answers; it counts those that wait at one time."""

    def __init__(self) -> None:
        self.waiting = 0
        self.seen = 0
        self.url = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.waiting += 1
        self.seen += 1
        await reader.read()
        self.waiting -= 1
        writer.close()


@asynccontextmanager
async def hanging(count: int) -> AsyncIterator[list[Hanging]]:
    hosts = [Hanging() for _ in range(count)]
    async with AsyncExitStack() as stack:
        for host in hosts:
            server = await stack.enter_async_context(await asyncio.start_server(host.take, "127.0.0.1", 0))
            host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield hosts


@pytest.mark.parametrize("env", [{"FLIQD_DISPATCH__SHUTDOWN_GRACE": "0"}])
async def test_many_dead_hosts_do_not_stop_the_others(fliqd: RunningDaemon, target: Target) -> None:
    """Twelve of them, with 32 each more than enough for all the slots, keep a hundred others from nothing."""
    async with hanging(12) as hosts:
        jobs = [{"url": host.url, "delay": 0} for host in hosts for _ in range(40)]
        assert (await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})).status == 200

        async def all_hang() -> bool | None:
            return all(host.waiting for host in hosts) or None

        await until(all_hang, "a request at each dead host")
        jobs = [{"url": target.url, "delay": 0} for _ in range(100)]
        await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
        await target.received(100)
        assert sum(host.waiting for host in hosts) <= 128
        assert max(host.waiting for host in hosts) <= 32
        await fliqd.stop()


@pytest.mark.parametrize(
    "env", [{"FLIQD_DISPATCH__MAX_IN_FLIGHT_PER_HOST": "8", "FLIQD_DISPATCH__SHUTDOWN_GRACE": "0"}]
)
async def test_a_host_that_has_timed_out_is_tried_one_at_a_time(fliqd: RunningDaemon) -> None:
    async with hanging(1) as (host,):
        jobs = [{"url": host.url, "delay": 0, "timeout_seconds": 1} for _ in range(10)]
        await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})

        async def ninth() -> bool | None:
            return host.seen == 9 or None

        await until(ninth, "the first after eight timeouts")
        assert host.waiting == 1
        await fliqd.stop()
