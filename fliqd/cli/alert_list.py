"""`fliqd alerts list` and `get`."""

from typing import Any, Final

import click

from fliqd.cli.alert_fields import find
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, Row, example, show_document, show_documents, show_pairs, show_table, with_output
from fliqd.cli.pages import Pages
from fliqd.cli.sides import sides

NAMES: Final = ("id", "type", "name", "status", "source", "target")


@click.command("list", epilog=example("fliqd alerts list"))
@with_client
@with_output
def list_channels(client: Client, output: str) -> None:
    """List the channels there are, newest first; of a target its host alone."""
    channels = Pages(client, "/alerts", "channels", {}, None)
    if output == TABLE:
        show_table(NAMES, map(_row, channels))
    else:
        show_documents(channels, output)


@click.command("get", epilog=example("fliqd alerts get on-call"))
@click.argument("channel", metavar="ID|NAME")
@with_client
@with_output
def get(client: Client, channel: str, output: str) -> None:
    """Show all that is known about a channel; what is not set is left out, but for JSON."""
    found = find(client, channel)
    if output == TABLE:
        show_pairs(sides(found))
    else:
        show_document(found, output)


def _row(channel: dict[str, Any]) -> Row:
    return (
        channel["id"],
        channel["type"],
        channel["name"] or "",
        "enabled" if channel["enabled"] else "disabled",
        channel["source"],
        channel["target"],
    )
