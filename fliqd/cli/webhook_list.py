"""`fliqd webhooks list`: deliveries by what is asked for."""

from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, Row, example, is_for_people, show_documents, show_table, with_output
from fliqd.cli.pages import Pages, with_limit

NAMES: Final = ("id", "event", "status", "tries", "when", "job", "last error", "url")


@click.command(
    "list", epilog=example("fliqd webhooks list --status failed", "fliqd webhooks list --job $ID -o jsonl | jq .url")
)
@click.option(
    "--status", type=click.Choice(["pending", "delivering", "delivered", "failed"]), help="Those that stand there."
)
@click.option("--job", "job_id", metavar="ID", help="Those of this job.")
@with_limit
@with_client
@with_output
def command(client: Client, limit: int | None, output: str, **filters: str | None) -> None:
    """List deliveries of webhooks and callbacks, newest first: where each stands, and what keeps it."""
    query = {name: value for name, value in filters.items() if value is not None}
    deliveries = Pages(client, "/webhooks/deliveries", "deliveries", query, limit)
    if output != TABLE:
        show_documents(deliveries, output)
    else:
        show_table(NAMES, map(_row, deliveries))
    deliveries.tell()


def _row(delivery: dict[str, Any]) -> Row:
    when = delivery["delivered_at"] or delivery["next_retry_at"] or delivery["created_at"]
    return (
        delivery["id"],
        delivery["event"],
        delivery["status"],
        f"{delivery['attempts']}/{delivery['max_attempts']}",
        moments.relative(when, moments.now()) if is_for_people() else when,
        delivery["job_id"],
        delivery["last_error"] or "",
        delivery["url"],
    )
