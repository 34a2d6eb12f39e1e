"""`fliqd schedules missed`: the due times that were not run."""

from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, Row, example, is_for_people, show_documents, show_table, with_output
from fliqd.cli.pages import Pages, with_limit
from fliqd.cli.schedule_names import id_of, schedule_path

NAMES: Final = ("first", "last", "count", "reason", "noted")


@click.command("missed", epilog=example("fliqd schedules missed nightly"))
@click.argument("schedule", metavar="ID|NAME")
@with_limit
@with_client
@with_output
def command(client: Client, schedule: str, limit: int | None, output: str) -> None:
    """Show the due times that were not run, as ranges, noted last first. A deleted schedule is known by its id.

    The reasons: paused, misfire (fliqd was not running, or the clock was set), overlap (the run before had not
    ended), expired (noticed after its end).
    """
    ranges = Pages(client, schedule_path(id_of(client, schedule), "/missed"), "missed", {}, limit)
    if output != TABLE:
        show_documents(ranges, output)
    else:
        show_table(NAMES, map(_row, ranges))
    ranges.tell()


def _row(missed: dict[str, Any]) -> Row:
    at = moments.now()
    times = [missed["first_at"], missed["last_at"], missed["noted_at"]]
    first, last, noted = (moments.short(time, at) for time in times) if is_for_people() else times
    return (first, last, str(missed["count"]), missed["reason"], noted)
