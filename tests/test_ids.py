"""Ids sort by birth and never repeat, whatever the clock does."""

import secrets

from hypothesis import given
from hypothesis import strategies as st

from fliqd.ids import UlidSource, encode_ulid, id_pattern


@given(st.lists(st.integers(0, 2**48 - 2), min_size=1, max_size=200))
def test_ulids_only_grow(moments: list[int]) -> None:
    times = iter(moments)
    source = UlidSource(lambda: next(times), secrets.randbits)
    made = [source() for _ in moments]
    assert made == sorted(set(made))
    pattern = id_pattern("job")
    assert all(pattern.fullmatch(f"job_{ulid}") for ulid in made)


def test_the_time_is_in_front() -> None:
    """The example of the ULID spec: `ulid(1469918176385)` begins with 01ARYZ6S41."""
    assert encode_ulid(1_469_918_176_385 << 80)[:10] == "01aryz6s41"
