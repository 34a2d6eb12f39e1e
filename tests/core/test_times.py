"""RFC 3339 in and out."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.times import LAST_MS, format_time, parse_time


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2027-01-01T09:00:00Z", "2027-01-01T09:00:00.000Z"),
        ("2027-01-01t09:00:00.5z", "2027-01-01T09:00:00.500Z"),
        ("2027-01-01 09:00:00.123456789+02:00", "2027-01-01T07:00:00.123Z"),
        ("2027-01-01T00:00:00-03:30", "2027-01-01T03:30:00.000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000Z"),
    ],
)
def test_what_is_a_time(text: str, shown: str) -> None:
    assert format_time(parse_time(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "now", "2027-01-01", "2027-01-01T09:00:00", "2027-1-1T09:00:00Z", "2027-02-29T00:00:00Z",
     "2027-01-01T24:00:00Z", "2027-01-01T09:00:00+25:00", "2027-01-01T09:00Z", "2027-01-01T09:00:00Z ",
     "1969-12-31T23:59:59Z", "٢٠٢٧-01-01T09:00:00Z", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no such time"):
        parse_time(text)


@given(st.integers(0, LAST_MS))
def test_what_is_written_can_be_read_and_agrees_with_datetime(ms: int) -> None:
    text = format_time(ms)
    assert parse_time(text) == ms
    assert datetime.fromisoformat(text).astimezone(UTC) == datetime.fromtimestamp(ms // 1000, UTC).replace(
        microsecond=ms % 1000 * 1000
    )
