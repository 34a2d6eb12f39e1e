"""`fliqd jobs`: the commands over `/v1/jobs`."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "create": ("fliqd.cli.job_create", "Have a request made, now or later; or many of them from a file."),
    "list": ("fliqd.cli.job_list", "List jobs, newest first."),
    "get": ("fliqd.cli.job_get", "Show all that is known about a job."),
    "update": ("fliqd.cli.job_update", "Change a job that waits."),
    "cancel": ("fliqd.cli.job_change:cancel", "Cancel jobs that wait."),
    "approve": ("fliqd.cli.job_change:approve", "Let jobs go that wait to be approved."),
    "run": ("fliqd.cli.job_change:run", "Make waiting jobs due at once."),
    "replay": ("fliqd.cli.job_change:replay", "Do failed jobs again, as new ones."),
    "executions": ("fliqd.cli.job_executions", "List the attempts at a job."),
    "why": ("fliqd.cli.job_why", "Say what a job waits for."),
    "watch": ("fliqd.cli.job_watch", "Follow a job until it ends, or the newest jobs."),
}


@click.group("jobs", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Create, read and change jobs."""
