"""Fair shares between lanes: who may send next when slots are free, in memory that stays bounded."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, islice
from typing import Final

from fliqd.core.due_heap import DueEntry
from fliqd.core.gates import Gate, HostGate, QueueGate
from fliqd.core.model import DEFAULT_QUEUE, NOWHERE, QUARANTINED, is_quarantined
from fliqd.core.queues import Queue
from fliqd.core.reputation import Reputation

LANE_ROOM: Final = 1_000  # waiting entries a lane keeps in memory; more of them stay in the store
ALL_ROOM: Final = 100_000  # waiting entries in memory, of all lanes, from which on each keeps a few
FEW: Final = 32
SHARE: Final = 2  # a host may have so many times as many under way as slots are free


@dataclass(slots=True, eq=False)
class Lane:
    """Due jobs of one host within one queue: what limits them are the host and, if it has limits, the queue."""

    name: str
    host: HostGate
    queue: QueueGate | None
    ward: Gate | None = None  # the quarantine, of those that are in it
    waiting: list[DueEntry] = field(default_factory=list)  # few, or a thousand: an empty deque takes 760 bytes
    running: int = 0
    spilled: tuple[int, int] | None = None  # (due_ms, pk): from here on, due entries were left in the store
    queued: bool = False  # it stands in a round
    parked: Gate | None = None  # that it stands before
    ticket: int = 0
    back_ms: float = 0.0  # until when its queue has set it back


class Lanes:
    """Due entries by lane, handed out in turns: one from each lane that has room, in due order within it.

    No host may use up the slots, dead or slow as it may be. Three rules see to that:

    - A host moves only while it has less than `SHARE` times as many under way as slots are free, the "dynamic
      threshold" of shared buffers (Choudhury and Hahne, 1998). The first host gets two thirds at most, n busy ones
      2/(2n + 1) each, and some always stay free for a host that has nothing under way.
    - Hosts that did not answer when last asked, and strangers, have half of all slots between them.
    - A host's limit is halved with each miss in a row, down to one at a time, until it answers.

    In a queue all its hosts share few slots, maybe one. There a host that has missed is set back behind the others, for
    up to eight times as long as it kept the slot: while they keep the queue busy, it has a ninth of its time, and all
    that have missed have a third.

    A lane that cannot move stands before the gate that is closed, its host's or its queue's, and is not looked at
    until that opens; it keeps no place at the other. A host that has its share is squeezed, which closes its gate,
    until more slots are free.

    A lane with more waiting than there is room for spills: the rest is left to the store and read back when it runs
    low, so a dead host costs neither memory nor others' time. Where all lanes together hold much, each keeps a few.
    Lanes in the quarantine share one slot besides; what leaves it counts in the lane that it came from.

    `now_ms` is time that never runs backwards, for the rates of queues.
    """

    def __init__(self, per_host: int, slots: int, *, room: int = LANE_ROOM, all_room: int = ALL_ROOM) -> None:
        self._room = room
        self._all_room = all_room
        self._per_host = per_host
        self._slots = slots
        self._doubtful_slots = max(1, slots // 2)
        self._reputation = Reputation()
        self._lanes: dict[str, Lane] = {}
        self._hosts: dict[str, HostGate] = {}
        self._queues: dict[str, QueueGate] = {}  # those that have limits
        self._ward = Gate("quarantine", 1)
        # Lanes at the front, by whether their host is trusted; each goes to the end when it has had its turn.
        self._rounds: dict[bool, OrderedDict[Lane, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._doubtful = 0  # requests under way to hosts that are not trusted
        self._rings: list[tuple[int, int, QueueGate]] = []  # a heap of when rates open queues that lanes wait at
        self._order = count()
        # Hosts that have their share, by whether they are trusted, the one that came first at the front.
        self._squeezed: dict[bool, OrderedDict[HostGate, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._thirsty: OrderedDict[str, None] = OrderedDict()  # lanes that ran low while the store has more
        self.waiting = 0

    def limit(self, queue: Queue, now_ms: float) -> None:
        """Take over the limits of a queue; lanes that are there go through its gate from now on."""
        gate = self._queues.get(queue.name)
        if gate is None:
            gate = self._queues[queue.name] = QueueGate(queue.name, self._slots)
            for lane in self._lanes.values():
                if _queue_of(lane.name) == queue.name:
                    lane.queue = gate
                    gate.running += lane.running
                    if lane.queued:
                        gate.front[lane] = None
        gate.set(queue, now_ms, self._slots)
        self._open(gate, now_ms)
        if queue.unlimited and not any(lane.queue is gate for lane in self._lanes.values()):
            del self._queues[queue.name]

    def offer(self, entries: Iterable[DueEntry], now_ms: float = 0.0) -> None:
        """Take in what is due."""
        for entry in entries:
            lane = self._lane(entry.lane)
            if lane.spilled is not None or len(lane.waiting) >= self.lane_room:
                self._spill(lane, entry[:2])
            else:
                lane.waiting.append(entry)
                self.waiting += 1
            self._stand(lane, now_ms)

    def take(self, free: int, now_ms: float = 0.0) -> list[DueEntry]:
        """Hand out at most `free` entries, one lane after the other; each counts as running from now on."""
        while self._rings and self._rings[0][0] <= now_ms:
            self._ring(now_ms)
        taken: list[DueEntry] = []
        self._let_go(free, now_ms)
        # One that stops at a gate lets others stand up that it kept from there.
        while len(taken) < free:
            if self._rounds[True] or self._rounds[False]:
                self._take_from(self._rounds[bool(self._rounds[True])], free, taken, now_ms)
            elif not self._let_go(free - len(taken), now_ms):
                break
        return taken

    def opens_ms(self, now_ms: float) -> int | None:
        """Return when the rate of a queue lets the next one through that waits for it, None for none."""
        while self._rings and self._rings[0][0] != self._rings[0][2].rings_ms:
            self._ring(now_ms)
        return self._rings[0][0] if self._rings else None

    @property
    def lane_room(self) -> int:
        """How many waiting entries a lane may keep."""
        return self._room if self.waiting < self._all_room else min(self._room, FEW)

    def _ring(self, now_ms: float) -> None:
        """Look at the queue that the heap has first; an entry of a rate that has changed since means nothing."""
        at_ms, _, gate = heappop(self._rings)
        if gate.rings_ms == at_ms:
            gate.rings_ms = None
            self._open(gate, now_ms)

    def _take_from(self, lanes: OrderedDict[Lane, None], free: int, taken: list[DueEntry], now_ms: float) -> None:
        """Take from the lanes of a round while slots are free, until none of them may move."""
        while lanes and len(taken) < free:
            lane, _ = lanes.popitem(last=False)
            self._step_down(lane)
            if self._closed(lane, now_ms, others=0) is None:
                if lane.host.running < SHARE * self._share(lane.host, free - len(taken)):
                    taken.append(lane.waiting.pop(0))
                    self.waiting -= 1
                    self._drink(lane)
                    self._run(lane, 1)
                    for gate in (lane.queue, lane.ward):
                        if gate is not None:
                            gate.enter(now_ms)
                else:
                    self._squeeze(lane.host)
            self._stand(lane, now_ms)
            if not lane.queued:
                self._open_all(lane, now_ms)

    def _share(self, host: HostGate, free: int) -> int:
        """Return how many of the free slots are there for hosts like this one."""
        return free if host.trusted else min(free, self._doubtful_slots - self._doubtful)

    def _squeeze(self, host: HostGate) -> None:
        """Close a host that has its share; a lane of it that stands at the front finds that out in its turn."""
        host.squeezed = True
        self._squeezed[host.trusted][host] = None

    def _let_go(self, free: int, now_ms: float) -> bool:
        """Open hosts that were squeezed and may have more by now, of each kind as many as there are slots for it."""
        open_again: list[HostGate] = []
        for trusted, room in ((True, free), (False, min(free, self._doubtful_slots - self._doubtful))):
            # Those that are passed over have a share of what is under way, so they are few.
            may = (host for host in self._squeezed[trusted] if host.running < SHARE * room)
            open_again += islice(may, max(0, room))
        for host in open_again:
            self._unsqueeze(host)
            self._open(host, now_ms)
        return bool(open_again)

    def _unsqueeze(self, host: HostGate) -> None:
        if host.squeezed:
            host.squeezed = False
            del self._squeezed[host.trusted][host]

    def give_back(self, entry: DueEntry, now_ms: float = 0.0) -> None:
        """Put an entry that was taken to the head of its lane: it could not be claimed just now."""
        lane = self._lanes[entry.lane]
        lane.waiting.insert(0, entry)
        self.waiting += 1
        self.drop(entry, now_ms)

    def drop(self, entry: DueEntry, now_ms: float = 0.0) -> None:
        """Note that an entry that was taken has turned out stale: nothing has left for it."""
        lane = self._lanes[entry.lane]
        if lane.queue is not None:
            lane.queue.refund(now_ms)
        self.done(entry.lane, now_ms)

    def done(self, name: str, now_ms: float = 0.0) -> None:
        """Note that a request of a lane is over."""
        lane = self._lanes[name]
        self._run(lane, -1)
        for gate in (lane.queue, lane.ward):
            if gate is not None:
                gate.running -= 1
        if lane.parked is not None:
            lane.parked.park(lane, next(self._order), now_ms)
        self._open_all(lane, now_ms)
        self._stand(lane, now_ms)
        self._forget_idle(lane)

    def leave_quarantine(self, name: str, now_ms: float = 0.0) -> str | None:
        """Have a request of a quarantined lane count in the lane that it came from; return that, None if it has none.

        Its host and its queue go on counting it.
        """
        if name == NOWHERE:
            self.done(name, now_ms)
            return None
        lane, normal = self._lanes[name], self._lane(name.removeprefix(QUARANTINED))
        for one, change in ((lane, -1), (normal, 1)):
            one.running += change
            if one.parked is not None:
                one.parked.park(one, next(self._order), now_ms)
        self._ward.running -= 1
        self._open(self._ward, now_ms)
        self._stand(lane, now_ms)
        self._forget_idle(lane)
        return normal.name

    def may_be_followed(self, name: str, free: int) -> bool:
        """Tell whether the slot of a request that ends may go to another one of its lane, past all that wait."""
        lane = self._lanes[name]
        host = lane.host
        if free <= 0 or lane.waiting or lane.spilled is not None or host.front or host.waiting or host.squeezed:
            return False
        return host.running <= min(host.limit, SHARE * self._share(host, free + 1))

    def answered(self, name: str, now_ms: float = 0.0) -> None:
        """Note that the host of a lane has answered."""
        host = host_of(name)
        if not self._reputation.is_trusted(host):
            self._reputation.answered(host)
            self._judge(host, now_ms)

    def missed(self, name: str, now_ms: float = 0.0, *, took_ms: float = 0.0) -> None:
        """Note that the host of a lane has kept a slot so long and given no answer."""
        host = host_of(name)
        self._reputation.missed(host)
        if (lane := self._lanes.get(name)) is not None and lane.queue is not None:
            lane.back_ms = lane.queue.set_back_ms(took_ms, self._reputation.misses(host), now_ms)
        self._judge(host, now_ms)

    def _judge(self, name: str, now_ms: float) -> None:
        """Have a host's gate follow what is known of it by now."""
        host = self._hosts.get(name)
        if host is None:
            return
        trusted = self._reputation.is_trusted(name)
        if trusted != host.trusted:
            self._unsqueeze(host)
            self._move_round(host)
            self._doubtful += host.running if host.trusted else -host.running
            host.trusted = trusted
        host.limit = self._limit(name)
        self._open(host, now_ms)

    def _move_round(self, host: HostGate) -> None:
        """Have the lanes of a host change the round they stand in."""
        for lane in host.front:
            del self._rounds[host.trusted][lane]
            self._rounds[not host.trusted][lane] = None

    def thirsty(self) -> tuple[str, tuple[int, int]] | None:
        """Return a lane that ran low while the store has more, with the place to read from.

        The lane counts as whole again from this moment, so that what is offered while the store is read is kept.
        """
        while self._thirsty:
            name, _ = self._thirsty.popitem(last=False)
            place, self._lanes[name].spilled = self._lanes[name].spilled, None
            if place is not None:
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
        self._forget_idle(lane)

    def reread(self, name: str, now_ms: float = 0.0) -> None:
        """Have what waits in a lane read from the store again: some of it has turned out stale."""
        lane = self._lanes.get(name)
        if lane is None or not lane.waiting:
            return
        if lane.queued:
            del self._rounds[lane.host.trusted][lane]
            self._step_down(lane)
        place = min(lane.waiting)[:2]
        self.waiting -= len(lane.waiting)
        lane.waiting.clear()
        self._spill(lane, place)
        self._open_all(lane, now_ms)

    def oldest(self, now_ms: float = 0.0) -> DueEntry | None:
        """Return the entry that is due for the longest of those that nothing but a slot keeps waiting.

        The limits and pauses of queues are somebody's wish, and so is the quarantine's pace.
        """
        lanes = (lane for lane in self._lanes.values() if lane.waiting and lane.ward is None)
        free = (lane for lane in lanes if lane.queue is None or lane.queue.room(now_ms) > 0)
        return min((lane.waiting[0] for lane in free), default=None)

    def room(self, name: str, free: int) -> int:
        """Return how many more requests may go out to the host of a lane, of `free` in all."""
        host = self._hosts.get(host_of(name)) or self._new_host(host_of(name))
        return max(0, min(host.limit, SHARE * self._share(host, free)) - host.running)

    def closed_queue(self, name: str, now_ms: float) -> QueueGate | None:
        """Return the gate of a lane's queue if that lets nothing through now."""
        gate = self._queues.get(_queue_of(name))
        return None if gate is None or gate.room(now_ms) > 0 else gate

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            host_name = host_of(name)
            host = self._hosts.get(host_name)
            if host is None:
                host = self._hosts[host_name] = self._new_host(host_name)
                if not host.trusted and self._squeezed[False]:
                    self._squeeze(host)  # newcomers wait behind those that were there before
            host.lanes += 1
            queue, ward = self._queues.get(_queue_of(name)), self._ward if is_quarantined(name) else None
            lane = self._lanes[name] = Lane(name, host, queue, ward)
        return lane

    def _forget_idle(self, lane: Lane) -> None:
        """Forget a lane that nothing is known of, and its host with the last one."""
        if lane.running or lane.waiting or lane.spilled is not None:
            return
        del self._lanes[lane.name]
        lane.host.lanes -= 1
        if not lane.host.lanes:
            self._unsqueeze(lane.host)
            del self._hosts[lane.host.name]

    def _new_host(self, name: str) -> HostGate:
        return HostGate(name, self._limit(name), trusted=self._reputation.is_trusted(name))

    def _limit(self, name: str) -> int:
        return max(1, self._per_host >> self._reputation.misses(name))

    def _run(self, lane: Lane, change: int) -> None:
        lane.running += change
        lane.host.running += change
        if not lane.host.trusted:
            self._doubtful += change

    def _spill(self, lane: Lane, place: tuple[int, int]) -> None:
        lane.spilled = place if lane.spilled is None else min(lane.spilled, place)
        self._drink(lane)

    def _drink(self, lane: Lane) -> None:
        """Have a lane that runs low read more, where the store has more."""
        if lane.spilled is not None and len(lane.waiting) <= self.lane_room // 2:
            self._thirsty[lane.name] = None

    def _closed(self, lane: Lane, now_ms: float, *, others: int = 1) -> Gate | None:
        """Return the gate that a lane cannot pass now, None for none; with `others`, those at the front go first."""
        for gate in (lane.host, lane.queue, lane.ward):
            if gate is not None and gate.room(now_ms) <= len(gate.front) * others:
                return gate
        return None

    def _stand(self, lane: Lane, now_ms: float) -> None:
        """Have a lane stand where it belongs: in a round, before a closed gate, or nowhere."""
        if not lane.waiting or lane.queued or lane.parked is not None:
            return
        gate = self._closed(lane, now_ms)
        if gate is None:
            lane.queued = True
            self._rounds[lane.host.trusted][lane] = None
            for gate in (lane.host, lane.queue, lane.ward):
                if gate is not None:
                    gate.front[lane] = None
        else:
            gate.park(lane, next(self._order), now_ms)
            self._set_bell(gate, now_ms)

    def _step_down(self, lane: Lane) -> None:
        """Have a lane leave its round; it has been taken out of it."""
        lane.queued = False
        for gate in (lane.host, lane.queue, lane.ward):
            if gate is not None:
                del gate.front[lane]

    def _open_all(self, lane: Lane, now_ms: float) -> None:
        if lane.ward is not None:
            self._open(lane.ward, now_ms)
        if lane.queue is not None:
            self._open(lane.queue, now_ms)  # first: who waits there came before a lane that its host lets go only now
        self._open(lane.host, now_ms)

    def _open(self, gate: Gate, now_ms: float) -> None:
        """Let lanes before a gate go as far as there is room; those that another gate stops stand there then."""
        while gate.waiting and gate.room(now_ms) > len(gate.front):
            self._stand(gate.unpark(), now_ms)
        if gate.waiting:
            self._set_bell(gate, now_ms)

    def _set_bell(self, gate: Gate, now_ms: float) -> None:
        """Have a queue looked at when its rate lets the next one through, where it is its rate that lanes wait for."""
        if not isinstance(gate, QueueGate):
            return
        at_ms = gate.opens_ms(now_ms)
        if at_ms is not None and (gate.rings_ms is None or at_ms < gate.rings_ms):
            gate.rings_ms = at_ms
            heappush(self._rings, (at_ms, next(self._order), gate))


def _queue_of(lane: str) -> str:
    queue, bar, _ = lane.removeprefix(QUARANTINED).partition("|")
    return queue if bar else DEFAULT_QUEUE


def host_of(lane: str) -> str:
    """Return the host and port of a lane."""
    return lane.rpartition("|")[2].removeprefix(QUARANTINED)
