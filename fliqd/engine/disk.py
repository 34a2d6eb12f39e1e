"""Notices that the store's disk runs full, while there is still time to do something, and that it is full."""

import os
from pathlib import Path
from typing import Final

from fliqd.core.messages import DISK, STORE
from fliqd.core.sizes import format_size
from fliqd.engine.alerts import Alerts

SHARE: Final = 20  # little is less than one part in so many of the disk
LITTLE: Final = 1024**3  # and less than so many bytes: of a large disk a small part is much
AGAIN: Final = 2  # so many times as much must be free before it is over, or what comes and goes would be told each time


class DiskWatch:
    """Looks when it is asked to; what it finds is told once as it begins, and once when it is over."""

    def __init__(self, store: Path, alerts: Alerts) -> None:
        self._place = store.parent
        self._alerts = alerts

    def look(self, blocked: str | None) -> None:
        """Look how much room there is; `blocked` is why the store takes no write, None while it does."""
        if blocked is None:
            self._alerts.clear(STORE, "disk")
        elif not self._alerts.is_open(STORE, "disk"):
            self._alerts.raise_(STORE, "disk", {"problem": blocked})
        try:
            free, size = room_at(self._place)
        except OSError:
            return  # what that means for the store, its writes will tell
        little = min(size // SHARE, LITTLE)
        if free >= AGAIN * little:
            self._alerts.clear(DISK, str(self._place))
        elif free < little and not self._alerts.is_open(DISK, str(self._place)):
            problem = f"{format_size(free)} of {format_size(size)} are free at {self._place}"
            self._alerts.raise_(DISK, str(self._place), {"problem": problem, "free_bytes": free, "size_bytes": size})


def room_at(place: Path) -> tuple[int, int]:
    """Return how many bytes are free for us on the disk that holds a folder, and how many it has for us in all."""
    stat = os.statvfs(place)
    used = stat.f_blocks - stat.f_bfree
    return stat.f_bavail * stat.f_frsize, (used + stat.f_bavail) * stat.f_frsize
