"""Ends a process that is half alive: a loop that does not turn, or a store that does not answer."""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

BEAT_S: Final = 5.0
PATIENCE_S: Final = 60.0
LOOKS: Final = 12  # in a time of patience
SAYING_S: Final = 5  # what the end may take to be told: a full pipe would keep the process alive


async def watch(
    alive: Callable[[], Awaitable[None]],
    *,
    within_s: float | None = None,
    beat_s: float = BEAT_S,
    patience_s: float = PATIENCE_S,
) -> NoReturn:
    """Prove life again and again; when that fails for `patience_s`, the process ends, and shows where it stood.

    `within_s` is how often somebody else wants it proven; a third of it leaves room for a slow disk. Only time in
    which the process runs is counted: not while it is stopped, its container paused or its machine suspended.
    """
    if within_s is not None:
        beat_s = min(beat_s, within_s / 3)
    guard = _Guard(patience_s)
    guard.start()
    try:
        while True:
            await alive()
            guard.silent = 0
            await asyncio.sleep(beat_s)
    finally:
        guard.stop()


class _Guard(threading.Thread):
    """Counts its own turns since the last proof of life, and ends the process with code 1 when they are too many.

    No clock tells how long a process has run: each of them also counts while it is frozen, and rings at once when
    that is over. A turn is at most one, however long the process was frozen in it.

    A thread that keeps the interpreter's lock to itself keeps this one from its turns, so each turn arms a timer
    on the CPU time of the process: SIGPROF shows where all threads stand and ends it, whatever they do. What is
    frozen uses no CPU.
    """

    def __init__(self, patience_s: float) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.silent = 0
        self._patience_s = patience_s
        self._over = threading.Event()
        self._said = (sys.__stderr__ or sys.stderr).fileno()

    def start(self) -> None:
        faulthandler.register(signal.SIGPROF, file=self._said, chain=True)
        self._arm()  # at once: the first turn may never come
        super().start()

    def stop(self) -> None:
        self._over.set()
        self.join()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)

    def run(self) -> None:
        while not self._over.wait(self._patience_s / LOOKS):
            self._arm()
            self.silent += 1
            if self.silent > LOOKS:
                self._end()

    def _arm(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, self._patience_s)

    def _end(self) -> NoReturn:
        signal.alarm(SAYING_S)
        told = f"fliqd: loop or store have not answered for {self._patience_s:g} s; where each thread stands:\n"
        os.write(self._said, told.encode())
        faulthandler.dump_traceback(self._said)
        os._exit(1)
