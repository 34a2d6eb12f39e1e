"""How long each phase of one request took."""

from collections.abc import Callable
from enum import Enum, auto

from fliqd.core.delivery import Timings

Monotonic = Callable[[], float]


class Phase(Enum):
    """What happens before a request leaves."""

    DNS = auto()
    CONNECT = auto()
    TLS = auto()


class Stopwatch:
    """Started with the request; each phase notes its own end.

    The loop's own clock is not used: uvloop's stands still within a turn and has whole milliseconds.
    """

    __slots__ = (
        "_lap_at", "_now", "_started_at", "connect_ms", "dns_ms", "first_byte_ms", "phase", "timeout_s",
        "tls_ms",
    )  # fmt: skip

    def __init__(self, now: Monotonic, timeout_s: float) -> None:
        self._now = now
        self._started_at = self._lap_at = now()
        self.timeout_s = timeout_s
        self.phase = Phase.DNS
        self.dns_ms: float | None = None
        self.connect_ms: float | None = None
        self.tls_ms: float | None = None
        self.first_byte_ms: float | None = None

    def lap(self) -> float:
        """Return the milliseconds since the phase before this one ended, and begin the next."""
        now = self._now()
        lap_ms = (now - self._lap_at) * 1000
        self._lap_at = now
        return lap_ms

    def left_s(self) -> float:
        """Return the seconds until the deadline; negative once it has passed."""
        return self._started_at + self.timeout_s - self._now()

    def timings(self) -> Timings:
        return Timings(
            dns_ms=self.dns_ms,
            connect_ms=self.connect_ms,
            tls_ms=self.tls_ms,
            first_byte_ms=self.first_byte_ms,
            total_ms=(self._now() - self._started_at) * 1000,
        )
