"""How many rows of a list go into one answer: as many as their bodies leave room for."""

from collections.abc import Sequence
from typing import Final

PAGE_BUDGET: Final = 4 * 1024 * 1024  # bytes of bodies in a page of a list


def that_fit(sizes: Sequence[Sequence[int]]) -> int:
    """Return how many of the first rows (key, bytes of the body) make a page: one at least, where there is one."""
    room = PAGE_BUDGET
    for count, (_, size) in enumerate(sizes):
        room -= size
        if room < 0 and count:
            return count
    return len(sizes)
