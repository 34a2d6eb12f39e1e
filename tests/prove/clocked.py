"""fliqd by a clock that can be set: `CLOCK_FILE=FILE python -m tests.prove.clocked serve`.

The file holds by how many milliseconds its wall time is ahead of the machine's, as eight bytes. A SIGUSR1 has it look,
as the kernel's timer does when the real clock is set. All else is the program's own, the notice of steps included.
"""

import asyncio
import mmap
import os
import signal
import struct
import time
from pathlib import Path
from typing import Final

from fliqd import __main__ as program
from fliqd import clock, daemon

FORMAT: Final = struct.Struct("=q")


class OffsetTime:
    """The time module, as far as the clock asks it, with another wall time."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME
    monotonic = staticmethod(time.monotonic)
    clock_gettime_ns = staticmethod(time.clock_gettime_ns)

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._offset = mmap.mmap(opened.fileno(), FORMAT.size)

    def time_ns(self) -> int:
        return time.time_ns() + int(FORMAT.unpack(self._offset[:])[0]) * 1_000_000

    def time(self) -> float:
        return self.time_ns() / 1e9


class SetClock(clock.SystemClock):
    """The system's clock, told by a signal that it was set."""

    def __init__(self) -> None:
        super().__init__()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.look)


def main() -> None:
    """Set the clock, then be fliqd."""
    set_to = OffsetTime(Path(os.environ.pop("CLOCK_FILE")))
    for module, name, thing in (
        (clock, "time", set_to),
        (clock, "open_wall_timer", lambda: None),
        (daemon, "SystemClock", SetClock),
    ):
        setattr(module, name, thing)
    program.main()


if __name__ == "__main__":
    main()
