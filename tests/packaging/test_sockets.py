"""Sockets that a service manager hands over: found, served, left open, and no connection lost between two daemons."""

import asyncio
import json
import os
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fliqd.errors import FliqdError
from fliqd.listening import Handed, handed_over
from fliqd.settings import Listen
from tests.support import PATIENCE_S

from .manager import launch_with


@asynccontextmanager
async def daemon(*sockets: socket.socket, state: Path, names: str = "", **env: str) -> AsyncIterator[Process]:
    process = await launch_with(sockets, names, state, **env)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ready(process: Process) -> dict[str, list[str]]:
    """Return the line that says where it listens."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stderr:
            if b'"daemon.ready"' in line:
                event: dict[str, list[str]] = json.loads(line)
                return event
    raise AssertionError("it ended")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def test_it_serves_what_it_is_handed(tmp_path: Path) -> None:
    """The place that the configuration names is not opened twice, and others stay as they are."""
    path = str(tmp_path / "handed.sock")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        port = tcp.getsockname()[1]
        listen = {"FLIQD_SERVER__LISTEN": f"127.0.0.1:{port}"}
        async with daemon(tcp, unix, state=tmp_path / "state", names="web:local", **listen) as process:
            assert (await ready(process))["listen"] == [f"http://127.0.0.1:{port}", f"unix:{path}"]
            for opened in (asyncio.open_connection("127.0.0.1", port), asyncio.open_unix_connection(path)):
                assert (await ask(*await opened, HEALTH)).startswith(b"HTTP/1.1 200 ")


async def test_sockets_for_another_process_are_left_alone(tmp_path: Path) -> None:
    assert handed_over({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getppid())}) == []
    assert handed_over({"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}) == []


async def test_without_tokens_no_socket_reaches_beyond_this_machine(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere:  # noqa: S104 -- what must be refused
        async with daemon(everywhere, state=tmp_path / "state", names="web", FLIQD_AUTH__MODE="none") as process:
            _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
            assert process.returncode == 78
            assert b'auth.mode: got "none", but the socket web is http://0.0.0.0:' in said


async def test_a_socket_that_takes_no_connections_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        async with daemon(datagrams, state=tmp_path / "state", names="web") as process:
            _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
            assert process.returncode == 1
            assert b"ListenStream=" in said


def test_a_descriptor_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    try:
        monkeypatch.setattr("fliqd.listening.FIRST_FD", reading)
        with pytest.raises(FliqdError, match="is no socket"):
            handed_over({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "pipe"})
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    ("handed", "place", "covered"),
    [
        (Listen("127.0.0.1", 3547), Listen("127.0.0.1", 3547), True),
        (Listen("0.0.0.0", 3547), Listen("127.0.0.1", 3547), True),  # noqa: S104 -- a wildcard
        (Listen("::", 3547), Listen("127.0.0.1", 3547), True),
        (Listen("::", 3547), Listen("::1", 3547), True),
        (Listen("0.0.0.0", 3547), Listen("::1", 3547), False),  # noqa: S104 -- a wildcard
        (Listen("127.0.0.1", 3547), Listen("0.0.0.0", 3547), False),  # noqa: S104 -- a wildcard
        (Listen("127.0.0.1", 3547), Listen("127.0.0.1", 3548), False),
        (Listen("127.0.0.1", 3547), Listen("127.0.0.1", 0), False),
        (Listen(path="/run/a"), Listen(path="/run/a"), True),
        (Listen(path="/run/a"), Listen("127.0.0.1", 3547), False),
    ],
)
def test_what_a_socket_covers(handed: Listen, place: Listen, *, covered: bool) -> None:
    with socket.socket() as sock:
        assert Handed(sock, "web", handed).covers(place) is covered


async def test_no_connection_is_lost_over_a_restart(tmp_path: Path) -> None:
    """Clients that create without a pause, each job on a connection of its own, see nothing but 201."""
    state = tmp_path / "state"
    statuses: list[bytes] = []
    restarting = True

    async def create(port: int, token: str) -> None:
        body = b'{"url": "http://127.0.0.1:9/", "delay": "1h"}'
        request = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        while restarting:
            answer = await ask(*await asyncio.open_connection("127.0.0.1", port), request)
            statuses.append(answer[:12])

    with socket.create_server(("127.0.0.1", 0)) as web:
        port = web.getsockname()[1]
        clients: list[asyncio.Task[None]] = []
        async with asyncio.timeout(PATIENCE_S * 3):
            for _ in range(3):
                async with daemon(web, state=state, names="web") as process:
                    await ready(process)
                    if not clients:
                        token = (state / "admin.token").read_text().strip()
                        clients = [asyncio.create_task(create(port, token)) for _ in range(8)]
                    before = len(statuses)
                    while len(statuses) < before + 50:
                        assert not any(client.done() for client in clients), clients
                        await asyncio.sleep(0.01)
                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0
            async with daemon(web, state=state, names="web") as process:
                await ready(process)
                restarting = False
                await asyncio.gather(*clients)
    assert set(statuses) == {b"HTTP/1.1 201"}
