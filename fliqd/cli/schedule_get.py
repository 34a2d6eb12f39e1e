"""`fliqd schedules get`: one schedule, whole."""

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, example, show_document, show_pairs, with_output
from fliqd.cli.schedule_names import find
from fliqd.cli.sides import sides


@click.command("get", epilog=example("fliqd schedules get nightly"))
@click.argument("schedule", metavar="ID|NAME")
@with_client
@with_output
def command(client: Client, schedule: str, output: str) -> None:
    """Show all that is known about a schedule; what is not set is left out, but for JSON."""
    found = find(client, schedule)
    if output == TABLE:
        show_pairs(sides(found))
    else:
        show_document(found, output)
