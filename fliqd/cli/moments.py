"""Instants and durations as a person reads them: short, in the local zone, and from now."""

from datetime import UTC, datetime
from typing import Final

_STEPS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_TWO_PARTS_BELOW: Final = 86_400 * 10  # beyond that, hours say nothing


def now() -> datetime:
    """Return this instant."""
    return datetime.now(UTC)


def parse(text: str) -> datetime:
    """Read an instant as the API writes it."""
    return datetime.fromisoformat(text)


def short(text: str, at: datetime) -> str:
    """Write an instant in the local zone, without what it shares with `at`: today's have no date."""
    local, today = parse(text).astimezone(), at.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    return f"{local:%d %b %H:%M}" if local.year == today.year else f"{local:%Y-%m-%d %H:%M}"


def relative(text: str, at: datetime) -> str:
    """Say how far an instant is from `at`: `in 12 s`, `3 min ago`, `now`."""
    seconds = (parse(text) - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def both(text: str, at: datetime) -> str:
    """Write an instant short and from now: `14:03:22, in 12 s`."""
    return f"{short(text, at)}, {relative(text, at)}"


def span(seconds: float) -> str:
    """Say how long, in its two largest units: `12 s`, `2 h 5 min`, `40 d`."""
    rest = round(seconds)
    parts = []
    for unit, size in _STEPS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[: 1 if seconds >= _TWO_PARTS_BELOW else 2]) or "0 s"


def milliseconds(ms: int | None) -> str:
    """Write a measured time: `12 ms`, `3.4 s`, `2 min 5 s`."""
    if ms is None:
        return ""
    if ms < 1_000:  # noqa: PLR2004 -- where seconds begin
        return f"{ms} ms"
    return f"{ms / 1000:.1f} s" if ms < 60_000 else span(ms / 1000)  # noqa: PLR2004 -- and minutes
