"""What stops lanes: a host with its slots, or a queue with its limits; and the lanes that wait at each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, TypeAlias

from fliqd.core.pacing import Bucket, filled
from fliqd.core.queues import Queue

if TYPE_CHECKING:
    from fliqd.core.lanes import Lane

Parked: TypeAlias = "tuple[int, float, int, Lane]"  # requests under way, when it came, its ticket

FEW: Final = 16
MOST_DOUBLINGS: Final = 3  # of how long a host is set back, with each miss in a row
ALL_MISSES: Final = 3  # hosts that have missed have one part in so many of a queue's time, all together
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
    # hold of every place; among them the one that came first, where a lane may be told to come later than it does.
    # An entry whose number is not the lane's ticket means nothing any more.
    parked: list[Parked] = field(default_factory=list)

    def room(self, now_ms: float) -> int:  # noqa: ARG002 -- a queue's depends on it
        """Return how many more requests may go through."""
        return self.limit - self.running

    def enter(self, now_ms: float) -> None:  # noqa: ARG002 -- likewise
        """Count a request in."""
        self.running += 1

    def park(self, lane: Lane, ticket: int, now_ms: float) -> None:
        """Have a lane wait until this opens; tickets are numbers in order. One that waits already gets a new place."""
        self.waiting += lane.parked is None
        lane.parked, lane.ticket = self, ticket
        if len(self.parked) > 2 * self.waiting + FEW:  # mostly of what means nothing any more
            self.parked = [entry for entry in self.parked if self._counts(entry)]
            heapify(self.parked)
        heappush(self.parked, (lane.running, self.comes_ms(lane, now_ms), ticket, lane))

    def comes_ms(self, lane: Lane, now_ms: float) -> float:  # noqa: ARG002 -- a queue's depends on it
        """Return when a lane is taken to have come."""
        return now_ms

    def unpark(self) -> Lane:
        """Return the lane that is the next; there must be one."""
        while True:
            entry = heappop(self.parked)
            if self._counts(entry):
                lane = entry[3]
                lane.parked = None
                self.waiting -= 1
                return lane

    def _counts(self, entry: Parked) -> bool:
        _, _, ticket, lane = entry
        return lane.parked is self and lane.ticket == ticket


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
    taken_ms: float = 0.0  # until when those that have missed have their turns
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

    def comes_ms(self, lane: Lane, now_ms: float) -> float:
        return now_ms if lane.host.trusted else max(now_ms, lane.back_ms)

    def set_back_ms(self, took_ms: float, misses: int, now_ms: float) -> float:
        """Return until when a host goes behind the others that has kept a slot in vain for so long."""
        turn_ms = ALL_MISSES * took_ms
        its_own = now_ms + took_ms * (1 << min(misses, MOST_DOUBLINGS))
        # After those that were set back before it, where they still wait.
        back_ms = max(its_own, min(self.taken_ms, now_ms + turn_ms * self.waiting))
        self.taken_ms = back_ms + turn_ms
        return back_ms

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
