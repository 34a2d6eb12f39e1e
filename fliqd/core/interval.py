"""Slots at a fixed distance from an anchor: arithmetic on milliseconds since the epoch (UTC), nothing else.

The anchor is the first slot; there is none before it. It is stored with the schedule, so that restarts do not
move the slots.
"""


def next_after(anchor_ms: int, every_ms: int, after_ms: int) -> int:
    """Return the first slot strictly after `after_ms`. `every_ms` is at least 1, here and below."""
    if after_ms < anchor_ms:
        return anchor_ms
    return anchor_ms + ((after_ms - anchor_ms) // every_ms + 1) * every_ms


def latest(anchor_ms: int, every_ms: int, until_ms: int) -> int | None:
    """Return the last slot at or before `until_ms`, None before the anchor."""
    if until_ms < anchor_ms:
        return None
    return anchor_ms + (until_ms - anchor_ms) // every_ms * every_ms


def count_between(anchor_ms: int, every_ms: int, after_ms: int, until_ms: int) -> int:
    """Return how many slots there are with `after_ms < slot <= until_ms`."""
    return max(0, _count_until(anchor_ms, every_ms, until_ms) - _count_until(anchor_ms, every_ms, after_ms))


def _count_until(anchor_ms: int, every_ms: int, until_ms: int) -> int:
    return max(0, (until_ms - anchor_ms) // every_ms + 1)
