"""Thousands of clients that ask and do not read, or do not finish asking: everyone else is served, memory has a bound.

A quarter each ask for a page of five megabytes and read nothing, listen to events and read none, stop within a head,
and stop within a body. Meanwhile jobs are created, run and answered for. Once the bound of pages
in memory is reached, each further client costs no more than a connection does.
"""

import asyncio
import resource
import socket
from itertools import cycle
from pathlib import Path

from tests.prove.proof import Proof
from tests.support import FliqdProcess, Target, process, until

CLIENTS_HERE = 200  # files that the test needs for itself
FIRST = 200  # clients, of which enough ask for pages that the bound is reached
MOST_EACH = 64 * 1024  # bytes, of each further client: a connection with what it has been sent
PAGES = 96 * 1024 * 1024  # bytes that come and go: pages being made, each of them twice for a moment


async def test_they_hold_up_nobody_and_memory_has_a_bound(proof: Proof, tmp_path: Path, target: Target) -> None:
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    count = min(proof.times(short=600, long=10_000 - 100), files - CLIENTS_HERE)
    clients: list[socket.socket] = []
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        for _ in range(10):
            jobs = [{"url": target.url, "delay": "1d", "body": "x" * 50_000}] * 10
            assert (await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})).status == 200
        served = 0
        first = 0
        for number, request in zip(range(count), cycle(slow_requests(fliqd)), strict=False):
            clients.append(await slow_client(fliqd, request))
            if number % 50 == 49:
                job = await fliqd.create(url=target.url, delay=0)
                await fliqd.until(job["id"], "success")
                served += 1
            if number == FIRST:
                await until(lambda: bound_reached(fliqd), "the bound")
                first = memory(fliqd)
        most = memory(fliqd)
        assert most - first < PAGES + MOST_EACH * (count - FIRST), (first, most)
        for client in clients:
            client.close()
        job = await fliqd.create(url=target.url, delay=0)
        await fliqd.until(job["id"], "success")
    proof.saw(
        slow_clients=count,
        jobs_created_and_run_meanwhile=served,
        memory_in_MB_with_the_first_and_all=f"{first / 1e6:.0f} → {most / 1e6:.0f}",
    )


async def bound_reached(fliqd: FliqdProcess) -> bool | None:
    return any(event["event"] == "api.unread" for event in fliqd.log) or None


def slow_requests(fliqd: FliqdProcess) -> list[bytes]:
    """Return what slow clients send."""
    known = f"Host: localhost\r\nAuthorization: Bearer {fliqd.token}\r\n"
    body = "Content-Type: application/json\r\nContent-Length: 500000\r\n\r\n" + "x" * 4000
    asked = [
        f"GET /v1/jobs?limit=100 HTTP/1.1\r\n{known}\r\n",
        f"GET /v1/events HTTP/1.1\r\n{known}\r\n",
        f"GET /v1/jobs HTTP/1.1\r\n{known}",
        f"POST /v1/jobs HTTP/1.1\r\n{known}{body}",
    ]
    return [text.encode() for text in asked]


async def slow_client(fliqd: FliqdProcess, request: bytes) -> socket.socket:
    """Connect, send, and read nothing."""
    host, _, port = fliqd.url.removeprefix("http://").rpartition(":")
    loop = asyncio.get_running_loop()
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    await loop.sock_connect(made, (host, int(port)))
    await loop.sock_sendall(made, request)
    return made


def memory(fliqd: FliqdProcess) -> int:
    """Return how much memory of its own the daemon has."""
    assert fliqd.process is not None
    [line] = [
        line
        for line in Path(f"/proc/{fliqd.process.pid}/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    ]
    return int(line.split()[1]) * 1024
