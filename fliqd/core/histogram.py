"""Counts how often a measured value fell between which bounds; plain numbers, so that counting costs nothing."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence


class Histogram:
    """A value counts where it is first no larger than a bound; beyond the last one there is room for the rest."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterable[tuple[float, int]]:
        """Yield how many values were no larger than each bound; the last bound is infinity."""
        so_far = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            so_far += count
            yield bound, so_far
