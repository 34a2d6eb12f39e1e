"""Fair shares between lanes: who may send next when slots are free, in memory that stays bounded."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fliqd.core.due_heap import DueEntry
from fliqd.core.gates import Gate, HostGate, QueueGate
from fliqd.core.model import DEFAULT_QUEUE, QUARANTINE
from fliqd.core.queues import Queue
from fliqd.core.reputation import Reputation

LANE_ROOM: Final = 1_000  # waiting entries a lane keeps in memory; more of them stay in the store
SHARE: Final = 2  # a host may have so many times as many under way as slots are free


@dataclass(slots=True, eq=False)
class Lane:
    """Due jobs of one host within one queue: what limits them are the host and, if it has limits, the queue."""

    name: str
    host: HostGate
    queue: QueueGate | None
    waiting: deque[DueEntry] = field(default_factory=deque)
    running: int = 0
    spilled: tuple[int, int] | None = None  # (due_ms, pk): from here on, due entries were left in the store
    queued: bool = False  # it stands in a round
    parked: bool = False  # it stands before a gate


class Lanes:
    """Due entries by lane, handed out in turns: one from each lane that has room, in due order within it.

    No host may use up the slots, dead or slow as it may be. Three rules see to that:

    - A host moves only while it has less than `SHARE` times as many under way as slots are free, the "dynamic
      threshold" of shared buffers (Choudhury and Hahne, 1998). The first host gets two thirds at most, n busy ones
      2/(2n + 1) each, and some always stay free for a host that has nothing under way.
    - Hosts that did not answer when last asked, and strangers, have half of all slots between them.
    - A host's limit is halved with each miss in a row, down to one at a time, until it answers.

    A lane that cannot move stands before the gate that is closed, its host's or its queue's, and is not looked at
    until that opens. One with more than `LANE_ROOM` waiting spills: the rest is left to the store and read back when
    it runs low, so a dead host costs neither memory nor others' time. The quarantine is a lane of one slot.

    `now_ms` is time that never runs backwards, for the rates of queues.
    """

    def __init__(self, per_host: int, slots: int) -> None:
        self._per_host = per_host
        self._slots = slots
        self._doubtful_slots = max(1, slots // 2)
        self._reputation = Reputation()
        self._lanes: dict[str, Lane] = {}
        self._hosts: dict[str, HostGate] = {}
        self._queues: dict[str, QueueGate] = {}  # those that have limits
        self._rounds: dict[bool, deque[Lane]] = {True: deque(), False: deque()}  # by whether their host is trusted
        self._doubtful = 0  # requests under way to hosts that are not trusted
        self._spilled: set[str] = set()
        self.waiting = 0

    def limit(self, queue: Queue, now_ms: float) -> None:
        """Take over the limits of a queue; lanes that are there go through its gate from now on."""
        gate = self._queues.get(queue.name)
        if gate is None:
            gate = self._queues[queue.name] = QueueGate(queue.name, self._slots)
            for lane in self._lanes.values():
                if lane.name != QUARANTINE and _queue_of(lane.name) == queue.name:
                    lane.queue = gate
                    gate.running += lane.running
                    gate.standing += lane.queued
        gate.set(queue, now_ms, self._slots)
        self._open(gate, now_ms)

    def offer(self, entries: Iterable[DueEntry], now_ms: float = 0.0) -> None:
        """Take in what is due."""
        for entry in entries:
            lane = self._lane(entry.lane)
            if lane.spilled is not None or len(lane.waiting) >= LANE_ROOM:
                self._spill(lane, entry[:2])
            else:
                lane.waiting.append(entry)
                self.waiting += 1
            self._stand(lane, now_ms)

    def take(self, free: int, now_ms: float = 0.0) -> list[DueEntry]:
        """Hand out at most `free` entries, one lane after the other; each counts as running from now on."""
        for gate in self._queues.values():
            if gate.rate is not None and gate.parked:
                self._open(gate, now_ms)
        taken: list[DueEntry] = []
        self._take_from(self._rounds[True], free, free, taken, now_ms)
        room = self._doubtful_slots - self._doubtful
        self._take_from(self._rounds[False], min(free - len(taken), room), free, taken, now_ms)
        return taken

    def opens_ms(self, now_ms: float) -> float | None:
        """Return when the rate of a queue lets the next one through that waits for it, None for none."""
        times = (gate.opens_ms(now_ms) for gate in self._queues.values() if gate.parked)
        return min((at_ms for at_ms in times if at_ms is not None), default=None)

    def _take_from(self, lanes: deque[Lane], most: int, free: int, taken: list[DueEntry], now_ms: float) -> None:
        """Take at most `most` from the lanes of a round, until none of them may move."""
        ends_at, passed = len(taken) + most, 0
        while passed < len(lanes) and len(taken) < ends_at:
            lane = lanes.popleft()
            closed = self._closed(lane, now_ms, others=0)
            if closed is None and not self._may_move(lane.host, free - len(taken)):
                lanes.append(lane)
                passed += 1
                continue
            self._step_down(lane)
            if closed is None:
                passed = 0
                taken.append(lane.waiting.popleft())
                self.waiting -= 1
                self._run(lane, 1)
                if lane.queue is not None:
                    lane.queue.enter(now_ms)
            self._stand(lane, now_ms)
            if not lane.queued:
                self._open_both(lane, now_ms)

    def _may_move(self, host: HostGate, free: int) -> bool:
        if not host.trusted:
            free = min(free, self._doubtful_slots - self._doubtful)
        return host.running < SHARE * free

    def give_back(self, entry: DueEntry, now_ms: float = 0.0) -> None:
        """Put an entry that was taken to the head of its lane: it could not be claimed just now."""
        lane = self._lanes[entry.lane]
        lane.waiting.appendleft(entry)
        self.waiting += 1
        self.done(entry.lane, now_ms)

    def done(self, name: str, now_ms: float = 0.0) -> None:
        """Note that a request of a lane is over, or that its entry turned out stale."""
        lane = self._lanes[name]
        self._run(lane, -1)
        if lane.queue is not None:
            lane.queue.running -= 1
        self._open_both(lane, now_ms)
        self._stand(lane, now_ms)
        if not lane.running and not lane.waiting and lane.spilled is None:
            self._drop(lane)

    def answered(self, name: str, now_ms: float = 0.0) -> None:
        """Note that the host of a lane has answered."""
        host = _host_of(name)
        if not self._reputation.is_trusted(host):
            self._reputation.answered(host)
            self._judge(host, now_ms)

    def missed(self, name: str, now_ms: float = 0.0) -> None:
        """Note that the host of a lane has kept a slot for long and given no answer."""
        if name != QUARANTINE:
            self._reputation.missed(_host_of(name))
            self._judge(_host_of(name), now_ms)

    def _judge(self, name: str, now_ms: float) -> None:
        """Have a host's gate follow what is known of it by now."""
        host = self._hosts.get(name)
        if host is None or name == QUARANTINE:
            return
        trusted = self._reputation.is_trusted(name)
        if trusted != host.trusted:
            self._move_round(host)
            self._doubtful += host.running if host.trusted else -host.running
            host.trusted = trusted
        host.limit = self._limit(name)
        self._open(host, now_ms)

    def _move_round(self, host: HostGate) -> None:
        """Have the lanes of a host change the round they stand in."""
        stands = self._rounds[host.trusted]
        for lane in [lane for lane in stands if lane.host is host]:
            stands.remove(lane)
            self._rounds[not host.trusted].append(lane)

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

    def refill(self, name: str, entries: list[DueEntry], *, rest: tuple[int, int] | None, now_ms: float = 0.0) -> None:
        """Take in what the store had for a lane; `rest` is where it has still more."""
        lane = self._lane(name)
        lane.waiting.extend(entries)
        self.waiting += len(entries)
        if rest is not None:
            self._spill(lane, rest)
        self._stand(lane, now_ms)

    def room(self, name: str, free: int) -> int:
        """Return how many more requests may go out to the host of a lane, of `free` in all."""
        host = self._hosts.get(_host_of(name)) or self._new_host(_host_of(name))
        if not host.trusted:
            free = min(free, self._doubtful_slots - self._doubtful)
        return max(0, min(host.limit, SHARE * free) - host.running)

    def closed_queue(self, name: str, now_ms: float) -> QueueGate | None:
        """Return the gate of a lane's queue if that lets nothing through now."""
        gate = self._queues.get(_queue_of(name))
        return None if gate is None or gate.room(now_ms) > 0 else gate

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            host_name = _host_of(name)
            host = self._hosts.get(host_name)
            if host is None:
                host = self._hosts[host_name] = self._new_host(host_name)
            host.lanes += 1
            queue = None if name == QUARANTINE else self._queues.get(_queue_of(name))
            lane = self._lanes[name] = Lane(name, host, queue)
        return lane

    def _drop(self, lane: Lane) -> None:
        """Forget a lane that nothing is known of, and its host with the last one."""
        del self._lanes[lane.name]
        lane.host.lanes -= 1
        if not lane.host.lanes:
            del self._hosts[lane.host.name]

    def _new_host(self, name: str) -> HostGate:
        trusted = name == QUARANTINE or self._reputation.is_trusted(name)
        return HostGate(name, self._limit(name), trusted=trusted)

    def _limit(self, name: str) -> int:
        return 1 if name == QUARANTINE else max(1, self._per_host >> self._reputation.misses(name))

    def _run(self, lane: Lane, change: int) -> None:
        lane.running += change
        lane.host.running += change
        if not lane.host.trusted:
            self._doubtful += change

    def _spill(self, lane: Lane, place: tuple[int, int]) -> None:
        lane.spilled = place if lane.spilled is None else min(lane.spilled, place)
        self._spilled.add(lane.name)

    def _closed(self, lane: Lane, now_ms: float, *, others: int = 1) -> Gate | None:
        """Return the gate that a lane cannot pass now, None for none; with `others`, those at the front go first."""
        for gate in (lane.host, lane.queue):
            if gate is not None and gate.room(now_ms) <= gate.standing * others:
                return gate
        return None

    def _stand(self, lane: Lane, now_ms: float) -> None:
        """Have a lane stand where it belongs: in a round, before a closed gate, or nowhere."""
        if not lane.waiting or lane.queued or lane.parked:
            return
        gate = self._closed(lane, now_ms)
        if gate is None:
            lane.queued = True
            self._rounds[lane.host.trusted].append(lane)
            for gate in (lane.host, lane.queue):
                if gate is not None:
                    gate.standing += 1
        else:
            lane.parked = True
            gate.parked.append(lane)

    def _step_down(self, lane: Lane) -> None:
        """Have a lane leave its round; it has been taken out of it."""
        lane.queued = False
        for gate in (lane.host, lane.queue):
            if gate is not None:
                gate.standing -= 1

    def _open_both(self, lane: Lane, now_ms: float) -> None:
        self._open(lane.host, now_ms)
        if lane.queue is not None:
            self._open(lane.queue, now_ms)

    def _open(self, gate: Gate, now_ms: float) -> None:
        """Let lanes before a gate go as far as there is room; those that another gate stops stand there then."""
        while gate.parked and gate.room(now_ms) > gate.standing:
            lane = gate.parked.popleft()
            lane.parked = False
            self._stand(lane, now_ms)


def _queue_of(lane: str) -> str:
    queue, bar, _ = lane.partition("|")
    return queue if bar else DEFAULT_QUEUE


def _host_of(lane: str) -> str:
    return lane.rpartition("|")[2]
