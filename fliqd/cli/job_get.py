"""`fliqd jobs get`: one job, whole."""

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, example, show_document, show_pairs, with_output
from fliqd.cli.sides import sides


@click.command("get", epilog=example("fliqd jobs get job_01m80gbsnj033v6g0cwh3yv7k4"))
@click.argument("job_id", metavar="ID")
@with_client
@with_output
def command(client: Client, job_id: str, output: str) -> None:
    """Show all that is known about a job; what is not set is left out, but for JSON."""
    job = client.job(job_id)
    if output == TABLE:
        show_pairs(sides(job))
    else:
        show_document(job, output)
