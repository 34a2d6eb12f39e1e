"""Ends a process that is half alive: a loop that does not turn, or a store that does not answer."""

import asyncio
import faulthandler
import sys
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

BEAT_S: Final = 5.0
PATIENCE_S: Final = 60.0


async def watch(
    alive: Callable[[], Awaitable[None]],
    *,
    within_s: float | None = None,
    beat_s: float = BEAT_S,
    patience_s: float = PATIENCE_S,
) -> NoReturn:
    """Prove life again and again; when that fails for `patience_s`, the process ends with code 1.

    `within_s` is how often somebody else wants it proven; a third of it leaves room for a slow disk.

    The deadline is kept by a thread of faulthandler, which runs without the interpreter's lock: it shows
    on stderr where every thread stands, and ends the process whatever those threads do.
    """
    if within_s is not None:
        beat_s = min(beat_s, within_s / 3)
    try:
        while True:
            faulthandler.dump_traceback_later(patience_s, exit=True, file=sys.__stderr__ or sys.stderr)
            await alive()
            await asyncio.sleep(beat_s)
    finally:
        faulthandler.cancel_dump_traceback_later()
