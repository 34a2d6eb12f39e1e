"""The sink: answers every request with a tiny 200, and notes when each arrived, by its delivery id.

`GET /~count` and `GET /~hits` (pairs of id and nanoseconds since the epoch) tell, `POST /~reset` forgets.
From `POST /~hold` to `POST /~release` requests are neither answered nor noted; `GET /~held` counts them.
"""

import asyncio
import gc
import json
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
ID = b"\r\nx-fliq-delivery-id: "
LENGTH = b"\r\ncontent-length: "

hits: list[tuple[bytes, int]] = []
held: list[bytes] = []
holding = False


class Connection(asyncio.Protocol):
    """One client, kept alive; a request counts from its first bytes on."""

    def __init__(self) -> None:
        self._received = b""
        self._arrived_ns = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._arrived_ns = time.time_ns()
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[: end + 2].lower()
            rest = end + 4 + int(_value(head, LENGTH) or 0)
            if len(self._received) < rest:
                return
            self._received = self._received[rest:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if self._transport is None:
            return
        path = head.split(b" ", 2)[1]
        if not path.startswith(b"/~"):
            if holding:
                held.append(path)
                return
            hits.append((_value(head, ID), self._arrived_ns))
            self._transport.write(ANSWER)
            return
        body = json.dumps(_control(path)).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def _value(head: bytes, name: bytes) -> bytes:
    start = head.find(name)
    return head[start + len(name) : head.find(b"\r\n", start + len(name))] if start >= 0 else b""


def _control(path: bytes) -> object:
    global holding  # noqa: PLW0603
    if path in {b"/~hold", b"/~release"}:
        holding = path == b"/~hold"
    if path in {b"/~hold", b"/~held"}:
        return len(held)
    if path == b"/~hits":
        return [(delivery_id.decode(), arrived_ns) for delivery_id, arrived_ns in hits]
    if path == b"/~reset":
        hits.clear()
    return len(hits)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    gc.disable()
    asyncio.run(serve())
