"""The load generator: sends the request it gets on stdin over and over, from many connections at once.

It knows no HTTP but where an answer ends, so that it costs less than any server it loads.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from dataclasses import dataclass

import figures


@dataclass(slots=True)
class Load:
    """One request, and what came of it so far."""

    request: bytes
    status: bytes
    answers: int = 0
    refused: bytes = b""  # the first answer with another status


class Connection(asyncio.Protocol):
    """Sends the request, waits for the whole answer, sends it again."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport
            transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if len(received) < _length(received):
            self._received = received
            return
        self._received = b""
        if received[9:12] != self._load.status:
            self._load.refused = self._load.refused or received[:500]
        self._load.answers += 1
        if self._transport is not None:
            self._transport.write(self._load.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.refused = self._load.refused or f"the connection was lost: {exc!r}".encode()


def _length(received: bytes) -> int:
    """Return the length of the answer that begins here, a huge one while its head is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return sys.maxsize
    start = received.find(b"Content-Length: ") + 16
    return end + 4 + int(received[start : received.find(b"\r\n", start)])


async def run(load: Load, port: int, *, clients: int, seconds: float, warm_up_s: float, watch: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(clients):
        await loop.create_connection(lambda: Connection(load), "127.0.0.1", port)
    await asyncio.sleep(warm_up_s)
    answers, cpu, own, wall = load.answers, figures.cpu_s(watch), time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - wall
    measured = {
        "answers": load.answers - answers,
        "seconds": took,
        "cpu_s": figures.cpu_s(watch) - cpu,
        "generator_load": (time.process_time() - own) / took,
    }
    if load.refused:
        sys.exit(f"not every answer was a {load.status.decode()}: {load.refused!r}")
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--status", default="201", help="what every answer must be")
    parser.add_argument("--watch", type=int, required=True, metavar="PID", help="the server, whose CPU time is read")
    given = parser.parse_args()
    gc.disable()
    what = Load(sys.stdin.buffer.read(), given.status.encode())
    times = {"seconds": given.seconds, "warm_up_s": given.warm_up}
    asyncio.run(run(what, given.port, clients=given.clients, watch=given.watch, **times))
