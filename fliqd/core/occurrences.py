"""From wall times to instants: when a cron expression runs in a zone, across every change of its clocks.

The rules are DESIGN 4.3, which follows Debian's cron(8):

- A job whose minute and hour are fixed runs once for a gap, at the first instant after it, and once in an
  overlap, at the first of the two. That holds for changes of at most three hours.
- A larger change (Apia lost a day in 2011, Vostok went back seven hours in 1994) is the clock being set: what
  the wall shows counts, so a gap has no run and an overlap has them again.
- All other jobs always go by what the wall shows: `*/15` comes every fifteen minutes of elapsed time.

Instants are milliseconds since the epoch, UTC. Counts and latest runs are computed over stretches of months,
so that an outage of ten years is no walk from run to run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from fliqd.core import cron as wall
from fliqd.core import zones
from fliqd.core.cron import Cron

# The Gregorian calendar repeats itself after 400 years: what has no run in them has none.
_SEARCHED_S: Final = 400 * 366 * zones.DAY_S
_LARGEST_S: Final = 3 * 3600  # a larger change of the offset is the clock being set
_WINDOW_S: Final = 3 * zones.DAY_S  # what one step of a search looks at


class Gap(StrEnum):
    """What becomes of a fixed time that the clocks jump over."""

    AFTER = "after"  # it runs at the first instant after the gap
    SKIP = "skip"  # it does not run


class Overlap(StrEnum):
    """Which of the two instants of a fixed time that the clocks show twice are runs."""

    FIRST = "first"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class DstPolicy:
    """How jobs with a fixed time meet a change of up to three hours; it does not touch the others."""

    gap: Gap = Gap.AFTER
    overlap: Overlap = Overlap.FIRST


DEBIAN: Final = DstPolicy()


@dataclass(frozen=True, slots=True)
class Tally:
    """The runs of a stretch of time, without a list of them."""

    first_ms: int
    last_ms: int
    count: int


class _Stretch(NamedTuple):
    """A part of the time between two changes (`low_s <= at < end_s`): wall and elapsed time go together."""

    low_s: int
    end_s: int
    offset_s: int
    catches_up: bool  # a run at `low_s` makes up for wall times the change jumped over


def next_run(cron: Cron, zone: ZoneInfo, after_ms: int, dst: DstPolicy = DEBIAN) -> int | None:
    """Return the first run strictly after `after_ms`, None for none in 400 years or before year 10000.

    An expression can have dates and still no run: `30 2 8-14 3 */7` lies in New York's gap each year, which
    `gap = "skip"` leaves out.
    """
    low_s = max(after_ms // 1000 + 1, zones.FIRST_S)
    give_up_s = min(low_s + _SEARCHED_S, zones.END_S)
    while low_s < give_up_s:
        # No zone is a day or more away from UTC, so nothing runs earlier than that before its wall time.
        near = wall.first(cron, (low_s - zones.DAY_S) // 60, wall.END_WALL)
        if near is None:
            return None
        low_s = max(low_s, near * 60 - zones.DAY_S)
        end_s = min(low_s + _WINDOW_S, zones.END_S)
        for stretch in _stretches(cron, zone, low_s, end_s, dst):
            found_s = _first(cron, stretch)
            if found_s is not None:
                return found_s * 1000
        low_s = end_s
    return None


def previous_run(cron: Cron, zone: ZoneInfo, until_ms: int, dst: DstPolicy = DEBIAN) -> int | None:
    """Return the last run at or before `until_ms`, None when there is none in 400 years or since year 1."""
    end_s = min(until_ms // 1000 + 1, zones.END_S)
    give_up_s = max(end_s - _SEARCHED_S, zones.FIRST_S)
    while end_s > give_up_s:
        near = wall.last(cron, wall.FIRST_WALL, (end_s + zones.DAY_S) // 60 + 1)
        if near is None:
            return None
        end_s = min(end_s, near * 60 + zones.DAY_S)
        low_s = max(end_s - _WINDOW_S, zones.FIRST_S)
        for stretch in reversed(list(_stretches(cron, zone, low_s, end_s, dst))):
            found_s = _last(cron, stretch)
            if found_s is not None:
                return found_s * 1000
        end_s = low_s
    return None


def occurrences(cron: Cron, zone: ZoneInfo, after_ms: int, dst: DstPolicy = DEBIAN) -> Iterator[int]:
    """Yield the runs strictly after `after_ms` in order; ends where `next_run` is None."""
    run_ms = next_run(cron, zone, after_ms, dst)
    while run_ms is not None:
        yield run_ms
        run_ms = next_run(cron, zone, run_ms, dst)


def count_between(cron: Cron, zone: ZoneInfo, after_ms: int, until_ms: int, dst: DstPolicy = DEBIAN) -> int:
    """Return how many runs there are with `after_ms < run <= until_ms`."""
    low_s = max(after_ms // 1000 + 1, zones.FIRST_S)
    end_s = min(until_ms // 1000 + 1, zones.END_S)
    if low_s >= end_s:
        return 0
    return sum(_count(cron, stretch) for stretch in _stretches(cron, zone, low_s, end_s, dst))


def tally(cron: Cron, zone: ZoneInfo, after_ms: int, until_ms: int, dst: DstPolicy = DEBIAN) -> Tally | None:
    """Sum up the runs with `after_ms < run <= until_ms`, None for none: all that a misfire has to know."""
    first_ms = next_run(cron, zone, after_ms, dst)
    if first_ms is None or first_ms > until_ms:
        return None
    last_ms = previous_run(cron, zone, until_ms, dst)
    if last_ms is None:
        return None
    return Tally(first_ms, last_ms, count_between(cron, zone, after_ms, until_ms, dst))


def is_small(change: zones.Change) -> bool:
    """Whether `change` is daylight saving or its like, and not the clock being set."""
    return abs(change.after_s - change.before_s) <= _LARGEST_S


def wall_minutes(change: zones.Change) -> tuple[int, int]:
    """Return the wall minutes, as `low <= minute < end`, that a gap leaves out or an overlap shows twice."""
    edges_s = (change.at_s + change.before_s, change.at_s + change.after_s)
    return _minute_from(min(edges_s)), _minute_from(max(edges_s))


def _stretches(cron: Cron, zone: ZoneInfo, low_s: int, end_s: int, dst: DstPolicy) -> Iterator[_Stretch]:
    """Yield what of `low_s <= at < end_s` can have runs, in order."""
    # A change shortly before the window can have begun an overlap that reaches into it.
    start_s = low_s - _LARGEST_S
    offset_s = zones.offset_at(zone, start_s - 1)
    catches_up = False
    for change in zones.changes(zone, start_s, end_s):
        if max(start_s, low_s) < change.at_s:
            yield _Stretch(max(start_s, low_s), change.at_s, offset_s, catches_up)
        start_s, offset_s, catches_up = change.at_s, change.after_s, False
        grown_s = change.after_s - change.before_s
        if cron.fixed and is_small(change):
            if grown_s < 0 and dst.overlap is Overlap.FIRST:
                start_s -= grown_s
            if grown_s > 0 and dst.gap is Gap.AFTER and start_s >= low_s:
                catches_up = wall.first(cron, *wall_minutes(change)) is not None
    if max(start_s, low_s) < end_s:
        yield _Stretch(max(start_s, low_s), end_s, offset_s, catches_up)


def _first(cron: Cron, stretch: _Stretch) -> int | None:
    if stretch.catches_up:
        return stretch.low_s
    return _instant(wall.first(cron, *_minutes(stretch)), stretch)


def _last(cron: Cron, stretch: _Stretch) -> int | None:
    found_s = _instant(wall.last(cron, *_minutes(stretch)), stretch)
    return stretch.low_s if found_s is None and stretch.catches_up else found_s


def _count(cron: Cron, stretch: _Stretch) -> int:
    on_time = wall.count(cron, *_minutes(stretch))
    if not stretch.catches_up:
        return on_time
    also_on_time = _instant(wall.first(cron, *_minutes(stretch)), stretch) == stretch.low_s
    return on_time + (not also_on_time)


def _minutes(stretch: _Stretch) -> tuple[int, int]:
    """Return the wall minutes, as `low <= minute < end`, that begin within the stretch."""
    return _minute_from(stretch.low_s + stretch.offset_s), _minute_from(stretch.end_s + stretch.offset_s)


def _minute_from(wall_s: int) -> int:
    """Return the first whole minute at or after `wall_s`: offsets had seconds once (Monrovia, until 1972)."""
    return -(-wall_s // 60)


def _instant(minute: int | None, stretch: _Stretch) -> int | None:
    return None if minute is None else minute * 60 - stretch.offset_s
