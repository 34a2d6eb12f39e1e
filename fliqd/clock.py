"""Where time comes from."""

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

from fliqd.timerfd import WallTimer, open_wall_timer

NEAR_S: Final = 5.0  # a wait no longer than this is trusted to the loop's own timers
STEP_MS: Final = 500  # a smaller jump of wall time is called drift


class Alarm(Protocol):
    """Something that will happen unless it is cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where time comes from: SystemClock in the daemon, a fake one in tests."""

    def now_ms(self) -> int:
        """Wall time in milliseconds since the epoch, UTC: for what is stored, shown or compared with a due time."""

    def monotonic(self) -> float:
        """Seconds that never run backwards: for timeouts and measured durations only."""

    def call_at(self, due_ms: int, callback: Callable[[], None]) -> Alarm:
        """Call back when wall time has reached `due_ms`, not before; from the loop, never from inside this call."""

    def on_step(self, listener: Callable[[int], None]) -> None:
        """Have `listener` told when the clock is set: by how many milliseconds, negative when it was set back."""


class SystemClock:
    """The machine's clock, which is set now and then: by NTP, by hand, after a suspend.

    Two things ring the alarms. A kernel timer on wall time, which counts through a suspend and tells when
    the clock is set; and for the last seconds of a wait, or for all of it in steps of `NEAR_S` where
    there is no such timer, the loop's own.
    """

    def __init__(self) -> None:
        self._alarms: list[tuple[int, int, _Alarm]] = []
        self._order = count()
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._armed_ms: int | None = None
        self._listeners: list[Callable[[int], None]] = []
        self._offset_ms = _wall_ahead_ms()
        self._kernel: WallTimer | None = open_wall_timer()
        if self._kernel is not None:
            self._loop.add_reader(self._kernel.fd, self._kernel_rings)

    def close(self) -> None:
        """Let go of the timers; no alarm rings any more."""
        self._alarms.clear()
        if self._handle is not None:
            self._handle.cancel()
        if self._kernel is not None:
            self._loop.remove_reader(self._kernel.fd)
            self._kernel.close()
            self._kernel = None

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def call_at(self, due_ms: int, callback: Callable[[], None]) -> Alarm:
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (due_ms, next(self._order), alarm))
        if self._armed_ms is None or due_ms < self._armed_ms:
            self._arm()
        return alarm

    def on_step(self, listener: Callable[[int], None]) -> None:
        self._listeners.append(listener)

    def look(self) -> None:
        """Notice a step of the clock, and ring what is due; called by the timers, and now and then in between."""
        offset_ms = _wall_ahead_ms()
        step_ms = offset_ms - self._offset_ms
        if abs(step_ms) >= STEP_MS:
            self._offset_ms = offset_ms
            for listener in self._listeners:
                listener(step_ms)
        now_ms = self.now_ms()
        while self._alarms and (self._alarms[0][0] <= now_ms or self._alarms[0][2].callback is None):
            heapq.heappop(self._alarms)[2].ring()
        self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_ms = self._alarms[0][0] if self._alarms else None
        if self._kernel is not None:
            self._kernel.arm(self._armed_ms)
        if self._armed_ms is None:
            return
        wait_s = max(0.0, self._armed_ms / 1000 - time.time())
        if wait_s <= NEAR_S or self._kernel is None:
            self._handle = self._loop.call_later(min(wait_s, NEAR_S), self.look)

    def _kernel_rings(self) -> None:
        if self._kernel is not None:
            self._kernel.acknowledge()
            self.look()


class _Alarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def ring(self) -> None:
        if self.callback is not None:
            self.callback()


def _wall_ahead_ms() -> int:
    """Return how far wall time is ahead of the time since boot, suspends included: it changes when the clock is set."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000


async def sleep_until(clock: Clock, due_ms: int) -> None:
    """Return when wall time has reached `due_ms`."""
    if clock.now_ms() >= due_ms:
        return
    reached = asyncio.Event()
    alarm = clock.call_at(due_ms, reached.set)
    try:
        await reached.wait()
    finally:
        alarm.cancel()
