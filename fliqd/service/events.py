"""Tells those who listen what happens, as it happens. While nobody does, nothing is collected."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from fliqd.clock import Clock
from fliqd.core.events import Event, News, Wanted
from fliqd.errors import UnavailableError
from fliqd.store.base import Store

RING: Final = 10_000  # events that are kept for those who come back
KEPT_S: Final = 300.0  # how long collecting goes on after the last reader has gone: it may come back
MOST_BEHIND: Final = 5_000  # events that a reader may be behind, beyond what it came back for
MOST_READERS: Final = 100

SLOW: Final = "slow"
SHUTTING_DOWN: Final = "shutting_down"


class Reader:
    """One who listens. `missed` says that events before the first one may be gone."""

    def __init__(self, wanted: Wanted, backlog: Sequence[Event], *, missed: bool) -> None:
        self.missed = missed
        self.ended: str | None = None  # why nothing more will come
        self._wanted = wanted
        self._waiting = deque(event for event in backlog if wanted.covers(event))
        self._most = len(self._waiting) + MOST_BEHIND
        self._changed = asyncio.Event()
        if self._waiting:
            self._changed.set()

    def offer(self, events: Sequence[Event]) -> None:
        """Let events wait for this reader; one that is too far behind is dropped."""
        self._waiting.extend(event for event in events if self._wanted.covers(event))
        if len(self._waiting) > self._most:
            self._waiting.clear()
            self.end(SLOW)
        elif self._waiting:
            self._changed.set()

    def end(self, reason: str) -> None:
        """Let nothing more come after what waits."""
        self.ended = self.ended or reason
        self._changed.set()

    async def take(self, most: int, timeout_s: float) -> list[Event]:
        """Return events that wait, or come within the time; none when it has passed, or when it has ended."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return []
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        if not self._waiting and self.ended is None:
            self._changed.clear()
        return taken


class Events:
    """Numbers what is committed and gives it to the readers; keeps the last of it for those who come back.

    It is kept in memory: `RING` events at most, none longer than `kept_ms`, none once nobody has listened for a while.
    """

    def __init__(self, store: Store, clock: Clock, new_ulid: Callable[[], str], *, kept_ms: int) -> None:
        self._store = store
        self._clock = clock
        self._new_ulid = new_ulid
        self._kept_ms = kept_ms
        self._ring: deque[Event] = deque()
        self._gone = ""  # the last event that the ring had no room for, or that grew too old
        self._readers: set[Reader] = set()
        self._stop: asyncio.TimerHandle | None = None
        self._closed = False
        self.dropped = 0

    @property
    def readers(self) -> int:
        """How many listen."""
        return len(self._readers)

    def check_room(self) -> None:
        """Raise UnavailableError where no more can listen."""
        if self._closed:
            raise UnavailableError("fliqd is shutting down", SHUTTING_DOWN)
        if len(self._readers) >= MOST_READERS:
            raise UnavailableError(f"{MOST_READERS} listen already, as many as may", "busy")

    @asynccontextmanager
    async def read(self, wanted: Wanted, *, after: str | None) -> AsyncIterator[Reader]:
        """Listen: to all that is committed from here on, and what has been told since the event `after`."""
        self.check_room()
        if self._stop is not None:
            self._stop.cancel()
            self._stop = None
        self._forget_old(self._clock.now_ms())
        known = [] if after is None else [event for event in self._ring if event.id > after]
        # By the id itself, not by its order: after a restart, and a clock that was set, that says nothing.
        told = after in (None, self._gone) or any(event.id == after for event in self._ring)
        reader = Reader(wanted, known, missed=not told)
        self._readers.add(reader)
        try:
            await self._store.tell_news(self._publish)
            yield reader
        finally:
            self._readers.discard(reader)
            if not self._readers and self._stop is None:
                self._stop = asyncio.get_running_loop().call_later(KEPT_S, self._stop_collecting)

    def close(self) -> None:
        """Have all readers end."""
        self._closed = True
        for reader in self._readers:
            reader.end(SHUTTING_DOWN)
        if self._stop is not None:
            self._stop.cancel()

    def _publish(self, news: Sequence[News]) -> None:
        now_ms = self._clock.now_ms()
        events = [Event(f"evt_{self._new_ulid()}", now_ms, one) for one in news]
        for event in events:
            if len(self._ring) >= RING:
                self._gone = self._ring.popleft().id
            self._ring.append(event)
        self._forget_old(now_ms)
        for reader in list(self._readers):
            if reader.ended is None:
                reader.offer(events)
                self.dropped += reader.ended == SLOW

    def _forget_old(self, now_ms: int) -> None:
        while self._ring and self._ring[0].at_ms < now_ms - self._kept_ms:
            self._gone = self._ring.popleft().id

    def _stop_collecting(self) -> None:
        self._stop = None
        self._store.stop_news()
        self._ring.clear()
        self._gone = ""
