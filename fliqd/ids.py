"""Public ids: a prefix that says what it is, and a lower-case ULID that sorts by birth."""

import re
from collections.abc import Callable
from itertools import count
from threading import Lock
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, as the ULID spec has it
_PAIRS: Final = [high + low for high in ALPHABET for low in ALPHABET]
_ULID: Final = r"[0-7][0-9a-hjkmnp-tv-z]{25}"
_RANDOM_BITS: Final = 80
_ROOM_BITS: Final = 8  # the top random bits start at 0, so that counting up cannot spill into the time


class UlidSource:
    """Makes ULIDs (github.com/ulid/spec) that never repeat and only grow, even when the clock steps back.

    Within a millisecond, and while the clock stands behind the last one, the random part counts up
    by a random step: still unique between machines, still in order within one.
    """

    def __init__(self, now_ms: Callable[[], int], random_bits: Callable[[int], int]) -> None:
        self._now_ms = now_ms
        self._bits = random_bits
        self._last_ms = -1
        self._tail = 0
        self._head = (-1, "")  # all but the last 40 bits of the last one, as a number and written
        self._lock = Lock()  # jobs of schedules are made in a thread of their own

    def __call__(self) -> str:
        with self._lock:
            now = self._now_ms()
            if now > self._last_ms:
                self._last_ms = now
                self._tail = self._bits(_RANDOM_BITS - _ROOM_BITS)
            else:
                self._tail += 1 + self._bits(32)
                if self._tail >> _RANDOM_BITS:
                    self._last_ms += 1
                    self._tail = self._bits(_RANDOM_BITS - _ROOM_BITS)
            value = self._last_ms << _RANDOM_BITS | self._tail
            high, low = value >> 40, value & 0xFF_FFFF_FFFF
            if high != self._head[0]:
                self._head = (high, encode_ulid(value)[:-8])
            head = self._head[1]
        return f"{head}{_PAIRS[low >> 30]}{_PAIRS[low >> 20 & 1023]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"


def encode_ulid(value: int) -> str:
    """Write 128 bits as the 26 characters of a ULID, lower case."""
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def request_ids(prefix: str) -> Callable[[], str]:
    """Return a source of ids for requests: unique while the process lives, and with `prefix` beyond; quick to make."""
    numbers = count(1)
    return lambda: f"req_{prefix}{next(numbers):08x}"


def id_pattern(*prefixes: str) -> re.Pattern[str]:
    """Return what the ids with one of these prefixes look like, for a check before any look-up."""
    return re.compile(rf"(?:{'|'.join(prefixes)})_{_ULID}", re.ASCII)
