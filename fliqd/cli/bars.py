"""Numbers as bars, for those who look at a terminal."""

import sys
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 30
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def bars(numbers: Sequence[float], width: int = WIDTH) -> list[str]:
    """Return a bar for each number; the largest is `width` long, and what is not nothing can be seen."""
    largest = max(numbers, default=0)
    return [_bar(number / largest * width) if number > 0 else "" for number in numbers]


def _bar(length: float) -> str:
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        return "#" * max(1, round(length))
    whole, eighths = divmod(max(1, round(length * 8)), 8)
    return EIGHTHS[8] * whole + EIGHTHS[eighths].strip()
