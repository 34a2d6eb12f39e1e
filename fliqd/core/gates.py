"""What stops lanes: a host with its slots, or a queue with its limits; and the lanes that wait at each."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fliqd.core.pacing import Bucket, filled
from fliqd.core.queues import Queue

if TYPE_CHECKING:
    from fliqd.core.lanes import Lane

EMPTY: Final = Bucket(0.0, 0)


@dataclass(slots=True, eq=False)
class Gate:
    """Requests that are limited together, and the lanes that stand before it because it is closed."""

    name: str
    limit: int
    running: int = 0
    lanes: int = 0  # that go through it
    standing: int = 0  # of them, those that have been let to the front and may send next
    parked: deque[Lane] = field(default_factory=deque)

    def room(self, now_ms: float) -> int:  # noqa: ARG002 -- a queue's depends on it
        """Return how many more requests may go through."""
        return self.limit - self.running

    def enter(self, now_ms: float) -> None:  # noqa: ARG002 -- likewise
        """Count a request in."""
        self.running += 1


@dataclass(slots=True, eq=False)
class HostGate(Gate):
    """The slots of a host; `trusted` when it answered when it was last asked."""

    trusted: bool = False


@dataclass(slots=True, eq=False)
class QueueGate(Gate):
    """The limits of a queue. Instants are milliseconds that never run backwards."""

    rate: float | None = None  # requests a second
    paused: bool = False
    bucket: Bucket = EMPTY

    def set(self, queue: Queue, now_ms: float, most: int) -> None:
        """Take over the limits of a queue; `most` where it has none for how many are under way."""
        self.limit = most if queue.concurrency is None else queue.concurrency
        self.paused = queue.paused_ms is not None
        if queue.rate is not None and self.rate is None:
            self.bucket = Bucket(max(1.0, queue.rate), int(now_ms))  # full
        elif queue.rate is not None and self.rate is not None:
            self.bucket = Bucket(filled(self.bucket, self.rate, int(now_ms)), int(now_ms))
        self.rate = queue.rate

    def room(self, now_ms: float) -> int:
        if self.paused:
            return 0
        room = self.limit - self.running
        return room if self.rate is None else min(room, int(filled(self.bucket, self.rate, int(now_ms))))

    def enter(self, now_ms: float) -> None:
        self.running += 1
        if self.rate is not None:
            self.bucket = Bucket(filled(self.bucket, self.rate, int(now_ms)) - 1, int(now_ms))

    def opens_ms(self, now_ms: float) -> float | None:
        """Return when the rate lets the next one through, None where it is not the rate that it waits for."""
        if self.rate is None or self.paused or self.running >= self.limit:
            return None
        lacks = 1 - filled(self.bucket, self.rate, int(now_ms))
        return now_ms + max(0.0, lacks / self.rate * 1000)
