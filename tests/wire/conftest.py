"""A sender that may go anywhere, and a server that says what a test tells it to."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fliqd.engine.wire.sender import WireSender
from tests.wire.servers import Script, ScriptedServer


@pytest.fixture
def full_port() -> Iterator[int]:
    """Give a port whose backlog is full, so that the next connection waits for ever (Linux drops its SYN)."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            waiting.append(sock)
        yield port
        for sock in waiting:
            sock.close()


@pytest.fixture
async def sender() -> AsyncIterator[WireSender]:
    """Give a sender, and see that nothing of it is left open afterwards."""
    before = open_sockets()
    sender = WireSender(judge=lambda *_where, **_how: None, stagger_s=0.01)
    yield sender
    await sender.close()
    assert sender.open_connections == 0
    for _ in range(20):
        if open_sockets() <= before:
            break
        await asyncio.sleep(0.001)
    assert open_sockets() <= before


def open_sockets() -> int:
    """Count this process's internet sockets; a loop's own pairs and pipes come and go."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=int(entry.name))
            count += sock.family in {socket.AF_INET, socket.AF_INET6}
            sock.detach()
    return count


class Serve:
    """Starts scripted servers and stops them with the test."""

    def __init__(self) -> None:
        self.servers: list[ScriptedServer] = []

    async def __call__(self, script: Script, **options: Any) -> ScriptedServer:
        server = ScriptedServer(script)
        await server.start(**options)
        self.servers.append(server)
        return server


@asynccontextmanager
async def serving() -> AsyncIterator[Serve]:
    serve = Serve()
    try:
        yield serve
    finally:
        for server in serve.servers:
            await server.stop()


@pytest.fixture
async def serve(sender: WireSender) -> AsyncIterator[Serve]:
    """Give a maker of servers; they stop before the sender does, which sees what that does to it."""
    async with serving() as serve:
        yield serve
