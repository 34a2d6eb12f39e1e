"""The due jobs that are near: a bounded window over the store's due index, kept as a heap."""

import heapq
from collections.abc import Iterable
from typing import Final, NamedTuple

CAPACITY: Final = 10_000
EVERYTHING: Final = (1 << 62, 0)


class DueEntry(NamedTuple):
    """A scheduled job as the due index knows it; ordered by due time, then by creation."""

    due_ms: int
    pk: int
    lane: str


class DueHeap:
    """Holds every waiting job up to a frontier; what lies beyond is left in the store.

    The frontier moves out by pages (`page_begins`, `page_came`) when the heap runs low, and in when
    offers overfill it. A job offered while a page is being read is kept aside until the page is in, since
    the page may have been read before that job was there: so none falls between the two.

    An entry may be stale (cancelled, moved, already claimed), never missing: the claim decides.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._heap: list[DueEntry] = []
        self._frontier: tuple[int, int] = (-1, 0)  # (due_ms, pk) of the last entry that was paged in
        self._aside: list[DueEntry] | None = None

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def frontier(self) -> tuple[int, int]:
        """The place after which the next page begins."""
        return self._frontier

    @property
    def wants_page(self) -> bool:
        """Whether the store may have entries beyond the frontier that there is room for."""
        return self._aside is None and self._frontier != EVERYTHING and len(self._heap) <= self._capacity // 2

    def next_due_ms(self) -> int | None:
        """Return when the first entry is due, None if none is known."""
        return self._heap[0].due_ms if self._heap else None

    def offer(self, entries: Iterable[DueEntry]) -> None:
        """Take in what the store has just been given."""
        for entry in entries:
            if entry[:2] <= self._frontier:
                heapq.heappush(self._heap, entry)
            elif self._aside is not None:
                self._aside.append(entry)
        if len(self._heap) > 2 * self._capacity:
            self._shrink()

    def page_begins(self) -> None:
        """Note that a page after the frontier is being read."""
        self._aside = []

    def page_came(self, entries: list[DueEntry], *, complete: bool) -> None:
        """Take in a page; `complete` says that nothing lies beyond it."""
        self._frontier = EVERYTHING if complete else entries[-1][:2]
        for entry in entries:
            heapq.heappush(self._heap, entry)
        aside, self._aside = self._aside or [], None
        self.offer(aside)

    def page_failed(self) -> None:
        """Note that the page did not come; the frontier stays, and another page will be wanted."""
        self._aside = None

    def pop_due(self, until_ms: int) -> list[DueEntry]:
        """Remove and return what is due until then, in order."""
        due = []
        while self._heap and self._heap[0].due_ms <= until_ms:
            due.append(heapq.heappop(self._heap))
        return due

    def _shrink(self) -> None:
        self._heap = heapq.nsmallest(self._capacity, self._heap)  # sorted, hence a heap
        self._frontier = self._heap[-1][:2]
