"""What we have, in the words of services that have less: a text for each rule, one for each body."""

from fliqd.core.durations import format_duration
from fliqd.core.model import Job
from fliqd.core.schedule import Schedule


def rule_of(schedule: Schedule) -> str:
    """Return the rule of a schedule as one text; an interval is none of cron, and looks like what many make of it."""
    if schedule.every_ms is not None:
        return f"@every {format_duration(schedule.every_ms)}"
    return schedule.cron or ""


def body_of(one: Job | Schedule) -> str | None:
    """Return what is sent as a text, JSON too."""
    return None if one.body is None else one.body.decode("utf-8", "replace")
