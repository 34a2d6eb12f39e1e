"""What to say about a job: where it stands, in the words that a person needs next."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fliqd.cli import moments

FINAL: Final = frozenset({"success", "failed", "cancelled"})

Job = Mapping[str, Any]


def when(job: Job) -> str | None:
    """Return the instant that matters most: when it ended, since when it runs, or when it is due."""
    instant: str | None = job["finished_at"] or job["next_attempt_at"] or job["started_at"] or job["scheduled_at"]
    return instant


def last(job: Job) -> str:
    """Return how its latest attempt ended, in a word: a status code, else the kind of error."""
    code = job["last_status_code"]
    return str(code) if code is not None else (job["last_error"] or "").partition(":")[0]


def sentence(job: Job, at: datetime) -> str:
    """Say where a job stands: `scheduled, due at 14:03:22, in 12 s`."""
    match job["status"]:
        case "scheduled" if job["executions"]:
            ended = f"attempt {job['executions']} ended with {last(job) or 'no answer'}"
            return f"scheduled, {ended}, the next is due {_due(job, at)}"
        case "scheduled":
            return f"scheduled, due {_due(job, at)}"
        case "awaiting_approval":
            return "awaiting approval: fliqd jobs approve, or cancel"
        case "running":
            return f"running, attempt {job['executions']}"
        case "success":
            return f"success, {last(job)} {_attempts(job)}"
        case "failed":
            return f"failed {_attempts(job)}: {job['last_error'] or last(job)}"
        case other:
            return str(other)


def _due(job: Job, at: datetime) -> str:
    due = job["next_attempt_at"] or job["scheduled_at"]
    word = moments.relative(due, at)
    return "now" if word == "now" or word.endswith("ago") else f"at {moments.short(due, at)}, {word}"


def _attempts(job: Job) -> str:
    count = job["executions"]
    return f"after {count} attempt{'' if count == 1 else 's'}"
