"""Which event loop the daemon runs on: uvloop where it is installed, asyncio's own elsewhere."""

import asyncio
from collections.abc import Callable

UVLOOP, ASYNCIO = "uvloop", "asyncio"


def factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop, None for asyncio's own: for `asyncio.Runner`."""
    try:
        import uvloop  # noqa: PLC0415 -- there are machines without it
    except ImportError:
        return None
    return uvloop.new_event_loop


def name() -> str:
    """Return the name of the running loop."""
    return UVLOOP if type(asyncio.get_running_loop()).__module__.startswith(UVLOOP) else ASYNCIO
