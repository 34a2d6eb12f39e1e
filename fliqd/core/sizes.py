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
