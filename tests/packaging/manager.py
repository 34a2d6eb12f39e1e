"""What a service manager is to the daemon: a socket that takes its messages, and sockets that it hands over."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support import until

# Names the process that reads them, as sd_listen_fds(3) wants it, then becomes the daemon.
HAND_OVER = """
import os, sys
given, names = [int(fd) for fd in sys.argv[1].split(",")], sys.argv[2]
for place, fd in enumerate(given, 3):
    os.dup2(fd, place)
os.environ |= {"LISTEN_FDS": str(len(given)), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "fliqd", "serve", *sys.argv[3:]])
"""


class Manager:
    """Notes what it is told."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self.told: list[list[str]] = []

    def close(self) -> None:
        self._socket.close()

    def look(self) -> list[str]:
        """Take what has come; return every line so far."""
        while True:
            try:
                self.told.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return [line for message in self.told for line in message]

    async def hears(self, start: str, times: int = 1) -> str:
        """Wait until so many lines have begun like this; return the last of them."""

        async def there() -> str | None:
            lines = [line for line in self.look() if line.startswith(start)]
            return lines[-1] if len(lines) >= times else None

        return await until(there, f"{start} for the service manager")


@contextmanager
def manager(directory: Path) -> Iterator[Manager]:
    notified = Manager(directory / "notify.sock")
    try:
        yield notified
    finally:
        notified.close()


async def launch_with(
    sockets: Sequence[socket.socket], names: str, state_dir: Path, *args: str, **env: str
) -> asyncio.subprocess.Process:
    """Start the daemon with sockets that are open already, from descriptor 3 on."""
    high = [os.dup(sock.fileno()) for sock in sockets]  # not among those that are filled
    spare = []
    try:
        while min(high) < 3 + len(high):
            spare += high
            high = [os.dup(sock.fileno()) for sock in sockets]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            HAND_OVER,
            ",".join(map(str, high)),
            names,
            *args,
            env=os.environ | {"STATE_DIRECTORY": str(state_dir), "FLIQD_SERVER__LISTEN": "127.0.0.1:0"} | env,
            pass_fds=high,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        for fd in (*high, *spare):
            os.close(fd)
