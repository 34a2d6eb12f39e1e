"""What the daemon says: events with keys, for people on a terminal, as JSON or logfmt otherwise."""

import logging
import sys
from typing import Final

import structlog
from structlog.typing import Processor

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


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
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
