"""Decides when: one timer, armed for the head of the due window."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from fliqd.clock import Alarm, Clock
from fliqd.core.due_heap import DueEntry, DueHeap
from fliqd.errors import UnavailableError
from fliqd.store.base import Store

log = structlog.get_logger()

LEAD_MS: Final = 25  # jobs are claimed this long ahead, so that the commit is over when they are due
PAGE: Final = 1_000
RETRY_AFTER_MS: Final = 1_000


class Scheduler:
    """Keeps the due window filled, and hands over what comes due. It wakes for that and nothing else."""

    def __init__(self, *, store: Store, clock: Clock, hand_over: Callable[[Sequence[DueEntry]], None]) -> None:
        self._store = store
        self._clock = clock
        self._hand_over = hand_over
        self._heap = DueHeap()
        self._changed = asyncio.Event()
        self._alarm: Alarm | None = None
        self._armed_for: int | None = None
        store.on_due(self.offer)

    def offer(self, entries: Sequence[DueEntry]) -> None:
        """Take in jobs that have just come to wait."""
        self._heap.offer(entries)
        head = self._heap.next_due_ms()
        if head is not None and (self._armed_for is None or head < self._armed_for):
            self._changed.set()

    def next_due_ms(self) -> int | None:
        """Return when the next job is due, None if none waits."""
        return self._heap.next_due_ms()

    def waiting(self) -> int:
        """Return how many jobs the window holds."""
        return len(self._heap)

    async def run(self) -> None:
        """Hand over what is due, for ever."""
        while True:
            self._changed.clear()
            ready = self._heap.pop_due(self._clock.now_ms() + LEAD_MS)
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
            entries = await self._store.due_page(start=(due_ms, pk + 1), until_ms=None, lane=None, limit=PAGE)
        except UnavailableError as err:
            self._heap.page_failed()
            log.warning("scheduler.page_failed", error=str(err))
            self._arm_for(self._clock.now_ms() + RETRY_AFTER_MS)
            await self._changed.wait()
            return
        self._heap.page_came(entries, complete=len(entries) < PAGE)

    def _arm(self) -> None:
        head = self._heap.next_due_ms()
        self._arm_for(None if head is None else head - LEAD_MS)

    def _arm_for(self, due_ms: int | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._armed_for = due_ms
        self._alarm = None if due_ms is None else self._clock.call_at(due_ms, self._changed.set)
