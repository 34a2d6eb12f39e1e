"""The token bucket."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.pacing import Bucket, filled, spend

rates = st.floats(0.001, 1000)
FULL = 1e9


def departures(rate: float, asked_ms: list[int], bucket: Bucket | None = None) -> list[int]:
    """Return when requests leave that are asked for at these instants."""
    bucket = bucket or Bucket(FULL, 0)
    left = []
    for at_ms in asked_ms:
        bucket, leaves_ms = spend(bucket, rate, at_ms)
        left.append(leaves_ms)
    return left


def test_the_bucket_goes_at_once_and_then_one_comes_after_the_other() -> None:
    assert departures(4, [0] * 8) == [0, 0, 0, 0, 250, 500, 750, 1000]
    assert departures(0.5, [0] * 4) == [0, 2000, 4000, 6000]


def test_what_is_not_used_is_kept_up_to_a_second_s_worth() -> None:
    assert departures(2, [0, 0, 0, 400, 10_000, 10_000, 10_000]) == [0, 0, 500, 1000, 10_000, 10_000, 10_500]


@given(rates, st.lists(st.integers(0, 5_000), max_size=40))
def test_no_more_leave_in_any_time_than_its_rate_and_one_bucket(rate: float, steps: list[int]) -> None:
    """For each window: the bucket, and what flows in meanwhile; a millisecond is as fine as it goes."""
    asked, now_ms = [], 0
    for step in steps:
        now_ms += step
        asked.append(now_ms)
    left = departures(rate, asked)
    capacity = max(Fraction(1), Fraction(rate))
    for first in range(len(left)):
        for last in range(first, len(left)):
            room = capacity + Fraction(rate) * (left[last] - left[first] + 1) / 1000
            assert last - first + 1 <= room + Fraction(1, 1000)


@given(rates, st.lists(st.integers(0, 5_000), max_size=40))
def test_nothing_waits_longer_than_it_must(rate: float, steps: list[int]) -> None:
    """Each leaves when it is asked for, or one interval after the one before it, whichever is later."""
    now_ms, previous_ms = 0, None
    bucket = Bucket(FULL, 0)
    for step in steps:
        now_ms += step
        bucket, leaves_ms = spend(bucket, rate, now_ms)
        assert leaves_ms >= now_ms
        if leaves_ms > now_ms and previous_ms is not None:
            assert leaves_ms <= max(now_ms, previous_ms) + 1000 / rate + 1
        previous_ms = leaves_ms


@given(rates, st.lists(st.integers(-10_000_000, 10_000), min_size=1, max_size=40))
def test_a_clock_that_is_set_changes_no_rate(rate: float, steps: list[int]) -> None:
    """A step back takes no token and gives none; so the wait is never longer than the line is."""
    now_ms = 10**12
    bucket = Bucket(FULL, now_ms)
    for line, step in enumerate(steps, 1):
        now_ms += step
        bucket, leaves_ms = spend(bucket, rate, now_ms)
        assert now_ms <= leaves_ms <= now_ms + line * 1000 / rate + 1
        assert bucket.tokens <= max(1.0, rate)


@given(st.floats(-1_000, 1_000), rates, st.integers(0, 10_000), st.integers(0, 10_000))
def test_filling_in_two_steps_is_filling_in_one(tokens: float, rate: float, first_ms: int, then_ms: int) -> None:
    at_once = filled(Bucket(tokens, 0), rate, first_ms + then_ms)
    in_two = filled(Bucket(filled(Bucket(tokens, 0), rate, first_ms), first_ms), rate, first_ms + then_ms)
    assert in_two == pytest.approx(at_once)
