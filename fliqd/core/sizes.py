"""Amounts of bytes as people write them: `"1MiB"`, `"64KiB"` or a number."""

import re
from typing import Final

UNITS: Final = {
    "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
    "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
}  # fmt: skip
_SIZE: Final = re.compile(r"(\d{1,15}) ?([KMGT]iB|[kKMGT]?B)", re.ASCII)
EXPECTED: Final = 'a size such as "1MiB", "64KiB" or a number of bytes'


def parse_size(value: object) -> int:
    """Return a number of bytes; raise ValueError saying what would do."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected {EXPECTED}")
    return int(match[1]) * UNITS[match[2]]


def format_size(count: int) -> str:
    """Write bytes in the unit that leaves a number below 1024."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:  # noqa: PLR2004 -- the step between units
            return f"{number:.1f} {unit}" if number < 10 and unit != "B" else f"{number:.0f} {unit}"  # noqa: PLR2004
        number /= 1024
    return f"{number:.1f} TiB"
