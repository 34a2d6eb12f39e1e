"""The target of the soak: answers at once, and keeps of each request no more than the open side of a ledger."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final, cast

from fliqd.core.times import parse_time

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
BROKEN: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nbroken"


@dataclass
class Ledger:
    """What was acknowledged and what has arrived, as far as the two do not cancel out."""

    owed: set[str] = field(default_factory=set)  # acknowledged, and not arrived
    early: set[str] = field(default_factory=set)  # arrived before the acknowledgement did, or unasked
    acknowledged: int = 0
    arrived: int = 0
    scheduled: int = 0  # of schedules, which nobody acknowledges
    retried: int = 0
    told: int = 0  # webhooks
    late_ms: list[float] = field(default_factory=list)  # of first attempts, since they were last taken

    def acknowledge(self, delivery_id: str) -> None:
        self.acknowledged += 1
        if delivery_id in self.early:
            self.early.remove(delivery_id)
        else:
            self.owed.add(delivery_id)

    def arrive(self, delivery_id: str) -> None:
        self.arrived += 1
        if delivery_id in self.owed:
            self.owed.remove(delivery_id)
        else:
            self.early.add(delivery_id)

    def take_late_ms(self) -> list[float]:
        taken, self.late_ms = self.late_ms, []
        return taken


class Connection(asyncio.Protocol):
    """One connection of the daemon's, kept alive. `/flaky` is broken at the first attempt."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            path, headers = _head(self._received[:end])
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            self._answer(path, headers)

    def _answer(self, path: str, headers: dict[str, str]) -> None:
        assert self._transport is not None
        self._transport.write(self._note(path, headers))

    def _note(self, path: str, headers: dict[str, str]) -> bytes:
        ledger = self._ledger
        if path == "/told":
            ledger.told += 1
            return OK
        if headers["x-fliq-attempt"] != "1":
            ledger.retried += 1
            return OK
        if path != "/item":  # an item's turn comes when it comes
            ledger.late_ms.append(time.time() * 1000 - parse_time(headers["x-fliq-scheduled-at"]))
        if "x-fliq-schedule-id" in headers:
            ledger.scheduled += 1
        else:
            ledger.arrive(headers["x-fliq-delivery-id"])
        return BROKEN if path == "/flaky" else OK


def _head(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(": ") for line in lines)
    return first.split(" ")[1], {name.lower(): value for name, _, value in fields}
