"""Fair shares between hosts: who may send next when slots are free, in memory that stays bounded."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fliqd.core.due_heap import DueEntry

LANE_ROOM: Final = 1_000  # waiting entries a lane keeps in memory; more of them stay in the store


@dataclass(slots=True)
class Lane:
    """The due jobs of one host and how many of its requests are under way."""

    host: str
    waiting: deque[DueEntry] = field(default_factory=deque)
    running: int = 0
    spilled: tuple[int, int] | None = None  # (due_ms, pk): from here on, due entries were left in the store
    queued: bool = False  # it stands in the round


class Lanes:
    """Due entries by host, handed out in turns: one from each host that has room, in due order within it.

    A host that cannot move is not looked at. One with more than `LANE_ROOM` waiting spills: the rest is
    left to the store and read back when the lane runs low, so a dead host costs neither memory nor others' time.
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
            lane = self._lanes.get(entry.host)
            if lane is None:
                lane = self._lanes[entry.host] = Lane(entry.host)
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
        lane = self._lanes[entry.host]
        lane.waiting.appendleft(entry)
        self.waiting += 1
        self.done(entry.host)

    def done(self, host: str) -> None:
        """Note that a request to `host` is over, or that its entry turned out stale."""
        lane = self._lanes[host]
        lane.running -= 1
        self._queue(lane)
        if not lane.running and not lane.waiting and lane.spilled is None:
            del self._lanes[host]

    def thirsty(self) -> tuple[str, tuple[int, int]] | None:
        """Return a host whose lane ran low while the store has more, with the place to read from.

        The lane counts as whole again from this moment, so that what is offered while the store is read is kept.
        """
        for host in self._spilled:
            lane = self._lanes[host]
            if lane.spilled is not None and len(lane.waiting) <= LANE_ROOM // 2:
                place, lane.spilled = lane.spilled, None
                self._spilled.discard(host)
                return host, place
        return None

    def refill(self, host: str, entries: list[DueEntry], *, rest: tuple[int, int] | None) -> None:
        """Take in what the store had for `host`; `rest` is where it has still more."""
        lane = self._lanes.setdefault(host, Lane(host))
        lane.waiting.extend(entries)
        self.waiting += len(entries)
        if rest is not None:
            self._spill(lane, rest)
        self._queue(lane)

    def running(self, host: str) -> int:
        """Return how many requests to `host` are under way."""
        lane = self._lanes.get(host)
        return lane.running if lane is not None else 0

    def _spill(self, lane: Lane, place: tuple[int, int]) -> None:
        lane.spilled = place if lane.spilled is None else min(lane.spilled, place)
        self._spilled.add(lane.host)

    def _queue(self, lane: Lane) -> None:
        if lane.waiting and lane.running < self._per_host and not lane.queued:
            lane.queued = True
            self._round.append(lane)
