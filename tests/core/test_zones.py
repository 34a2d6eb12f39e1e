"""Names of zones, and their changes against the tz database's own lists."""

from itertools import pairwise
from pathlib import Path
from struct import unpack
from zoneinfo import TZPATH

import pytest

from fliqd.core import zones
from fliqd.core.zones import Change, ZoneError, zone

from .cron_strategies import LIVELY

with_files = pytest.mark.skipif(
    not any(Path(place, "Europe/Berlin").is_file() for place in TZPATH), reason="no tz database in files"
)


def test_knows_the_names_of_the_tz_database_only() -> None:
    assert str(zone("Europe/Berlin")) == "Europe/Berlin"
    assert zone("Europe/Berlin") is zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("new_york", "America/New_York"),
        ("utc", "UTC"),
        ("", None),
        ("../../etc/passwd", None),
        ("/usr/share/zoneinfo/UTC", None),
        ("+02:00", None),
        ("Nowhere/Atall", None),
        ("x" * 10_000, None),
        ("a\0b", None),
    ],
)
def test_refuses_other_names_and_offers_the_nearest(name: str, suggestion: str | None) -> None:
    with pytest.raises(ZoneError) as caught:
        zone(name)
    assert caught.value.suggestion == suggestion
    assert suggestion is None or caught.value.message.endswith(f"; did you mean {suggestion}?")
    assert len(caught.value.message) < 150


@with_files
def test_finds_every_change_that_the_tz_database_lists() -> None:
    for name in LIVELY:
        listed = _listed_changes(name)
        if listed:
            low_s, end_s = listed[0].at_s, listed[-1].at_s + 1
            assert list(zones.changes(zone(name), low_s, end_s)) == listed, name


@with_files
def test_no_two_changes_are_nearer_than_the_search_can_tell_apart() -> None:
    for name in zones.names():
        for one, two in pairwise(_listed_changes(name)):
            assert two.at_s - one.at_s > 3 * zones.DAY_S, name


def _listed_changes(name: str) -> list[Change]:
    """Read the 64-bit part of a TZif file (RFC 9636): the instants at which the offset really changes."""
    data = next(Path(place, name) for place in TZPATH if Path(place, name).is_file()).read_bytes()
    is_ut, is_std, leaps, times, types, letters = unpack(">6l", data[20:44])
    start = 44 + times * 5 + types * 6 + letters + leaps * 8 + is_std + is_ut
    _, _, _, times, types, _ = unpack(">6l", data[start + 20 : start + 44])
    start += 44
    instants = unpack(f">{times}q", data[start : start + 8 * times])
    kinds = data[start + 8 * times : start + 9 * times]
    start += 9 * times
    offsets = [unpack(">l", data[start + 6 * kind : start + 6 * kind + 4])[0] for kind in range(types)]
    found: list[Change] = []
    before = None
    for at_s, kind in zip(instants, kinds, strict=True):
        if before is not None and offsets[kind] != before and at_s > zones.FIRST_S:
            found.append(Change(at_s, before, offsets[kind]))
        before = offsets[kind]
    return found
