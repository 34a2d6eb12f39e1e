"""Fair shares between hosts."""

import sys
from collections import Counter
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fliqd.core.due_heap import DueEntry
from fliqd.core.lanes import FEW, LANE_ROOM, Lanes
from fliqd.core.model import lane_of
from fliqd.core.queues import Queue


def entries(host: str, count: int, first_pk: int = 1) -> list[DueEntry]:
    return [DueEntry(pk, pk, host) for pk in range(first_pk, first_pk + count)]


def test_hosts_take_turns_and_keep_their_order() -> None:
    shares = Lanes(per_host=10, slots=20)
    shares.offer(entries("a", 4) + entries("b", 2, 100))
    assert [entry.pk for entry in shares.take(9)] == [1, 100, 2, 101, 3, 4]


def test_a_host_gets_its_share_and_no_more() -> None:
    shares = Lanes(per_host=2, slots=200)
    shares.offer(entries("a", 5) + entries("b", 1, 100))
    assert [entry.pk for entry in shares.take(100)] == [1, 100, 2]
    assert shares.take(100) == []
    shares.done("a")
    assert [entry.pk for entry in shares.take(100)] == [3]


def test_what_could_not_be_claimed_comes_first_again() -> None:
    shares = Lanes(per_host=1, slots=2)
    shares.offer(entries("a", 2))
    first = shares.take(1)[0]
    shares.give_back(first)
    assert shares.take(1) == [first]


def test_a_long_lane_spills_and_is_read_back() -> None:
    """More than the room is left to the store, and asked for from the first that was left."""
    shares = Lanes(per_host=LANE_ROOM * 2, slots=LANE_ROOM * 4)
    shares.offer(entries("a", LANE_ROOM + 5))
    assert shares.waiting == LANE_ROOM
    assert shares.thirsty() is None
    shares.answered("a")
    taken = shares.take(LANE_ROOM * 2)
    assert len(taken) == LANE_ROOM
    assert shares.thirsty() == ("a", (LANE_ROOM + 1, LANE_ROOM + 1))
    shares.offer(entries("a", 1, 9_000))  # comes while the store is read
    shares.refill("a", entries("a", 5, LANE_ROOM + 1), rest=None)
    assert {entry.pk for entry in shares.take(LANE_ROOM)} == {9_000, *range(LANE_ROOM + 1, LANE_ROOM + 6)}
    assert shares.thirsty() is None


def test_an_idle_host_costs_nothing() -> None:
    shares = Lanes(per_host=1, slots=200)
    for number in range(100):
        shares.offer(entries(f"host-{number}", 1))
    for entry in shares.take(100):
        shares.done(entry.lane)
    assert shares._lanes == {}  # noqa: SLF001 -- memory is what this is about


def hang(shares: Lanes, hosts: int, slots: int) -> int:
    """Have so many hosts take what they can get and keep it; return how many slots are left."""
    for number in range(hosts):
        shares.offer(entries(f"dead-{number}", 300, number * 1_000))
    while taken := shares.take(slots):
        slots -= len(taken)
    return slots


@pytest.mark.parametrize("hosts", [1, 8, 40, 1_000])
def test_hosts_that_hang_leave_half_to_those_that_answer(hosts: int) -> None:
    shares = Lanes(per_host=32, slots=256)
    shares.answered("good")
    left = hang(shares, hosts, 256)
    assert left >= 128
    shares.offer(entries("good", 300, 9_000_000))
    assert [entry.lane for entry in shares.take(left)] == ["good"] * 32


@pytest.mark.parametrize("hosts", [1, 8, 40])
def test_slow_hosts_that_do_answer_leave_some_to_a_newcomer(hosts: int) -> None:
    shares = Lanes(per_host=32, slots=256)
    for number in range(hosts):
        shares.answered(f"dead-{number}")
    left = hang(shares, hosts, 256)
    shares.offer(entries("new", 300, 9_000_000))
    assert 1 <= left <= 256
    assert [entry.lane for entry in shares.take(left)][:1] == ["new"]


