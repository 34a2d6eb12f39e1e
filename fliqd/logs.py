"""What the daemon says: events with keys, for people on a terminal, as JSON or logfmt otherwise."""

import contextlib
import logging
import sys
from typing import Final, TextIO, cast

import structlog
from structlog.typing import Processor

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Sink:
    """Takes what is said, and swallows it when nobody listens: a full disk or a closed terminal stops no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure(level: str, style: str) -> None:
    """Send events at or above `level` to stderr in `style`: auto, console, json or logfmt."""
    if style == "auto":
        style = "console" if sys.stderr.isatty() else "json"
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    by_style: dict[str, list[Processor]] = {
        # Never the fancy tracebacks: they print local variables, and those hold headers and bodies.
        "console": [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ],
        "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        "logfmt": [
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
    }
    structlog.configure(
        processors=shared + by_style[style],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", Sink(sys.stderr))),
        cache_logger_on_first_use=True,
    )
