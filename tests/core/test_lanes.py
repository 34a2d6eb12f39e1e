"""Fair shares between hosts."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fliqd.core.due_heap import DueEntry
from fliqd.core.lanes import LANE_ROOM, Lanes


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


class LanesUnderAttack(RuleBasedStateMachine):
    """Whatever comes in whatever order: nothing is lost, no limit is broken, and what may move does."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = 12
        self.shares = Lanes(per_host=6, slots=self.slots)
        self.waiting: set[DueEntry] = set()
        self.running: list[DueEntry] = []
        self.numbers = count(1)

    @rule(host=st.sampled_from("abcd"), number=st.integers(1, 9))
    def offer(self, host: str, number: int) -> None:
        new = entries(host, number, next(self.numbers) * 10)
        self.waiting |= set(new)
        self.shares.offer(new)

    @rule()
    def take(self) -> None:
        free = self.slots - len(self.running)
        taken = self.shares.take(free)
        assert len(taken) <= free
        assert set(taken) <= self.waiting
        self.waiting -= set(taken)
        self.running += taken
        if not self.running:
            assert not self.waiting

    @rule(place=st.integers(0, 99), verdict=st.sampled_from(["answered", "missed", "nothing"]))
    def end(self, place: int, verdict: str) -> None:
        if not self.running:
            return
        entry = self.running.pop(place % len(self.running))
        if verdict != "nothing":
            getattr(self.shares, verdict)(entry.lane)
        self.shares.done(entry.lane)

    @invariant()
    def limits_hold(self) -> None:
        under_way = Counter(entry.lane for entry in self.running)
        assert all(number <= 6 for number in under_way.values())
        assert self.shares.waiting == len(self.waiting)

    def teardown(self) -> None:
        while self.running or self.waiting:
            for entry in self.running:
                self.shares.done(entry.lane)
            self.running = []
            before = len(self.waiting)
            self.take()
            assert len(self.waiting) < before or not before
        assert self.shares._lanes == {}  # noqa: SLF001 -- memory is what this is about


TestLanesUnderAttack = LanesUnderAttack.TestCase


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
