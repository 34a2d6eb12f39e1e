"""Fliq's cron expressions, which may hold a zone or be an interval, and the timing that each of them is."""

import re
from typing import Any, Final

UTC: Final = "UTC"
_ZONED: Final = re.compile(r"(?:CRON_TZ|TZ)=(\S+)\s+(.*)", re.DOTALL)
_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ms|us|µs|μs|ns|h|m|s)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")
EVERY: Final = "@every "


def read(expression: str) -> dict[str, Any]:
    """Return the fields of a draft that an expression is; raise ValueError for a duration that is none.

    Fliq reads them by robfig/cron: a macro `@every <duration of Go>`, and a zone before the five fields.
    """
    text = expression.strip()
    zone = UTC
    if (zoned := _ZONED.fullmatch(text)) is not None:
        zone, text = zoned[1], zoned[2]
    if text.startswith(EVERY):
        return {"every": _seconds(text.removeprefix(EVERY).strip()), "timezone": zone}
    return {"cron": text, "timezone": zone}


def write(cron: str | None, every_ms: int | None, timezone: str) -> str:
    """Return the expression that a timing is."""
    if every_ms is not None:
        return EVERY + _duration(every_ms)
    return cron or "" if timezone == UTC else f"CRON_TZ={timezone} {cron or ''}"


def _seconds(text: str) -> float:
    """Return a duration as Go writes them (`1h30m`), in whole seconds and one at least, as robfig/cron takes it."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f'"@every {text[:64]}": expected a duration such as 1h30m')
    return max(1.0, float(sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text)) // 1))


def _duration(ms: int) -> str:
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms / 1000}s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + seconds
