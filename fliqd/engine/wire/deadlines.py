"""The deadlines of all exchanges under way, kept by one timer."""

import asyncio
from math import inf
from operator import itemgetter
from typing import Final

from fliqd.engine.wire.connection import Connection
from fliqd.engine.wire.stopwatch import Monotonic

FROZEN_S: Final = 0.1  # a ring that comes later than this: the process was stopped, or had no CPU
SECOND_LOOK_S: Final = 0.1  # for answers that came meanwhile to be read


class Deadlines:
    """Expires a connection's exchange when its time has come.

    The timer is set for the earliest deadline of all and looks at each when it rings: most exchanges end long
    before, and setting a timer for every one of them costs more than parsing its answer.
    """

    def __init__(self, now: Monotonic) -> None:
        self._now = now
        self._at: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = inf

    @property
    def has_timer(self) -> bool:
        return self._timer is not None

    def set(self, connection: Connection, left_s: float) -> None:
        """Expire the exchange of `connection` in so many seconds."""
        at = self._at[connection] = self._now() + left_s
        if at < self._rings_at:
            self._arm(at)

    def clear(self, connection: Connection) -> None:
        """Forget a deadline: the exchange is over."""
        self._at.pop(connection, None)
        if not self._at and self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings_at = None, inf

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._now()), self._ring)

    def _ring(self) -> None:
        now = self._now()
        late_s = now - self._rings_at
        self._timer, self._rings_at = None, inf
        if late_s > FROZEN_S:
            self._arm(now + SECOND_LOOK_S)  # libuv rings before it reads, once a stopped process goes on
            return
        # In order: after a turn of the loop that took long, one ring finds many.
        for _, connection in sorted(((at, one) for one, at in self._at.items() if at <= now), key=itemgetter(0)):
            del self._at[connection]
            connection.expire()
        if self._at and (earliest := min(self._at.values())) < self._rings_at:
            self._arm(earliest)
