"""A schedule's fields as options."""

from collections.abc import Sequence
from typing import Final

import click

from fliqd.cli.fields import Field, Fields, refuse
from fliqd.cli.request_fields import REQUEST, duration, pairs


def _dst(words: Sequence[str]) -> dict[str, str]:
    return pairs(words, "=", "--dst", "gap=after|skip or overlap=first|both")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as err:
        refuse("--max-runs", f"{text!r} is not a whole number", err)


SCHEDULE: Final = Fields(
    (
        Field(
            "--cron",
            "cron",
            {"metavar": "EXPR", "help": "When, such as '0 3 * * *'; `fliqd cron EXPR` explains it."},
            is_emptied=False,
        ),
        Field(
            "--every",
            "every",
            {"metavar": "D", "help": "Or how often: 90s, 15m, 1d, or seconds."},
            duration,
            is_emptied=False,
        ),
        Field("--tz", "timezone", {"metavar": "ZONE", "help": "The clocks --cron goes by, such as Europe/Berlin."}),
        Field(
            "--dst",
            "dst",
            {
                "multiple": True,
                "metavar": "WORD",
                "help": "A time that the clocks leave out: gap=after (the default) or gap=skip; one that they show"
                " twice: overlap=first (the default) or overlap=both.",
            },
            _dst,
        ),
        Field("--name", "name", {"metavar": "NAME", "help": "What you call it; unique. Made up when left out."}),
        Field("--starts-at", "starts_at", {"metavar": "TIME", "help": "No run before, such as 2027-01-01T09:00:00Z."}),
        Field("--ends-at", "ends_at", {"metavar": "TIME", "help": "No run after."}),
        Field("--max-runs", "max_runs", {"metavar": "N", "help": "How many runs there are."}, _whole),
        Field(
            "--jitter",
            "jitter",
            {"metavar": "D", "help": "Each run comes up to D later, by a chance of its own."},
            duration,
        ),
        Field(
            "--misfire",
            "misfire",
            {
                "type": click.Choice(["latest", "all", "skip"]),
                "help": "Which of the runs that were missed, as while the machine was off, are made up for.",
            },
        ),
        Field(
            "--misfire-grace",
            "misfire_grace",
            {"metavar": "D", "help": "How late a run may be until it is missed; 60s unless given."},
            duration,
        ),
        Field(
            "--overlap",
            "overlap",
            {
                "type": click.Choice(["queue", "allow", "skip"]),
                "help": "What to do with a run while the one before has not ended.",
            },
        ),
        *REQUEST,
    )
)
