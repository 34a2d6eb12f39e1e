"""When to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.retry import LONGEST_WAIT_S, Backoff, BackoffKind, retry_after_s
from fliqd.core.times import parse_time

HALF = 0.5  # the middle of the jitter


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff(), [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (Backoff(kind=BackoffKind.LINEAR), [30, 60, 90, 120]),
        (Backoff(kind=BackoffKind.FIXED, initial_s=7), [7, 7, 7]),
        (Backoff(kind=BackoffKind.TABLE, delays_s=(0, 300, 900)), [0, 300, 900, 900]),
        (Backoff(kind=BackoffKind.EXPONENTIAL, initial_s=1, max_s=5), [1, 2, 4, 5, 5]),
        (Backoff(kind=BackoffKind.LINEAR, initial_s=50_000), [50_000, LONGEST_WAIT_S]),
    ],
)
def test_the_middle_of_each_wait(backoff: Backoff, waits: list[float]) -> None:
    assert [backoff.wait_s(retry, HALF) for retry in range(1, len(waits) + 1)] == waits


def test_fliqs_jitter_is_a_quarter_either_way() -> None:
    """The first retry comes after 22.5 to 37.5 s, a capped one after 45 to 75 min (Fliq's retry page)."""
    assert Backoff().wait_s(1, 0.0) == 22.5
    assert Backoff().wait_s(1, 1.0) == 37.5
    assert Backoff().wait_s(99, 0.0) == 45 * 60
    assert Backoff().wait_s(99, 1.0) == 75 * 60


@given(
    st.builds(
        Backoff,
        kind=st.sampled_from(BackoffKind),
        initial_s=st.floats(0, LONGEST_WAIT_S),
        max_s=st.none() | st.floats(0, LONGEST_WAIT_S),
        jitter=st.none() | st.floats(0, 1),
        delays_s=st.lists(st.floats(0, LONGEST_WAIT_S), min_size=1, max_size=5).map(tuple),
    ),
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_negative_nor_longer_than_a_day(backoff: Backoff, retry: int, spread: float) -> None:
    assert 0 <= backoff.wait_s(retry, spread) <= LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("999999999", LONGEST_WAIT_S),
        ("Mon, 01 Mar 2027 12:01:00 GMT", 60),
        ("Mon, 01 Mar 2027 11:00:00 GMT", 0),
        ("Monday, 01-Mar-27 12:01:00 GMT", 60),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("Mon, 99 Mar 2027 12:01:00 GMT", None),
    ],
)
def test_retry_after(value: str, wait: float | None) -> None:
    assert retry_after_s(value, parse_time("2027-03-01T12:00:00Z")) == wait


@given(st.text())
def test_retry_after_takes_anything(value: str) -> None:
    wait = retry_after_s(value, 0)
    assert wait is None or 0 <= wait <= LONGEST_WAIT_S
