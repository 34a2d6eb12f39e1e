"""Notices that due jobs go on waiting for a slot: more is asked of the daemon, or of a host, than it can do."""

from collections.abc import Awaitable, Callable
from typing import Final

from fliqd.clock import Clock
from fliqd.core.due_heap import DueEntry
from fliqd.core.durations import format_duration
from fliqd.core.lanes import host_of
from fliqd.core.messages import LATE
from fliqd.core.times import format_time
from fliqd.engine.alerts import Alerts

LATE_MS: Final = 60_000
OVER_MS: Final = 10_000  # by so much may one be late when it is over: else what comes and goes would be told each time


class LatenessWatch:
    """Looks when it is asked to.

    What is told has lasted for a minute: after a start there may be much to catch up on, and a clock that was set
    makes late what was not, and both are over soon.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        alerts: Alerts,
        oldest: Callable[[], DueEntry | None],
        still_waits: Callable[[DueEntry], Awaitable[bool]],
    ) -> None:
        """Take `oldest`, which returns the job that is due for the longest and waits for nothing but a slot.

        It may have been cancelled or changed since, which `still_waits` tells.
        """
        self._clock = clock
        self._alerts = alerts
        self._oldest = oldest
        self._still_waits = still_waits
        self._since_ms: int | None = None

    async def look(self) -> None:
        """Look how late it is."""
        now_ms = self._clock.now_ms()
        oldest = self._oldest()
        late_ms = 0 if oldest is None else now_ms - oldest.due_ms
        if oldest is not None and late_ms >= OVER_MS and not await self._still_waits(oldest):
            return  # the next look will tell
        if oldest is None or late_ms < OVER_MS:
            self._since_ms = None
            self._alerts.clear(LATE, "jobs")
        elif late_ms < LATE_MS:
            self._since_ms = None
        else:
            self._since_ms = now_ms if self._since_ms is None else min(now_ms, self._since_ms)
            if now_ms - self._since_ms >= LATE_MS and not self._alerts.is_open(LATE, "jobs"):
                host, waits = host_of(oldest.lane), format_duration(late_ms // 1000 * 1000)
                problem = f"one to {host} has been due for {waits} and waits for a slot"
                facts = {"problem": problem, "host": host, "due_at": format_time(oldest.due_ms)}
                self._alerts.raise_(LATE, "jobs", {**facts, "late_seconds": late_ms // 1000})
