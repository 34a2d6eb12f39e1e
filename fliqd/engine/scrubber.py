"""Has all of the store read now and then, so that damage is found before a job is missed for it.

A daemon reads what it needs. A page that the disk has changed, or that a copy has put elsewhere, would be met when
something needs it, and some damage never is: an index whose order is wrong hides what is due without any error.
"""

import asyncio
from typing import Final

import structlog

from fliqd.clock import Clock
from fliqd.errors import StoreIOError, StoreUnusableError, UnavailableError
from fliqd.store.base import Store

log = structlog.get_logger()

EVERY_S: Final = 24 * 3600
AGAIN_S: Final = 600  # after one that could not be made


class Scrubber:
    """Has the store checked at the start and once a day; `checked_ms` is when all of it was found whole."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.checked_ms: int | None = None

    async def run(self) -> None:
        """Check for as long as the store is whole."""
        while True:
            began = self._clock.monotonic()
            try:
                await self._store.check()
            except UnavailableError as err:
                log.warning("store.not_checked", error=str(err), again_in_s=AGAIN_S)
                await asyncio.sleep(AGAIN_S)
            except (StoreIOError, StoreUnusableError):
                return  # which ends the process, with what was found
            else:
                self.checked_ms = self._clock.now_ms()
                took_s = round(self._clock.monotonic() - began, 3)
                log.info("store.checked", seconds=took_s, db_bytes=self._store.size_bytes())
                await asyncio.sleep(EVERY_S)
