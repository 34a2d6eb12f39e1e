"""A token bucket: how long a request has to wait so that no more than so many leave in a second.

It holds as many tokens as leave in a second, one at least, and fills evenly. A request that finds none borrows
one and waits until it would have come, so the level may be below zero.
"""

import math
from typing import NamedTuple


class Bucket(NamedTuple):
    """A level of tokens at an instant (milliseconds)."""

    tokens: float
    at_ms: int


def spend(bucket: Bucket, rate: float, now_ms: int) -> tuple[Bucket, int]:
    """Take a token; return the bucket and the instant at which the request may leave, now or later.

    `rate` is tokens a second, above 0. A clock that was set back costs no token and gives none.
    """
    level = filled(bucket, rate, now_ms) - 1
    wait_ms = 0 if level >= 0 else math.ceil(-level / rate * 1000)
    return Bucket(level, now_ms), now_ms + wait_ms


def out_of_range(rate: float, slowest: float, fastest: int) -> str:
    """Say that a rate is none: JSON knows whole numbers that are larger than any float."""
    got = f"{rate:g}" if isinstance(rate, float) or abs(rate) < 10**9 else "a number of many digits"
    return f"got {got}, expected {slowest:g} to {fastest} requests a second"


def filled(bucket: Bucket, rate: float, now_ms: int) -> float:
    """Return the level at `now_ms`."""
    return min(max(1.0, rate), bucket.tokens + max(0, now_ms - bucket.at_ms) * rate / 1000)
