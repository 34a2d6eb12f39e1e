"""Decides when: one timer, armed for the head of a due window, be it of jobs or of schedules."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from fliqd.clock import Alarm, Clock
from fliqd.core.due_heap import DueEntry, DueHeap
from fliqd.errors import UnavailableError

log = structlog.get_logger()

LEAD_MS: Final = 25  # jobs are claimed this long ahead, so that the commit is over when they are due
SCHEDULES_LEAD_MS: Final = 150  # and made of their schedules that much ahead, which takes one more commit
PAGE: Final = 1_000
RETRY_AFTER_MS: Final = 1_000


class Source(Protocol):
    """A due index that is paged in: of jobs, or of schedules."""

    def on_due(self, listener: Callable[[Sequence[DueEntry]], None]) -> None:
        """Have `listener` told, after each commit, of what has come to wait for an instant."""

    async def due_page(self, *, start: tuple[int, int], limit: int) -> list[DueEntry]:
        """Return what waits from `start` (due_ms, pk) on, inclusive, in due order."""


class Scheduler:
    """Keeps the due window filled, and hands over what comes due. It wakes for that and nothing else."""

    def __init__(
        self, *, source: Source, clock: Clock, hand_over: Callable[[Sequence[DueEntry]], None], lead_ms: int = LEAD_MS
    ) -> None:
        self._source = source
        self._clock = clock
        self._hand_over = hand_over
        self._lead_ms = lead_ms
        self._heap = DueHeap()
        self._changed = asyncio.Event()
        self._alarm: Alarm | None = None
        self._armed_for: int | None = None
        source.on_due(self.offer)

    def offer(self, entries: Sequence[DueEntry]) -> None:
        """Take in what has just come to wait."""
        self._heap.offer(entries)
        head = self._heap.next_due_ms()
        if head is not None and (self._armed_for is None or head < self._armed_for):
            self._changed.set()

    def next_due_ms(self) -> int | None:
        """Return when the next one is due, None if none waits."""
        return self._heap.next_due_ms()

    def waiting(self) -> int:
        """Return how many the window holds."""
        return len(self._heap)

    async def run(self) -> None:
        """Hand over what is due, for ever."""
        while True:
            self._changed.clear()
            ready = self._heap.pop_due(self._clock.now_ms() + self._lead_ms)
            if ready:
                self._hand_over(ready)
            if self._heap.wants_page:
                await self._page()
                continue
            self._arm()
            await self._changed.wait()

    async def _page(self) -> None:
        due_ms, pk = self._heap.frontier
        self._heap.page_begins()
        try:
            entries = await self._source.due_page(start=(due_ms, pk + 1), limit=PAGE)
        except UnavailableError as err:
            self._heap.page_failed()
            log.warning("scheduler.page_failed", error=str(err))
            self._arm_for(self._clock.now_ms() + RETRY_AFTER_MS)
            await self._changed.wait()
            return
        self._heap.page_came(entries, complete=len(entries) < PAGE)

    def _arm(self) -> None:
        head = self._heap.next_due_ms()
        self._arm_for(None if head is None else head - self._lead_ms)

    def _arm_for(self, due_ms: int | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._armed_for = due_ms
        self._alarm = None if due_ms is None else self._clock.call_at(due_ms, self._changed.set)