def test_each_miss_halves_a_host_and_an_answer_restores_it() -> None:
    shares = Lanes(per_host=8, slots=1_000)
    shares.offer(entries("a", 500))
    for expected in (8, 4, 2, 1, 1):
        taken = shares.take(400)
        assert len(taken) == expected
        for entry in taken:
            shares.done(entry.lane)
        shares.missed("a")
    shares.answered("a")
    assert len(shares.take(400)) == 8


def test_a_host_is_remembered_when_nothing_of_it_waits() -> None:
    shares = Lanes(per_host=8, slots=1_000)
    for _ in range(3):
        shares.missed("a")
    shares.offer(entries("a", 50))
    assert (shares.room("a", 1_000), len(shares.take(400))) == (1, 1)


def a_queue(name: str, **limits: Any) -> Queue:
    return Queue(name=name, created_ms=0, updated_ms=0, **limits)


def test_quarantined_jobs_leave_one_by_one_and_count_in_their_queue_and_host() -> None:
    shares = Lanes(per_host=2, slots=200)
    shares.limit(a_queue("q", concurrency=1), 0.0)
    shares.offer(entries("!q|a", 1) + entries("!b", 2, 10) + entries("q|a", 2, 20) + entries("b", 3, 30))
    first = [entry.pk for entry in shares.take(100)]
    assert first == [1, 30, 31], "the quarantined job has the queue, and the other host its two"
    assert shares.take(100) == []
    assert shares.leave_quarantine("!q|a") == "q|a"
    assert shares.take(100) == [], "the queue is busy with it, the host of the next one with others"
    shares.done("b")
    assert [entry.pk for entry in shares.take(100)] == [10], "those with the fewest under way go first"
    shares.done("q|a")
    assert [entry.pk for entry in shares.take(100)] == [20]
    assert shares.leave_quarantine("!b") == "b"
    shares.done("b")
    shares.done("b")
    assert [entry.pk for entry in shares.take(100)] == [11, 32]


def test_those_of_before_that_do_not_say_where_they_come_from_leave_one_by_one_too() -> None:
    shares = Lanes(per_host=5, slots=200)
    shares.offer(entries("quarantine", 2) + entries("!a", 1, 10))
    assert [entry.pk for entry in shares.take(100)] == [1]
    assert shares.leave_quarantine("quarantine") is None
    assert len(shares.take(100)) == 1


def test_a_queue_without_limits_and_jobs_is_forgotten() -> None:
    """However many names there were that had some."""
    shares = Lanes(per_host=4, slots=8)
    [entry] = [DueEntry(0, 1, "mail|a:80")]
    shares.limit(a_queue("mail", concurrency=1), 0)
    shares.offer([entry])
    assert shares.take(8) == [entry]
    shares.limit(a_queue("mail"), 0)
    shares.limit(a_queue("mail", concurrency=1), 0)  # while one of its jobs is under way, which still counts
    shares.offer([DueEntry(0, 2, "mail|a:80")])
    assert shares.take(8) == []
    shares.done("mail|a:80")
    assert len(shares.take(8)) == 1
    shares.done("mail|a:80")
    shares.limit(a_queue("mail"), 0)
    assert shares.closed_queue("mail|a:80", 0) is None
    assert shares._queues == {}  # noqa: SLF001 -- what stays in memory


def test_hosts_that_hang_do_not_stop_the_others_of_their_queue() -> None:
    """Their jobs came first and cannot go for want of slots for strangers; they keep no place at the queue's gate."""
    shares = Lanes(per_host=4, slots=8)
    shares.answered("good")
    shares.limit(a_queue("mail", concurrency=1), 0)
    assert hang(shares, 8, 8) == 4
    shares.offer(entries("mail|dead-0", 1, 8_001) + entries("mail|dead-9", 1, 9_001) + entries("mail|good", 1, 10_001))
    assert [entry.lane for entry in shares.take(4)] == ["mail|good"]
    shares.done("mail|good")
    shares.done("dead-0")
    assert [entry.lane for entry in shares.take(5)] == ["dead-4"]


