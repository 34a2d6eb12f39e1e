"""`fliqd schedules list`: schedules by what is asked for."""

from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, Row, example, is_for_people, show_documents, show_table, with_output
from fliqd.cli.pages import Pages, with_limit
from fliqd.cli.schedule_words import rule, status

NAMES: Final = ("name", "status", "next", "last run", "result", "source", "rule")


@click.command("list", epilog=example("fliqd schedules list", "fliqd schedules list --all -o jsonl | jq .next_run_at"))
@click.option("--status", type=click.Choice(["active", "paused", "ended"]), help="Those that stand there.")
@click.option("--name", metavar="NAME", help="The one of this name.")
@click.option("--source", type=click.Choice(["api", "config"]), help="Made over the API, or declared in the file.")
@with_limit
@with_client
@with_output
def command(client: Client, limit: int | None, output: str, **filters: str | None) -> None:
    """List schedules, newest first: where each stands, when it runs next, and how its last run ended."""
    query = {name: value for name, value in filters.items() if value is not None}
    schedules = Pages(client, "/schedules", "schedules", query, limit)
    if output != TABLE:
        show_documents(schedules, output)
    else:
        show_table(NAMES, map(_row, schedules))
    schedules.tell()


def _row(schedule: dict[str, Any]) -> Row:
    at = moments.now()

    def when(time: str | None) -> str:
        return "" if time is None else moments.relative(time, at) if is_for_people() else time

    return (
        schedule["name"],
        status(schedule),
        when(schedule["next_run_at"]),
        when(schedule["last_run_at"]),
        schedule["last_status"] or "",
        schedule["source"],
        rule(schedule),
    )
