"""Time zones by name, with the instants at which their offset from UTC changes.

Instants are whole seconds since the epoch here (the tz database knows no finer), offsets seconds east of UTC.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

DAY_S: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_S: Final = int((datetime(1, 1, 2, tzinfo=UTC) - _EPOCH).total_seconds())
END_S: Final = int((datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH).total_seconds()) + DAY_S

# No zone has changed twice within this time (Freetown in 1939 came closest, with 96 hours): a test reads all.
_APART_S: Final = 3 * DAY_S


class ZoneError(ValueError):
    """A name that is no zone; `suggestion` is the nearest that is one, None where nothing is near."""

    def __init__(self, message: str, suggestion: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


class Change(NamedTuple):
    """From `at_s` on the offset is `after_s`: when it grew, wall times are left out, else they come twice."""

    at_s: int
    before_s: int
    after_s: int


@cache
def names() -> frozenset[str]:
    """Return the zones of this system, read from its tz database once in the life of the process."""
    return frozenset(available_timezones())


@cache
def zone(name: str) -> ZoneInfo:
    """Return the zone called exactly `name`; raise ZoneError for anything not in `names()`."""
    if name in names():
        return ZoneInfo(name)
    nearest = _nearest(name)
    hint = f"; did you mean {nearest}?" if nearest else ""
    raise ZoneError(f"{name[:64]!r} is not a time zone{hint}", nearest)


def offset_at(where: ZoneInfo, at_s: int) -> int:
    """Return the offset at `at_s`; outside the years datetime can hold, the one at their edge."""
    inside_s = min(max(at_s, FIRST_S), END_S - 2 * DAY_S)
    offset = (_EPOCH + timedelta(seconds=inside_s)).astimezone(where).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def changes(where: ZoneInfo, low_s: int, end_s: int) -> Iterator[Change]:
    """Yield the changes with `low_s <= at_s < end_s` in order.

    zoneinfo does not tell them, so they are looked for: 1.5 ms for ten years.
    """
    at_s, offset_s = low_s - 1, offset_at(where, low_s - 1)
    while at_s < end_s - 1:
        probe_s = min(at_s + _APART_S, end_s - 1)
        probe_offset_s = offset_at(where, probe_s)
        if probe_offset_s != offset_s:
            probe_s = _first_with_other_offset(where, at_s, probe_s)
            probe_offset_s = offset_at(where, probe_s)
            yield Change(probe_s, offset_s, probe_offset_s)
        at_s, offset_s = probe_s, probe_offset_s


def _first_with_other_offset(where: ZoneInfo, low_s: int, high_s: int) -> int:
    old_s = offset_at(where, low_s)
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        if offset_at(where, middle_s) == old_s:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s


def _nearest(name: str) -> str | None:
    """Find what was meant: another case, a city without its continent, a slip of the finger."""
    by_key: dict[str, str] = {}
    for known in sorted(names()):
        by_key.setdefault(known.rpartition("/")[2].casefold(), known)
    by_key |= {known.casefold(): known for known in names()}
    wanted = name[:64].strip().casefold().replace(" ", "_")
    if wanted in by_key:
        return by_key[wanted]
    near = get_close_matches(wanted, by_key, n=1, cutoff=0.75)
    return by_key[near[0]] if near else None
