"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.durations import LONGEST_MS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("2w", 1_209_600_000),
        ("250ms", 250),
        ("1.5h", 5_400_000),
        ("30m1h", 5_400_000),
        (90, 90_000),
        (0.25, 250),
        (0, 0),
    ],
)
def test_what_is_a_duration(text: object, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "5", "5 s", "1h 30m", "-5s", "5 parsecs", "1H", "1h1h", "1e3s", "٣s", "s", None, True, -1, float("nan"),
     float("inf"), 1e300, [], "99999999d"],
)  # fmt: skip
def test_what_is_none(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected a duration|comes twice"):
        parse_duration(text)


@given(st.integers(0, LONGEST_MS))
def test_what_is_written_can_be_read(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms
