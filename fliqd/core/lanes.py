"""Fair shares between lanes: who may send next when slots are free, in memory that stays bounded."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fliqd.core.due_heap import DueEntry
from fliqd.core.model import QUARANTINE
from fliqd.core.reputation import Reputation

LANE_ROOM: Final = 1_000  # waiting entries a lane keeps in memory; more of them stay in the store
SHARE: Final = 2  # a lane may have so many times as many under way as slots are free


@dataclass(slots=True)
class Lane:
    """Due jobs that are limited together, those of one host, and how many of their requests are under way."""

    name: str
    limit: int
    trusted: bool
    waiting: deque[DueEntry] = field(default_factory=deque)
    running: int = 0
    spilled: tuple[int, int] | None = None  # (due_ms, pk): from here on, due entries were left in the store
    queued: bool = False  # it stands in a round


class Lanes:
    """Due entries by lane, handed out in turns: one from each lane that has room, in due order within it.

    No host may use up the slots, dead or slow as it may be. Three rules see to that:

    - A lane moves only while it has less than `SHARE` times as many under way as slots are free, the "dynamic
      threshold" of shared buffers (Choudhury and Hahne, 1998). The first lane gets two thirds at most, n busy ones
      2/(2n + 1) each, and some always stay free for a host that has nothing under way.
    - Hosts that did not answer when last asked, and strangers, have half of all slots between them.
    - A host's limit is halved with each miss in a row, down to one at a time, until it answers.

    A lane at its limit is not looked at. One with more than `LANE_ROOM` waiting spills: the rest is
    left to the store and read back when it runs low, so a dead host costs neither memory nor others' time.
    The quarantine is a lane of one slot.
    """

    def __init__(self, per_host: int, slots: int) -> None:
        self._per_host = per_host
        self._doubtful_slots = max(1, slots // 2)
        self._reputation = Reputation()
        self._lanes: dict[str, Lane] = {}
        self._rounds: dict[bool, deque[Lane]] = {True: deque(), False: deque()}  # by whether they are trusted
        self._doubtful = 0  # requests under way to hosts that are not trusted
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

    def take(self, free: int) -> list[DueEntry]:
        """Hand out at most `free` entries, one host after the other; each counts as running from now on."""
        taken: list[DueEntry] = []
        self._take_from(self._rounds[True], free, free, taken)
        room = self._doubtful_slots - self._doubtful
        self._take_from(self._rounds[False], min(free - len(taken), room), free, taken)
        return taken

    def _take_from(self, lanes: deque[Lane], most: int, free: int, taken: list[DueEntry]) -> None:
        """Take at most `most` from the lanes of a round, until none of them may move."""
        ends_at, passed = len(taken) + most, 0
        while passed < len(lanes) and len(taken) < ends_at:
            lane = lanes.popleft()
            if not self._may_move(lane, free - len(taken)):
                lanes.append(lane)
                passed += 1
                continue
            passed = 0
            lane.queued = False
            taken.append(lane.waiting.popleft())
            self.waiting -= 1
            self._run(lane, 1)
            self._queue(lane)

    def _may_move(self, lane: Lane, free: int) -> bool:
        if not lane.trusted:
            free = min(free, self._doubtful_slots - self._doubtful)
        return lane.running < SHARE * free

    def give_back(self, entry: DueEntry) -> None:
        """Put an entry that was taken to the head of its lane: it could not be claimed just now."""
        lane = self._lanes[entry.lane]
        lane.waiting.appendleft(entry)
        self.waiting += 1
        self.done(entry.lane)

    def done(self, name: str) -> None:
        """Note that a request of a lane is over, or that its entry turned out stale."""
        lane = self._lanes[name]
        self._run(lane, -1)
        self._queue(lane)
        if not lane.running and not lane.waiting and lane.spilled is None:
            del self._lanes[name]

    def answered(self, name: str) -> None:
        """Note that a host has answered."""
        if not self._reputation.is_trusted(name):
            self._reputation.answered(name)
            self._judge(name)

    def missed(self, name: str) -> None:
        """Note that a host has kept a slot for long and given no answer."""
        if name != QUARANTINE:
            self._reputation.missed(name)
            self._judge(name)

    def _judge(self, name: str) -> None:
        """Have a lane follow what is known of its host by now."""
        lane = self._lanes.get(name)
        if lane is None or name == QUARANTINE:
            return
        if lane.queued:
            self._rounds[lane.trusted].remove(lane)
            lane.queued = False
        running = lane.running
        self._run(lane, -running)
        lane.limit, lane.trusted = self._limit(name), self._reputation.is_trusted(name)
        self._run(lane, running)
        self._queue(lane)

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

    def room(self, name: str, free: int) -> int:
        """Return how many more requests may go out through a lane, of `free` in all."""
        lane = self._lanes.get(name) or self._new(name)
        if not lane.trusted:
            free = min(free, self._doubtful_slots - self._doubtful)
        return max(0, min(lane.limit, SHARE * free) - lane.running)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = self._new(name)
        return lane

    def _new(self, name: str) -> Lane:
        return Lane(name, self._limit(name), trusted=name == QUARANTINE or self._reputation.is_trusted(name))

    def _limit(self, name: str) -> int:
        return 1 if name == QUARANTINE else max(1, self._per_host >> self._reputation.misses(name))

    def _run(self, lane: Lane, change: int) -> None:
        lane.running += change
        if not lane.trusted:
            self._doubtful += change

    def _spill(self, lane: Lane, place: tuple[int, int]) -> None:
        lane.spilled = place if lane.spilled is None else min(lane.spilled, place)
        self._spilled.add(lane.name)

    def _queue(self, lane: Lane) -> None:
        if lane.waiting and lane.running < lane.limit and not lane.queued:
            lane.queued = True
            self._rounds[lane.trusted].append(lane)
