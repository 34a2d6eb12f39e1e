"""Slots at a fixed distance, held against counting them one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core import interval

DAY = 86_400_000


@pytest.mark.parametrize(
    ("after", "expected"),
    [(-1, 100), (0, 100), (99, 100), (100, 110), (101, 110), (109, 110), (110, 120), (10**15, 10**15 + 10)],
)
def test_the_next_is_strictly_later_and_never_before_the_anchor(after: int, expected: int) -> None:
    assert interval.next_after(100, 10, after) == expected


@pytest.mark.parametrize(
    ("until", "expected"),
    [(-1, None), (99, None), (100, 100), (109, 100), (110, 110), (10**15 + 9, 10**15)],
)
def test_the_latest_may_be_now(until: int, expected: int | None) -> None:
    assert interval.latest(100, 10, until) == expected


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [
        (0, 99, 0),
        (0, 100, 1),
        (99, 100, 1),
        (100, 100, 0),
        (100, 109, 0),
        (100, 110, 1),
        (105, 135, 3),
        (135, 105, 0),
        (0, 100 + 10 * 10**12, 10**12 + 1),  # as quick as any other
    ],
)
def test_how_many(after: int, until: int, expected: int) -> None:
    assert interval.count_between(100, 10, after, until) == expected


@given(st.integers(-50, 50), st.integers(1, 20), st.integers(-100, 150), st.integers(-100, 150))
def test_agrees_with_counting(anchor: int, every: int, after: int, until: int) -> None:
    slots = list(range(anchor, 400, every))
    assert interval.next_after(anchor, every, after) == next(slot for slot in slots if slot > after)
    assert interval.latest(anchor, every, until) == max((slot for slot in slots if slot <= until), default=None)
    assert interval.count_between(anchor, every, after, until) == sum(after < slot <= until for slot in slots)


@given(st.integers(0, 4 * 10**12), st.integers(1_000, 3653 * DAY), st.integers(0, 8 * 10**12))
def test_where_it_is_looked_from_moves_nothing(anchor: int, every: int, base: int) -> None:
    """The next of the latest is the next; whatever the base, the slots are the same ones."""
    following = interval.next_after(anchor, every, base)
    assert following > base
    assert (following - anchor) % every == 0
    before = interval.latest(anchor, every, base)
    assert following == (anchor if before is None else interval.next_after(anchor, every, before))
    assert interval.latest(anchor, every, following) == following
    assert interval.count_between(anchor, every, base, following) == 1
