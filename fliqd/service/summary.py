"""The daemon in a few numbers, for dashboards that ask every few seconds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from fliqd.clock import Clock
from fliqd.core.times import maybe_time
from fliqd.store.base import Counts, Store

T = TypeVar("T")
DAY_MS: Final = 86_400_000
SHARE: Final = 50  # counting takes at most one part in so many of a thread's time, however often it is asked for
QUICK_S: Final = 0.005  # a count that takes no longer is made each time


class Counted(Generic[T]):
    """What is counted no more often than is cheap: those who ask together, or soon after, get the same count."""

    def __init__(self, count: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._count = count
        self._clock = clock
        self._last: T | None = None
        self._good_until = 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        """Return the count, of now or of not long ago."""
        async with self._lock:
            begun = self._clock.monotonic()
            if self._last is None or begun >= self._good_until:
                self._last = await self._count()
                ended = self._clock.monotonic()
                took = ended - begun
                self._good_until = ended + (took * SHARE if took > QUICK_S else 0.0)
            return self._last


def last_day(store: Store, clock: Clock) -> Counted[Counts]:
    """Return the count of where jobs and items stand, and of what ended within 24 hours."""
    return Counted(lambda: store.counts(since_ms=clock.now_ms() - DAY_MS), clock)


def summarise(status: Mapping[str, Any], counts: Counts, *, now_ms: int, next_run_ms: int | None) -> dict[str, Any]:
    """Return the summary: one level deep, numbers and short texts only.

    `next_run_ms` is when the next run of a schedule is due, for which no job waits yet.
    """
    waiting_ms = counts.first_due_ms
    due_ms = min((at_ms for at_ms in (waiting_ms, next_run_ms) if at_ms is not None), default=None)
    return {
        "status": status["status"],
        "problem": status["problem"] or "",
        "version": status["version"],
        "uptime_seconds": status["uptime_seconds"],
        "jobs_waiting": counts.waiting,
        "jobs_awaiting_approval": counts.awaiting_approval,
        "jobs_running": counts.running,
        "jobs_finished_24h": counts.finished,
        "jobs_failed_24h": counts.failed,
        "items_waiting": counts.items_waiting,
        "items_running": counts.items_running,
        "items_failed_24h": counts.items_failed,
        "next_due_at": maybe_time(due_ms),
        "next_due_in_seconds": None if due_ms is None else max(0, due_ms - now_ms) // 1000,
        "late_seconds": 0 if waiting_ms is None else max(0, now_ms - waiting_ms) // 1000,
        "db_bytes": status["store"]["bytes"],
    }
