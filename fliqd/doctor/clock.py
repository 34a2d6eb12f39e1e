"""Whether this machine's clock can be trusted: a scheduler is only as right as that."""

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fliqd import RELEASED_MS
from fliqd.core.times import format_time
from fliqd.doctor.finding import Finding, Subject, note, ok, warning, wrong
from fliqd.timerfd import open_wall_timer

TIME_ERROR: Final = 5  # adjtimex(2): not synchronised
TIMEX_BYTES: Final = 208  # of struct timex; all of it is only read, at the start of which `modes` is 0
SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")


def clock(_subject: Subject) -> Iterator[Finding]:
    now_ms = time.time_ns() // 1_000_000
    if now_ms < RELEASED_MS:
        yield wrong(
            "clock",
            f"it says {format_time(now_ms)}, before this fliqd was made; until it is set, no job is taken",
            "set it, and have NTP keep it: systemctl enable --now systemd-timesyncd, or chrony",
        )
        return
    state = synchronised()
    if state is None:
        yield note("clock", "whether it is kept by NTP cannot be asked here", "see `timedatectl` on the host")
    elif state:
        yield ok("clock", "set, and kept by NTP")
    else:
        yield warning(
            "clock",
            "the kernel does not count it as synchronised: jobs leave by it, however wrong it is",
            "have NTP keep it: systemctl enable --now systemd-timesyncd, or chrony; then see `timedatectl`",
        )
    timer = open_wall_timer()
    if timer is None:
        yield note("timer", "this system has no timerfd: a clock that is set is noticed within 5 s, not at once")
    else:
        timer.close()


def synchronised() -> bool | None:
    """Ask the kernel; None where it does not say."""
    if SYNCHRONISED.exists():
        return True
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR
