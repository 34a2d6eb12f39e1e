"""The event loop a bare program runs on: the one that fliqd runs on, so that only the work differs."""

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any

LOOPS = ("asyncio", "uvloop")


def run(main: Coroutine[Any, Any, None], loop: str) -> None:
    """Run `main` on the loop of that name."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop == "uvloop":
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
