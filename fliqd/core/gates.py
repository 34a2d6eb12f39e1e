"""What stops lanes: a host with its slots, or a queue with its limits; and the lanes that wait at each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from heapq import heappop, heappush
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
    front: dict[Lane, None] = field(default_factory=dict)  # those that have been let to the front and may send next
    waiting: int = 0  # lanes that stand before it
    # They, as a heap: those with the fewest requests under way go first, so that one whose requests hang does not get
    # hold of every place. An entry whose number is not the lane's ticket means nothing any more.
    parked: list[tuple[int, int, Lane]] = field(default_factory=list)

    def room(self, now_ms: float) -> int:  # noqa: ARG002 -- a queue's depends on it
        """Return how many more requests may go through."""
        return self.limit - self.running

    def enter(self, now_ms: float) -> None:  # noqa: ARG002 -- likewise
        """Count a request in."""
        self.running += 1

    def park(self, lane: Lane, ticket: int) -> None:
        """Have a lane wait until this opens; tickets are numbers in order. One that waits already gets a new place."""
        self.waiting += lane.parked is None
        lane.parked, lane.ticket = self, ticket
        heappush(self.parked, (lane.running, ticket, lane))

    def unpark(self) -> Lane:
        """Return the lane that is the next; there must be one."""
        while True:
            _, ticket, lane = heappop(self.parked)
            if lane.parked is self and lane.ticket == ticket:
                lane.parked = None
                self.waiting -= 1
                return lane


@dataclass(slots=True, eq=False)
class HostGate(Gate):
    """The slots of a host; `trusted` when it answered when it was last asked."""

    trusted: bool = False
    lanes: int = 0  # that go to it
    squeezed: bool = False  # it has its share of the slots that are free, and waits for more of them

    def room(self, now_ms: float) -> int:  # noqa: ARG002 -- a queue's depends on it
        return 0 if self.squeezed else self.limit - self.running


@dataclass(slots=True, eq=False)
class QueueGate(Gate):
    """The limits of a queue. Instants are milliseconds that never run backwards."""

    rate: float | None = None  # requests a second
    paused: bool = False
    bucket: Bucket = EMPTY
    rings_ms: int | None = None  # when it is looked at again for the sake of its rate

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

    def refund(self, now_ms: float) -> None:
        """Give back what `enter` took of the rate: nothing has left."""
        if self.rate is not None:
            self.bucket = Bucket(filled(self.bucket, self.rate, int(now_ms)) + 1, int(now_ms))

    def opens_ms(self, now_ms: float) -> int | None:
        """Return when the rate lets the next one through, None where it is not the rate that it waits for."""
        if self.rate is None or self.paused or self.running >= self.limit:
            return None
        lacks = 1 - filled(self.bucket, self.rate, int(now_ms))
        # Later than now, or whoever waits for it would wait no time at all, again and again.
        return int(now_ms) + max(1, math.ceil(lacks / self.rate * 1000))
