"""A server that follows a script for each connection, and counts what reached it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from fliqd.core.delivery import OutgoingRequest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One accepted connection, as its script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: "ScriptedServer") -> None:
        self._reader = reader
        self._writer = writer
        self._server = server

    async def request(self) -> tuple[bytes, bytes]:
        """Read one request, its head and its body; raise IncompleteReadError at the end of the stream."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        body = await self._reader.readexactly(length)
        self._server.requests.append((head, body))
        return head, body

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def half_close(self) -> None:
        self._writer.write_eof()

    async def until_closed(self) -> None:
        """Wait until the client has closed."""
        while await self._reader.read(65536):
            pass

    def reset(self) -> None:
        """Close with an RST (SO_LINGER of zero)."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class ScriptedServer:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.tls = False
        self.port = 0

    async def start(self, host: str = "127.0.0.1", **options: Any) -> None:
        self.tls = "ssl" in options
        self._server = await asyncio.start_server(self._accept, host, 0, **options)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._script(Peer(reader, writer, self))
        finally:
            writer.close()
            self._tasks.discard(task)


def answer(data: bytes) -> Script:
    """Answer every request of a connection with the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(data)

    return script


def answer_and_close(data: bytes) -> Script:
    """Answer the first request of a connection, then close it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(data)

    return script


def get(url: str, **changes: Any) -> OutgoingRequest:
    request: dict[str, Any] = {
        "method": "GET", "url": url, "headers": (), "body": None,
        "timeout_s": 5.0, "capture": 4096, "limit": 65536,
    }  # fmt: skip
    return OutgoingRequest(**(request | changes))


def post(url: str, body: bytes = b"", **changes: Any) -> OutgoingRequest:
    return get(url, method="POST", body=body, **changes)
