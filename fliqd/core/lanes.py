"""Fair shares between lanes: who may send next when slots are free, in memory that stays bounded."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fliqd.core.due_heap import DueEntry
from fliqd.core.model import QUARANTINE

LANE_ROOM: Final = 1_000  # waiting entries a lane keeps in memory; more of them stay in the store


@dataclass(slots=True)
class Lane:
    """Due jobs that are limited together, those of one host, and how many of their requests are under way."""

    name: str
    limit: int
    waiting: deque[DueEntry] = field(default_factory=deque)
    running: int = 0
    spilled: tuple[int, int] | None = None  # (due_ms, pk): from here on, due entries were left in the store
    queued: bool = False  # it stands in the round


class Lanes:
    """Due entries by lane, handed out in turns: one from each lane that has room, in due order within it.

    A lane that cannot move is not looked at. One with more than `LANE_ROOM` waiting spills: the rest is
    left to the store and read back when it runs low, so a dead host costs neither memory nor others' time.
    The quarantine is a lane of one slot.
    """

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._lanes: dict[str, Lane] = {}
        self._round: deque[Lane] = deque()
        self._spilled: set[str] = set()
        self.waiting = 0

    def offer(self, entries: Iterable[DueEntry]) -> None:
        """Take in what is due."""
        for entry in entries:
            lane = self._lane(entry.lane)
            if lane.spilled is not None or len(lane.waiting) >= LANE_ROOM:
                self._spill(lane, entry[:2])
            else:
                lane.waiting.append(entry)
                self.waiting += 1
            self._queue(lane)

    def take(self, slots: int) -> list[DueEntry]:
        """Hand out at most `slots` entries, one host after the other; each counts as running from now on."""
        taken: list[DueEntry] = []
        while self._round and len(taken) < slots:
            lane = self._round.popleft()
            lane.queued = False
            taken.append(lane.waiting.popleft())
            self.waiting -= 1
            lane.running += 1
            self._queue(lane)
        return taken

    def give_back(self, entry: DueEntry) -> None:
        """Put an entry that was taken to the head of its lane: it could not be claimed just now."""
        lane = self._lanes[entry.lane]
        lane.waiting.appendleft(entry)
        self.waiting += 1
        self.done(entry.lane)

    def done(self, name: str) -> None:
        """Note that a request of a lane is over, or that its entry turned out stale."""
        lane = self._lanes[name]
        lane.running -= 1
        self._queue(lane)
        if not lane.running and not lane.waiting and lane.spilled is None:
            del self._lanes[name]

    def thirsty(self) -> tuple[str, tuple[int, int]] | None:
        """Return a lane that ran low while the store has more, with the place to read from.

        The lane counts as whole again from this moment, so that what is offered while the store is read is kept.
        """
        for name in self._spilled:
            lane = self._lanes[name]
            if lane.spilled is not None and len(lane.waiting) <= LANE_ROOM // 2:
                place, lane.spilled = lane.spilled, None
                self._spilled.discard(name)
                return name, place
        return None

    def refill(self, name: str, entries: list[DueEntry], *, rest: tuple[int, int] | None) -> None:
        """Take in what the store had for a lane; `rest` is where it has still more."""
        lane = self._lane(name)
        lane.waiting.extend(entries)
        self.waiting += len(entries)
        if rest is not None:
            self._spill(lane, rest)
        self._queue(lane)

    def room(self, name: str) -> int:
        """Return how many more requests may go out through a lane."""
        lane = self._lanes.get(name)
        return self._limit(name) if lane is None else lane.limit - lane.running

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self._limit(name))
        return lane

    def _limit(self, name: str) -> int:
        return 1 if name == QUARANTINE else self._per_host

    def _spill(self, lane: Lane, place: tuple[int, int]) -> None:
        lane.spilled = place if lane.spilled is None else min(lane.spilled, place)
        self._spilled.add(lane.name)

    def _queue(self, lane: Lane) -> None:
        if lane.waiting and lane.running < lane.limit and not lane.queued:
            lane.queued = True
            self._round.append(lane)
