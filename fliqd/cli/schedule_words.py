"""What to say about a schedule: its rule, and where it stands."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fliqd.cli import moments

Schedule = Mapping[str, Any]


def rule(schedule: Schedule) -> str:
    """Return when it runs, as it was written: `0 3 * * * Europe/Berlin`, `every 15m`."""
    if schedule["every"] is not None:
        return f"every {schedule['every']}"
    return f"{schedule['cron']} {schedule['timezone']}"


def status(schedule: Schedule) -> str:
    """Return where it stands in a word; `error` for one that is active and cannot go on."""
    word: str = "error" if schedule["error"] is not None else schedule["status"]
    return word


def sentence(schedule: Schedule, at: datetime) -> str:
    """Say where it stands: `active, runs next at 14:03:22, in 12 s`."""
    if schedule["error"] is not None:
        return f"error: {schedule['error']}"
    match schedule["status"]:
        case "active":
            due = schedule["next_run_at"]
            return f"active, runs next at {moments.short(due, at)}, {moments.relative(due, at)}"
        case "paused":
            return "paused: what comes due until it is resumed is missed"
        case "ended":
            count = schedule["run_count"]
            return f"ended, after {count} run{'' if count == 1 else 's'}"
        case other:
            return str(other)
