"""Whether the machine has anything else to do, which the load average tells a minute late."""

import time
from pathlib import Path

LOOK_S = 2.0
QUIET = 0.15


def wait(at_most_s: float) -> float:
    """Wait until the processors are quiet, or so long; return which share of them others used in the end."""
    end = time.monotonic() + at_most_s
    while (busy := _busy(LOOK_S)) > QUIET and time.monotonic() < end:
        pass
    return busy


def _busy(seconds: float) -> float:
    """Return the share of all processors that was not idle in these seconds."""
    before = _times()
    time.sleep(seconds)
    spent = [after - first for after, first in zip(_times(), before, strict=True)]
    return 1 - (spent[3] + spent[4]) / (sum(spent) or 1)  # idle and waiting for a disk


def _times() -> list[int]:
    return [int(ticks) for ticks in Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:9]]
