"""Fair shares between hosts."""

from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.due_heap import DueEntry
from fliqd.core.lanes import LANE_ROOM, Lanes


def entries(host: str, count: int, first_pk: int = 1) -> list[DueEntry]:
    return [DueEntry(pk, pk, host) for pk in range(first_pk, first_pk + count)]


def test_hosts_take_turns_and_keep_their_order() -> None:
    shares = Lanes(per_host=10)
    shares.offer(entries("a", 4) + entries("b", 2, 100))
    assert [entry.pk for entry in shares.take(5)] == [1, 100, 2, 101, 3]


def test_a_host_gets_its_share_and_no_more() -> None:
    shares = Lanes(per_host=2)
    shares.offer(entries("a", 5) + entries("b", 1, 100))
    assert [entry.pk for entry in shares.take(100)] == [1, 100, 2]
    assert shares.take(100) == []
    shares.done("a")
    assert [entry.pk for entry in shares.take(100)] == [3]


def test_what_could_not_be_claimed_comes_first_again() -> None:
    shares = Lanes(per_host=1)
    shares.offer(entries("a", 2))
    first = shares.take(1)[0]
    shares.give_back(first)
    assert shares.take(1) == [first]


def test_a_long_lane_spills_and_is_read_back() -> None:
    """More than the room is left to the store, and asked for from the first that was left."""
    shares = Lanes(per_host=LANE_ROOM * 2)
    shares.offer(entries("a", LANE_ROOM + 5))
    assert shares.waiting == LANE_ROOM
    assert shares.thirsty() is None
    taken = shares.take(LANE_ROOM)
    assert len(taken) == LANE_ROOM
    assert shares.thirsty() == ("a", (LANE_ROOM + 1, LANE_ROOM + 1))
    shares.offer(entries("a", 1, 9_000))  # comes while the store is read
    shares.refill("a", entries("a", 5, LANE_ROOM + 1), rest=None)
    assert {entry.pk for entry in shares.take(100)} == {9_000, *range(LANE_ROOM + 1, LANE_ROOM + 6)}
    assert shares.thirsty() is None


def test_an_idle_host_costs_nothing() -> None:
    shares = Lanes(per_host=1)
    for number in range(100):
        shares.offer(entries(f"host-{number}", 1))
    for entry in shares.take(100):
        shares.done(entry.lane)
    assert shares._lanes == {}  # noqa: SLF001 -- memory is what this is about


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=60), st.integers(1, 4), st.integers(1, 4)
)
def test_everything_leaves_once_within_the_limits(offers: list[tuple[str, int]], per_host: int, slots: int) -> None:
    shares = Lanes(per_host)
    offered = [DueEntry(due, pk, host) for pk, (host, due) in enumerate(offers)]
    shares.offer(offered)
    left: list[DueEntry] = []
    while taken := shares.take(slots):
        for host in "abc":
            assert shares.room(host) >= 0
        left += taken
        for entry in taken:
            shares.done(entry.lane)
    assert sorted(left) == sorted(offered)