def test_a_host_that_hangs_does_not_get_hold_of_every_place_of_its_queue() -> None:
    """With turns alone it would: the next place goes to the lane with the fewest requests under way."""
    shares = Lanes(per_host=32, slots=256)
    shares.answered("dead")
    shares.answered("good")
    shares.limit(a_queue("mail", concurrency=3), 0)
    shares.offer(entries("mail|dead", 50) + entries("mail|good", 100, 1_000))
    good = shares.take(256)
    good = [entry for entry in good if entry.lane == "mail|good"]
    for _ in range(20):
        assert good
        shares.done(good.pop().lane)
        good += shares.take(256)
        assert {entry.lane for entry in good} == {"mail|good"}
    for _ in range(3 - len(good)):
        shares.done("mail|dead")
    assert "mail|dead" in {entry.lane for entry in shares.take(256)}


@pytest.mark.parametrize(("dead_hosts", "share"), [(1, 0.85), (5, 0.6), (40, 0.5)])
def test_dead_hosts_do_not_take_every_other_turn_of_a_queue(dead_hosts: int, share: float) -> None:
    """Of a place that each keeps for 30 s until its timeout, where a job of the good one takes 100 ms."""
    shares = Lanes(per_host=32, slots=256)
    shares.answered("good")
    shares.limit(a_queue("mail", concurrency=1), 0)
    now_ms, took, asked = 0, Counter[str](), set[str]()
    for number in range(dead_hosts):
        shares.offer(entries(f"mail|dead-{number}", 500, 1_000 * (number + 1)), now_ms)
    shares.offer(entries("mail|good", 9, 100_000), now_ms)
    while now_ms < 7_200_000:
        [entry] = shares.take(256, now_ms)
        good = entry.lane == "mail|good"
        now_ms += 100 if good else 30_000
        took["good" if good else "dead"] += 100 if good else 30_000
        if good:
            shares.offer([entry], now_ms)
            shares.answered(entry.lane, now_ms)
        else:
            asked.add(entry.lane)
            shares.missed(entry.lane, now_ms, took_ms=30_000)
        shares.done(entry.lane, now_ms)
    assert took["good"] > share * now_ms
    assert took["dead"] > 0.09 * now_ms  # they are asked again and again all the same
    assert len(asked) == dead_hosts
    assert len(shares._queues["mail"].parked) < 200  # noqa: SLF001 -- what stays in memory


def test_a_host_that_answers_again_is_set_back_no_more() -> None:
    shares = Lanes(per_host=32, slots=256)
    for name in ("good", "dead"):
        shares.answered(name)
    shares.limit(a_queue("mail", concurrency=1), 0)
    shares.offer(entries("mail|dead", 5), 0)
    shares.take(256, 0)
    shares.missed("mail|dead", 1_000, took_ms=1_000)
    shares.done("mail|dead", 1_000)
    [alone] = shares.take(256, 1_000)  # nobody else wants the place
    assert alone.lane == "mail|dead"
    shares.offer(entries("mail|good", 5, 100), 1_000)
    shares.answered("mail|dead", 1_100)
    shares.done("mail|dead", 1_100)
    lanes = []
    for now_ms in range(1_200, 1_600, 100):
        [entry] = shares.take(256, now_ms)
        lanes.append(entry.lane)
        shares.done(entry.lane, now_ms)
    assert lanes == ["mail|good", "mail|dead"] * 2


def test_newcomers_do_not_overtake_strangers_that_wait_for_slots() -> None:
    shares = Lanes(per_host=1, slots=2)
    shares.offer(entries("a", 1) + entries("b", 1, 10) + entries("c", 1, 20))
    order = []
    for newcomer in "defg":
        taken = shares.take(2)
        order += [entry.lane for entry in taken]
        shares.offer(entries(newcomer, 1, 30))
        for entry in taken:
            shares.done(entry.lane)
    assert order == ["a", "b", "c", "d"]


