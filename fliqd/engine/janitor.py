"""Makes room: old notes of missed runs go, and the oldest finished jobs, by age, number and size; live ones never."""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from fliqd.clock import Clock
from fliqd.core.messages import STORE
from fliqd.core.rollups import HOUR_MS
from fliqd.engine.alerts import Alerts
from fliqd.errors import UnavailableError
from fliqd.store.base import Store

log = structlog.get_logger()

BATCH: Final = 100  # jobs a transaction: a create may have to wait for it
PAUSE_S: Final = 0.02  # between two, so that others come in
EVERY_MS: Final = 60_000  # how often number and size are looked at while things change
ROOM: Final = 0.9  # of the size that is allowed; what sweeping by size leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished jobs are kept, how many of them, and how large the store may be."""

    finished_ms: int
    max_finished: int
    max_bytes: int


class Janitor:
    """Sweeps when there is reason to; asked now and then (`look`), it does nothing by itself."""

    def __init__(self, *, store: Store, clock: Clock, retention: Retention, alerts: Alerts) -> None:
        self._alerts = alerts
        self._store = store
        self._clock = clock
        self._retention = retention
        self._due = asyncio.Event()
        self._seen_changes = -1
        self._last_ms = 0
        self._next_by_age_ms: int | None = None
        self._next_expiry_ms: int | None = None  # of a job that somebody has to approve

    def look(self) -> None:
        """Start a sweep if one is due: something has grown old, or much may have changed."""
        now_ms = self._clock.now_ms()
        old = any(due_ms is not None and now_ms >= due_ms for due_ms in (self._next_by_age_ms, self._next_expiry_ms))
        changed = self._store.changes != self._seen_changes and abs(now_ms - self._last_ms) >= EVERY_MS
        if old or changed or self._store.blocked is not None:
            self._due.set()

    async def run(self) -> None:
        """Sweep whenever `look` finds it due, for ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.sweep()
            except UnavailableError as err:
                log.warning("janitor.waits", error=str(err))

    async def sweep(self) -> int:
        """Delete what is beyond the limits; return how many jobs that were."""
        now_ms = self._last_ms = self._clock.now_ms()
        await self._expire_unapproved(now_ms)
        deleted = await self._delete_before(now_ms - self._retention.finished_ms)
        beyond = await self._store.nth_newest_finish_ms(self._retention.max_finished)
        if beyond is not None:
            deleted += await self._delete_before(beyond + 1)
        while await self._store.used_bytes() > self._retention.max_bytes * ROOM:
            count = await self._store.delete_finished(before_ms=None, limit=BATCH)
            forgotten = count or await self._store.schedules.forget(before_ms=now_ms, limit=BATCH)
            if not forgotten:
                used, allowed = await self._store.used_bytes(), self._retention.max_bytes
                log.warning("janitor.no_room", used=used, allowed=allowed)
                problem = (
                    f"{used} of the {allowed} bytes that retention.max_db_size allows hold jobs that have not ended"
                )
                self._alerts.raise_(STORE, "retention.max_db_size", {"problem": problem, "used": used})
                break
            deleted += count
            await asyncio.sleep(PAUSE_S)
        else:
            self._alerts.clear(STORE, "retention.max_db_size")
        if deleted:
            log.info("janitor.swept", jobs=deleted, db_bytes=self._store.size_bytes())
        await self._forget_before(now_ms - self._retention.finished_ms)
        await self._tidy(now_ms)
        await self._finish_deletions()
        await self._give_back()
        oldest_ms = await self._store.oldest_finish_ms()
        self._next_by_age_ms = None if oldest_ms is None else oldest_ms + self._retention.finished_ms
        self._seen_changes = self._store.changes
        return deleted

    async def _tidy(self, now_ms: int) -> None:
        """Make days of old hours of the statistics, and delete those that are too old."""
        untidy = True
        while untidy:
            if untidy := await self._store.rollups.tidy(now_ms // HOUR_MS):
                await asyncio.sleep(PAUSE_S)

    async def _expire_unapproved(self, now_ms: int) -> None:
        """Fail jobs that nobody has approved in time."""
        full = True
        while full:
            full = await self._store.expire_unapproved(now_ms=now_ms, limit=BATCH) == BATCH
            await asyncio.sleep(PAUSE_S if full else 0)
        self._next_expiry_ms = await self._store.first_unapproved_expiry_ms()

    async def _give_back(self) -> None:
        """Give what is free now back to the disk."""
        more = True
        while more:
            if more := await self._store.give_back():
                await asyncio.sleep(PAUSE_S)

    async def _delete_before(self, before_ms: int) -> int:
        deleted = 0
        while count := await self._store.delete_finished(before_ms=before_ms, limit=BATCH):
            deleted += count
            await asyncio.sleep(PAUSE_S)
        return deleted

    async def _finish_deletions(self) -> None:
        """Delete what is left of buffers whose deletion was cut off."""
        for buffer_id in await self._store.buffers.deleted():
            rest = True
            while rest:
                rest = await self._store.buffers.delete_items(buffer_id)
                await asyncio.sleep(PAUSE_S)

    async def _forget_before(self, before_ms: int) -> None:
        """Delete notes of missed runs, deleted schedules of which nothing is left, and what has been told."""
        for forget in (self._store.schedules.forget, self._store.outbox.forget):
            while (count := await forget(before_ms=before_ms, limit=BATCH)) == BATCH:
                log.debug("janitor.forgot", rows=count)
                await asyncio.sleep(PAUSE_S)
