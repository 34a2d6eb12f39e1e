"""`fliqd stats`: what executions came to, also long after their jobs are gone."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "jobs": ("fliqd.cli.stats_commands:jobs", "How many succeeded, how long they took, how late they were."),
    "usage": ("fliqd.cli.stats_commands:usage", "How many there were on each day."),
    "timeline": ("fliqd.cli.stats_commands:timeline", "What they came to, hour by hour or day by day."),
}


@click.group("stats", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Show what executions came to: of all jobs, or of a schedule, a queue or a host."""
