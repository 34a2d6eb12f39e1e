"""`fliqd buffers list` and `items`."""

from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.buffer_fields import buffer_path, id_of
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, Row, example, is_for_people, show_documents, show_table, with_output
from fliqd.cli.pages import Pages, with_limit

NAMES: Final = ("name", "id", "rate", "paused", "source", "request")
ITEM_NAMES: Final = ("id", "status", "runs", "code", "when", "error")


@click.command("list", epilog=example("fliqd buffers list"))
@with_limit
@with_client
@with_output
def command(client: Client, limit: int | None, output: str) -> None:
    """List buffers, newest first."""
    buffers = Pages(client, "/buffers", "buffers", {}, limit)
    if output != TABLE:
        show_documents(buffers, output)
    else:
        show_table(NAMES, map(_row, buffers))
    buffers.tell()


@click.command("items", epilog=example("fliqd buffers items erp --status failed"))
@click.argument("buffer", metavar="ID|NAME")
@click.option("--status", type=click.Choice(["pending", "running", "completed", "failed"]), help="Those that stand so.")
@with_limit
@with_client
@with_output
def items(client: Client, buffer: str, status: str | None, limit: int | None, output: str) -> None:
    """List the items of a buffer, newest first."""
    query = {} if status is None else {"status": status}
    found = Pages(client, buffer_path(id_of(client, buffer), "/items"), "items", query, limit)
    if output != TABLE:
        show_documents(found, output)
    else:
        show_table(ITEM_NAMES, map(_item_row, found))
    found.tell()


def _row(buffer: dict[str, Any]) -> Row:
    return (
        buffer["name"],
        buffer["id"],
        f"{buffer['rate_limit']:g}/s",
        "paused" if buffer["paused"] else "",
        buffer["source"],
        f"{buffer['http_method']} {buffer['url']}",
    )


def _item_row(item: dict[str, Any]) -> Row:
    when = item["completed_at"] or item["next_attempt_at"] or item["created_at"]
    return (
        item["id"],
        item["status"],
        str(item["executions"]),
        str(item["status_code"] or ""),
        moments.relative(when, moments.now()) if is_for_people() else when,
        item["last_error"] or "",
    )
