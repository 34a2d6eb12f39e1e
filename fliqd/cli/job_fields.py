"""A job's fields as options."""

from typing import Final

from fliqd.cli.fields import Field, Fields
from fliqd.cli.request_fields import REQUEST, duration

# An empty time is a variable that was not set, hardly a wish for the default; so is an empty key.
JOB: Final = Fields(
    (
        Field(
            "--at", "scheduled_at", {"metavar": "TIME", "help": "When, such as 2027-01-01T09:00:00Z."}, is_emptied=False
        ),
        Field(
            "--delay",
            "delay",
            {"metavar": "D", "help": "In how long: 90s, 1h30m, 2d, or seconds."},
            duration,
            is_emptied=False,
        ),
        *REQUEST,
        Field("--expires-at", "expires_at", {"metavar": "TIME", "help": "No attempt starts later."}),
        Field("--name", "name", {"metavar": "TEXT", "help": "What you call it."}),
        Field(
            "--idempotency-key",
            "idempotency_key",
            {"metavar": "KEY", "help": "A repeat makes no second job."},
            is_emptied=False,
        ),
        Field(
            "--dedupe-key",
            "dedupe_key",
            {"metavar": "KEY", "help": "Names the work: while another job does it, or has done it, none is made."},
            is_emptied=False,
        ),
        Field(
            "--dedupe-window",
            "dedupe_window",
            {"metavar": "D", "help": "How long ago that may have been made; 1d unless given."},
            duration,
            is_emptied=False,
        ),
    )
)
