"""A kernel timer on wall time that also tells when the clock is set (Linux, timerfd_create(2))."""

import contextlib
import ctypes
import os
import sys
import time
from typing import Final, Protocol

TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2
NEVER_MS: Final = 1 << 43  # the year 2248: armed all the same, to be told when the clock is set


class WallTimer(Protocol):
    """Readable when its time has come, or when the clock was set."""

    fd: int

    def arm(self, due_ms: int | None) -> None: ...
    def acknowledge(self) -> None: ...
    def close(self) -> None: ...


class _TimerFd:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def arm(self, due_ms: int | None) -> None:
        """Ring at `due_ms` of wall time, at once if that has passed; None: only when the clock is set."""
        _settime(self.fd, max(1, NEVER_MS if due_ms is None else due_ms))

    def acknowledge(self) -> None:
        """Take note of a ring; ECANCELED (the clock was set) and EAGAIN need no more than that."""
        with contextlib.suppress(OSError):
            os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)


def open_wall_timer() -> WallTimer | None:
    """Return a timer, None where the system has none."""
    try:
        timer = _TimerFd(_create())
        timer.arm(None)
    except (OSError, AttributeError):
        return None
    return timer


if sys.version_info >= (3, 13):

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _settime(fd: int, due_ms: int) -> None:
        os.timerfd_settime_ns(fd, flags=TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, initial=due_ms * 1_000_000)

else:

    class _Timespec(ctypes.Structure):
        _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))

    class _Itimerspec(ctypes.Structure):
        _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))

    _libc: Final = ctypes.CDLL(None, use_errno=True)

    def _create() -> int:
        return _checked(_libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))

    def _settime(fd: int, due_ms: int) -> None:
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(due_ms // 1000, due_ms % 1000 * 1_000_000))
        flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
        _checked(_libc.timerfd_settime(fd, flags, ctypes.byref(spec), None))

    def _checked(result: int) -> int:
        if result < 0:
            err = ctypes.get_errno()
            raise OSError(err, os.strerror(err))
        return result
