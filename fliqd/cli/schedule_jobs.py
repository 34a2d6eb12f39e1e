"""`fliqd schedules jobs`: what a schedule has made."""

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.job_list import show_jobs, with_filters
from fliqd.cli.output import example, with_output
from fliqd.cli.pages import with_limit
from fliqd.cli.schedule_names import id_of, schedule_path


@click.command("jobs", epilog=example("fliqd schedules jobs nightly --status failed"))
@click.argument("schedule", metavar="ID|NAME")
@with_filters
@with_limit
@with_client
@with_output
def command(client: Client, schedule: str, limit: int | None, output: str, **filters: str | None) -> None:
    """List the jobs of a schedule, newest first. A deleted one is known by its id."""
    show_jobs(client, schedule_path(id_of(client, schedule), "/jobs"), filters, limit, output)