def test_what_turned_out_stale_takes_no_turn_of_a_rate() -> None:
    shares = Lanes(per_host=9, slots=99)
    shares.limit(a_queue("sms", rate=1), 0)
    shares.offer(entries("sms|a", 6))
    for pk in range(1, 6):
        [stale] = shares.take(9)
        assert stale.pk == pk
        shares.drop(stale)
    assert [entry.pk for entry in shares.take(9)] == [6]
    shares.offer(entries("sms|a", 1, 7))
    assert shares.take(9) == []
    assert shares.opens_ms(0) == 1_000


def test_what_waits_for_a_slot_and_nothing_that_somebody_has_set_is_late() -> None:
    """A limit that has room, or is none any more, is not what keeps a job waiting."""
    shares = Lanes(per_host=1, slots=9)
    limits: list[dict[str, Any]] = [{"concurrency": 1}, {"concurrency": 9}, {"rate": 1.0}, {"paused_ms": 1}, {}]
    for number, limit in enumerate(limits):
        shares.limit(a_queue(f"q{number}", **limit), 0)
        shares.offer(entries(lane_of(f"q{number}", f"{number}:80"), 3, 10 - number), 0)
    shares.take(9, 0)
    assert shares.oldest(0) == (7, 7, "q4|4:80")
    shares.reread("q4|4:80", 0)
    assert shares.thirsty() == ("q4|4:80", (7, 7))
    assert shares.oldest(0) == (10, 10, "q1|1:80")
    assert shares.oldest(1_000) == (9, 9, "q2|2:80"), "its rate would let one go"


def test_all_lanes_together_are_bounded() -> None:
    shares = Lanes(per_host=1, slots=2, all_room=500)
    for number in range(40):
        shares.offer(entries(f"host-{number}", 100, number * 1_000))
    assert shares.waiting <= 500 + 100 + 40 * FEW


def work(act: Callable[[], object]) -> int:
    """Count the lines that are gone through."""
    lines = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return lines


def paused_queues(shares: Lanes, number: int) -> None:
    for each in range(number):
        shares.limit(a_queue(f"q{each}", paused_ms=1), 0)
        shares.offer(entries(f"q{each}|a", 1, each))


def a_paused_queue(shares: Lanes, number: int) -> None:
    shares.limit(a_queue("q", paused_ms=1), 0)
    for each in range(number):
        shares.offer(entries(f"q|host-{each}", 1, each))


def queues_with_rates(shares: Lanes, number: int) -> None:
    for each in range(number):
        shares.limit(a_queue(f"q{each}", rate=0.001), 0)
        shares.offer(entries(f"q{each}|host-{each % 50}", 2, each * 10))
    while taken := shares.take(40):
        for entry in taken:
            shares.done(entry.lane)


def queues_of_a_dead_host(shares: Lanes, number: int) -> None:
    for each in range(number):
        shares.offer(entries(f"q{each}|dead", 1, each))
    shares.take(64)


def strangers(shares: Lanes, number: int) -> None:
    for each in range(number):
        shares.offer(entries(f"host-{each}", 1, each))
    shares.take(64)


@pytest.mark.parametrize(
    "those_that_cannot_move", [paused_queues, a_paused_queue, queues_with_rates, queues_of_a_dead_host, strangers]
)
def test_lanes_that_cannot_move_are_not_looked_at(those_that_cannot_move: Callable[[Lanes, int], None]) -> None:
    """What it takes to send for one that can is the same, be there forty or a hundred times as many of the others."""
    lines = []
    for number in (40, 4_000):
        shares = Lanes(per_host=8, slots=64)
        shares.answered("good")
        those_that_cannot_move(shares, number)

        def send_some(shares: Lanes = shares) -> None:
            shares.offer(entries("good", 24, 10**6))
            for _ in range(3):
                taken = shares.take(16, 5)
                assert {entry.lane for entry in taken} == {"good"}
                shares.opens_ms(5)
                shares.thirsty()
                for entry in taken:
                    shares.answered(entry.lane, 5)
                    shares.done(entry.lane, 5)

        send_some()  # what stood in the way stands aside, once
        lines.append(work(send_some))
    assert lines[1] <= lines[0] * 1.2


