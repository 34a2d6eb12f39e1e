"""Where time comes from."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

LONGEST_SLEEP_S: Final = 5.0  # wall time jumps (NTP, a laptop that slept), so one long sleep would trust it too far


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


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def call_at(self, due_ms: int, callback: Callable[[], None]) -> Alarm:
        return _WallAlarm(self, due_ms, callback)


class _WallAlarm:
    """A timer of the loop that looks at the wall clock each time it rings, and goes back to sleep if it is early."""

    def __init__(self, clock: SystemClock, due_ms: int, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._due_ms = due_ms
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(self._wait_s(), self._rings)

    def cancel(self) -> None:
        self._handle.cancel()

    def _wait_s(self) -> float:
        return min(max(0.0, self._due_ms / 1000 - time.time()), LONGEST_SLEEP_S)

    def _rings(self) -> None:
        if self._clock.now_ms() >= self._due_ms:
            self._callback()
        else:
            self._handle = self._loop.call_later(self._wait_s(), self._rings)


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
