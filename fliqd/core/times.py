"""Instants: integer milliseconds since the epoch inside, RFC 3339 in UTC outside."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

EXPECTED: Final = 'an RFC 3339 time with its offset, such as "2027-01-01T09:00:00Z"'
LAST_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that datetime can show
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1024)
def parse_time(text: str) -> int:
    """Return the milliseconds since the epoch of an RFC 3339 time; raise ValueError saying what would do.

    A leap second (`23:59:60`) counts as the second after it, as POSIX time has none (RFC 3339, 5.7). Remembered, as
    `format_time` is.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {EXPECTED}")
    if text[17:19] != "60":
        try:
            since = datetime.fromisoformat(text.upper()) - EPOCH
        except ValueError as err:
            raise ValueError(f"no such time: {err}; expected {EXPECTED}") from err
        return _in_range(since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000)
    return _in_range(parse_time(f"{text[:17]}59{text[19:]}") + 1000)


def _in_range(ms: int) -> int:
    if not 0 <= ms <= LAST_MS:
        raise ValueError("expected a time from 1970 to 9999")
    return ms


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def format_time(ms: int) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds: `2027-01-01T09:00:00.000Z`.

    Remembered: many jobs are due at one instant, and one has the same in several places.
    """
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


def maybe_time(ms: int | None) -> str | None:
    """Write an instant that may be unset."""
    return None if ms is None else format_time(ms)