HOSTS = "abc"
QUEUES = ("default", "mail")
SLOTS, PER_HOST, ROOM, ALL_ROOM = 12, 6, 8, 40


class Bucket:
    """What the rate of a queue allows, by its definition."""

    def __init__(self, rate: float, now_ms: float) -> None:
        self.rate, self.at_ms = rate, now_ms
        self.tokens = max(1.0, rate)

    def fill(self, now_ms: float) -> None:
        self.tokens = min(max(1.0, self.rate), self.tokens + (now_ms - self.at_ms) / 1000 * self.rate)
        self.at_ms = now_ms


class LanesUnderAttack(RuleBasedStateMachine):
    """Whatever comes in whatever order: nothing is lost, no gate is exceeded, and what may move does.

    The model stands for the dispatcher and for the store, which knows everything that waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shares = Lanes(per_host=PER_HOST, slots=SLOTS, room=ROOM, all_room=ALL_ROOM)
        self.waiting: set[DueEntry] = set()
        self.running: list[DueEntry] = []
        self.limits: dict[str, Queue] = {}
        self.buckets: dict[str, Bucket] = {}
        self.numbers = count(1)
        self.now_ms = 0

    @rule(
        host=st.sampled_from(HOSTS),
        queue=st.sampled_from(QUEUES),
        number=st.sampled_from([1, 1, 2, 12]),
        quarantined=st.sampled_from(["", "", "!"]),
    )
    def offer(self, host: str, queue: str, number: int, quarantined: str) -> None:
        new = entries(f"{quarantined}{lane_of(queue, host)}", number, next(self.numbers) * 20)
        self.waiting |= set(new)
        self.shares.offer(new, self.now_ms)

    @rule(gone=st.integers(0, 99))
    def cancel(self, gone: int) -> None:
        """The lanes may keep an entry of what waits no more."""
        if self.waiting:
            self.waiting.discard(sorted(self.waiting)[gone % len(self.waiting)])

    @rule(host=st.sampled_from(HOSTS), queue=st.sampled_from(QUEUES), quarantined=st.sampled_from(["", "", "!"]))
    def reread(self, host: str, queue: str, quarantined: str) -> None:
        self.shares.reread(f"{quarantined}{lane_of(queue, host)}", self.now_ms)

    @rule(
        queue=st.sampled_from(QUEUES),
        concurrency=st.sampled_from([None, 1, 2, 4]),
        rate=st.sampled_from([None, 0.5, 1, 3]),
        paused=st.sampled_from([False, False, True]),
    )
    def limit(self, queue: str, concurrency: int | None, rate: float | None, *, paused: bool) -> None:
        old = self.buckets.pop(queue, None)
        if rate is not None and old is not None:
            old.fill(self.now_ms)
            old.rate = rate
            self.buckets[queue] = old
        elif rate is not None:
            self.buckets[queue] = Bucket(rate, self.now_ms)
        self.limits[queue] = Queue(
            name=queue, concurrency=concurrency, rate=rate, paused_ms=1 if paused else None, created_ms=0, updated_ms=0
        )
        self.shares.limit(self.limits[queue], self.now_ms)

    @rule(by_ms=st.integers(1, 3_000))
    def wait(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @rule(fails=st.sampled_from([False, False, True]))
    def dispatch(self, *, fails: bool) -> None:
        """Do what the dispatcher does until it would sleep; then nothing may wait that could go."""
        while True:
            taken = self.shares.take(SLOTS - len(self.running), self.now_ms)
            if fails and taken:
                for entry in reversed(taken):
                    self.shares.give_back(entry, self.now_ms)
                return
            if taken:
                self.claim(taken)
            elif (thirsty := self.shares.thirsty()) is not None:
                self.refill(*thirsty)
            else:
                break
        free = SLOTS - len(self.running)
        for lane in {entry.lane for entry in self.waiting}:
            closed = self.shares.closed_queue(lane, self.now_ms)
            one_by_one = lane.startswith("!") and any(entry.lane.startswith("!") for entry in self.running)
            assert not free or self.shares.room(lane, free) <= 0 or closed is not None or one_by_one, lane
            if closed is not None and closed.opens_ms(self.now_ms) is not None and free:
                wakes_ms = self.shares.opens_ms(self.now_ms)
                assert self.shares.room(lane, free) <= 0 or (wakes_ms is not None and wakes_ms > self.now_ms - 1)

    def claim(self, taken: list[DueEntry]) -> None:
        assert len(taken) <= SLOTS - len(self.running)
        for entry in taken:
            if entry not in self.waiting:
                self.shares.drop(entry, self.now_ms)
                continue
            self.waiting.discard(entry)
            self.running.append(entry)
            name = queue_of(entry)
            limits = self.limits.get(name)
            if limits is not None:
                assert limits.paused_ms is None
                under_way = sum(queue_of(other) == name for other in self.running)
                assert limits.concurrency is None or under_way <= limits.concurrency
            if name in self.buckets:
                self.buckets[name].fill(self.now_ms)
                self.buckets[name].tokens -= 1
                assert self.buckets[name].tokens > -1e-6

    def refill(self, lane: str, place: tuple[int, int]) -> None:
        limit = self.shares.lane_room
        left = sorted(entry for entry in self.waiting if entry.lane == lane and entry[:2] >= place)
        rest = (left[limit - 1][0], left[limit - 1][1] + 1) if len(left) >= limit else None
        self.shares.refill(lane, left[:limit], rest=rest, now_ms=self.now_ms)

    @rule(place=st.integers(0, 99), verdict=st.sampled_from(["answered", "missed", "nothing"]))
    def end(self, place: int, verdict: str) -> None:
        if not self.running:
            return
        entry = self.running.pop(place % len(self.running))
        if verdict != "nothing":
            getattr(self.shares, verdict)(entry.lane, self.now_ms)
        self.shares.done(entry.lane, self.now_ms)

    @rule()
    def leave_quarantine(self) -> None:
        """What a crash had cut off has been under way for a moment, and fliqd has not died of it."""
        for place, entry in enumerate(self.running):
            if entry.lane.startswith("!"):
                lane = self.shares.leave_quarantine(entry.lane, self.now_ms)
                assert lane == entry.lane[1:]
                self.running[place] = entry._replace(lane=lane)

    @invariant()
    def memory_and_hosts_are_bounded(self) -> None:
        under_way = Counter(entry.lane.rpartition("|")[2].removeprefix("!") for entry in self.running)
        assert all(number <= PER_HOST for number in under_way.values())
        assert sum(entry.lane.startswith("!") for entry in self.running) <= 1
        lanes = 2 * len(HOSTS) * len(QUEUES)
        assert self.shares.waiting <= ALL_ROOM + lanes * ROOM * 2

    def teardown(self) -> None:
        for name in QUEUES:
            self.limit(name, None, None, paused=False)
        while self.running or self.waiting:
            before = len(self.waiting)
            for entry in self.running:
                self.shares.done(entry.lane, self.now_ms)
            self.running = []
            self.dispatch(fails=False)
            assert len(self.waiting) < before or not before
        self.dispatch(fails=False)
        assert self.shares._lanes == {}  # noqa: SLF001 -- memory is what this is about
        assert self.shares._hosts == {}  # noqa: SLF001 -- likewise


def queue_of(entry: DueEntry) -> str:
    return entry.lane.removeprefix("!").partition("|")[0] if "|" in entry.lane else "default"


TestLanesUnderAttack = LanesUnderAttack.TestCase
TestLanesUnderAttack.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=60), st.integers(1, 4), st.integers(1, 4)
)
def test_everything_leaves_once_within_the_limits(offers: list[tuple[str, int]], per_host: int, slots: int) -> None:
    shares = Lanes(per_host, slots)
    offered = [DueEntry(due, pk, host) for pk, (host, due) in enumerate(offers)]
    shares.offer(offered)
    left: list[DueEntry] = []
    while taken := shares.take(slots):
        for host in "abc":
            assert shares.room(host, slots) >= 0
        left += taken
        for entry in taken:
            shares.done(entry.lane)
    assert sorted(left) == sorted(offered)
