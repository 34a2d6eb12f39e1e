"""What executions came to: sums over the last days, in all, by the day and by the hour."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from fliqd.clock import Clock
from fliqd.core.rollups import DAY_HOURS, HOUR_MS, HOURS_KEPT, OTHERS, Scope, Summary, Sums, summarize
from fliqd.store.base import Store

MOST_DAYS: Final = 365
MOST_DAYS_BY_HOUR: Final = HOURS_KEPT // DAY_HOURS - 1  # of the eighth only a part may be there by the hour

EVER: Final = 1 << 40  # hours: one bucket for all


class Of(NamedTuple):
    """Whose executions: all jobs', or those of a schedule, a queue or a host."""

    scope: Scope = Scope.JOBS
    keys: Sequence[str] = (OTHERS,)


EVERYONE: Final = Of()


class Usage(NamedTuple):
    """How many executions there were, by UTC day, given by its first hour; days without any are left out."""

    jobs: dict[int, int]
    buffers: dict[int, int]


class Stats:
    """Reads the rollups of the store. A window begins with a full hour, or day where hours are no longer told apart."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._rollups = store.rollups
        self._clock = clock

    async def jobs(self, days: int, of: Of = EVERYONE) -> tuple[Summary, bool]:
        """Return what executions came to in the last `days`, and whether that is surely all of them."""
        from_hour = self._from_hour(days)
        found = await self._rollups.sums(of.scope, of.keys, from_hour=from_hour, hours=EVER)
        return summarize(sums for _, sums in found), await self._complete(of, from_hour)

    async def usage(self, days: int, of: Of = EVERYONE) -> Usage:
        """Return how many there were on each day."""
        from_hour = self._from_hour(days)
        jobs = await self._rollups.counts(of.scope, of.keys, from_hour=from_hour, hours=DAY_HOURS)
        buffers = {}
        if of.scope is Scope.JOBS:
            buffers = await self._rollups.counts(Scope.BUFFERS, (OTHERS,), from_hour=from_hour, hours=DAY_HOURS)
        return Usage(jobs, buffers)

    async def timeline(self, days: int, hours: int, of: Of = EVERYONE) -> tuple[list[tuple[int, Summary]], bool]:
        """Return the same as `jobs` for each bucket of so many hours, by the instant it begins; empty ones too."""
        from_hour = self._from_hour(days) // hours * hours
        found: dict[int, list[Sums]] = {}
        for bucket, sums in await self._rollups.sums(of.scope, of.keys, from_hour=from_hour, hours=hours):
            found.setdefault(bucket, []).append(sums)
        buckets = range(from_hour, self._clock.now_ms() // HOUR_MS + 1, hours)
        shown = [(bucket * HOUR_MS, summarize(found.get(bucket, ()))) for bucket in buckets]
        return shown, await self._complete(of, from_hour)

    async def _complete(self, of: Of, from_hour: int) -> bool:
        return of.scope is Scope.JOBS or not await self._rollups.lumped(of.scope, from_hour=from_hour)

    def _from_hour(self, days: int) -> int:
        now_hour = self._clock.now_ms() // HOUR_MS
        from_hour = now_hour - days * DAY_HOURS
        return from_hour if days <= MOST_DAYS_BY_HOUR else from_hour // DAY_HOURS * DAY_HOURS
