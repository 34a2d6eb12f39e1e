"""When to try again: arithmetic on attempt numbers and a target's own wish, nothing else."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import msgspec

LONGEST_WAIT_S: Final = 86_400.0
_DELTA: Final = re.compile(r"\d{1,4000}", re.ASCII)


class BackoffKind(StrEnum):
    """How the waits grow."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIXED = "fixed"
    TABLE = "table"


class Backoff(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The wait before each retry. Unset parts take the kind's own: see `wait_s`.

    `exponential` and `linear` with nothing else are those of Fliq (its retry page): 30 s doubling up to
    one hour, spread by a quarter either way; and 30 s more each time, not spread.
    """

    kind: BackoffKind = BackoffKind.EXPONENTIAL
    initial_s: float = 30.0
    max_s: float | None = None
    jitter: float | None = None  # 0 to 1: the wait is spread evenly by this share of it either way
    delays_s: tuple[float, ...] = ()  # `table` alone: one a retry, the last one repeats

    def wait_s(self, retry: int, spread: float) -> float:
        """Return the seconds to wait before `retry` (the first is 1), from 0 to 24 hours.

        `spread` in [0, 1) picks the point within the jitter, so that jobs which failed together
        come back apart.
        """
        match self.kind:
            case BackoffKind.EXPONENTIAL:
                # Clamp the power and not only the product: 2.0 ** 1024 overflows before min() sees it.
                wait, cap, jitter = self.initial_s * 2.0 ** min(retry - 1, 63), 3600.0, 0.25
            case BackoffKind.LINEAR:
                wait, cap, jitter = self.initial_s * retry, LONGEST_WAIT_S, 0.0
            case BackoffKind.FIXED:
                wait, cap, jitter = self.initial_s, LONGEST_WAIT_S, 0.0
            case _:
                wait, cap, jitter = self.delays_s[min(retry, len(self.delays_s)) - 1], LONGEST_WAIT_S, 0.0
        wait = min(wait, cap if self.max_s is None else self.max_s)
        jitter = jitter if self.jitter is None else self.jitter
        return min(wait * (1 + jitter * (2 * spread - 1)), LONGEST_WAIT_S)


def retry_after_s(value: str, now_ms: int) -> float | None:
    """Return the seconds a `Retry-After` header asks for (RFC 9110, 10.2.3), capped at 24 hours.

    Seconds or a date; a date in the past is 0; None when it is neither.
    """
    value = value.strip()
    if _DELTA.fullmatch(value):
        return min(float(value), LONGEST_WAIT_S)
    try:
        when = parsedate_to_datetime(value)
        moment = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        wait = (moment - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds()
    except (ValueError, OverflowError, TypeError):
        return None
    return min(max(wait, 0.0), LONGEST_WAIT_S)
