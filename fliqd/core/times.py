"""Instants: integer milliseconds since the epoch inside, RFC 3339 in UTC outside."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

EXPECTED: Final = 'an RFC 3339 time with its offset, such as "2027-01-01T09:00:00Z"'
LAST_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that datetime can show
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_LEAP_SECOND: Final = 60
_HOURS, _MINUTES = 24, 60


def parse_time(text: str) -> int:
    """Return the milliseconds since the epoch of an RFC 3339 time; raise ValueError saying what would do.

    A leap second (`23:59:60`) counts as the second after it, as POSIX time has none (RFC 3339, 5.7).
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {EXPECTED}")
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    fraction, zulu, sign, off_hours, off_minutes = match.group(7, 8, 9, 10, 11)
    zone: timezone = UTC
    if not zulu:
        if int(off_hours) >= _HOURS or int(off_minutes) >= _MINUTES:
            raise ValueError(f"the offset {sign}{off_hours}:{off_minutes} does not exist; expected {EXPECTED}")
        offset = timedelta(hours=int(off_hours), minutes=int(off_minutes))
        zone = timezone(-offset if sign == "-" else offset)
    leap = 1 if second == _LEAP_SECOND else 0
    try:
        moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=zone)
    except ValueError as err:
        raise ValueError(f"no such time: {err}; expected {EXPECTED}") from err
    milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    ms = (round(moment.timestamp()) + leap) * 1000 + milliseconds
    if not 0 <= ms <= LAST_MS:
        raise ValueError("expected a time from 1970 to 9999")
    return ms


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_time(ms: int) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds: `2027-01-01T09:00:00.000Z`."""
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


def maybe_time(ms: int | None) -> str | None:
    """Write an instant that may be unset."""
    return None if ms is None else format_time(ms)
