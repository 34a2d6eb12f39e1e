"""`fliqd schedules`: the commands over `/v1/schedules`."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "create": ("fliqd.cli.schedule_create", "Have a request made again and again."),
    "list": ("fliqd.cli.schedule_list", "List schedules, newest first."),
    "get": ("fliqd.cli.schedule_get", "Show all that is known about a schedule."),
    "update": ("fliqd.cli.schedule_update", "Change a schedule."),
    "pause": ("fliqd.cli.schedule_change:pause", "Stop schedules for a while."),
    "resume": ("fliqd.cli.schedule_change:resume", "Let paused schedules go on."),
    "run": ("fliqd.cli.schedule_change:run", "Run schedules now, beside their due times."),
    "next": ("fliqd.cli.schedule_next", "Show when a schedule runs next."),
    "delete": ("fliqd.cli.schedule_delete", "Delete schedules; their history stays."),
    "missed": ("fliqd.cli.schedule_missed", "Show the due times that were not run, and why."),
    "jobs": ("fliqd.cli.schedule_jobs", "List the jobs of a schedule."),
}


@click.group("schedules", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Create, read and change schedules. One is given by its id or by its name."""
