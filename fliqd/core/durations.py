"""Durations as people write them: `"90s"`, `"1h30m"`, `"1d"` or a number of seconds."""

import math
import re
from typing import Final

UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d|w)", re.ASCII)
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
EXPECTED: Final = 'a duration such as "90s", "1h30m" or a number of seconds'
LONGEST_MS: Final = 100 * 366 * UNIT_MS["d"]  # anything longer is a slip of the pen


def parse_duration(value: object) -> int:
    """Return the milliseconds of a duration, never negative; raise ValueError saying what would do.

    Parts are added up, so `"1h30m"` is 90 minutes; each unit may come once, in any order.
    """
    if isinstance(value, bool):
        raise ValueError(f"expected {EXPECTED}")  # noqa: TRY004 -- one error for every wrong value
    if isinstance(value, int | float):
        if not 0 <= value <= LONGEST_MS / 1000 or not math.isfinite(value):
            raise ValueError(f"expected {EXPECTED}, from 0 to 100 years")
        return round(value * 1000)
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise ValueError(f"expected {EXPECTED}")
    parts = _PART.findall(value)
    if len({unit for _, unit in parts}) != len(parts):
        raise ValueError("a unit comes twice; write each one once, as in 1h30m")
    total = round(sum(float(number) * UNIT_MS[unit] for number, unit in parts))
    if total > LONGEST_MS:
        raise ValueError(f"expected {EXPECTED}, at most 100 years")
    return total


def format_duration(ms: int) -> str:
    """Write milliseconds the short way, largest unit first: 5_400_000 is `1h30m`, 0 is `0s`."""
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, ms = divmod(ms, UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
