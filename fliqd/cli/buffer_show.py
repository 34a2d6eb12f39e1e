"""`fliqd buffers get`, `stats` and `item`: one thing, whole."""

from urllib.parse import quote

import click

from fliqd.cli.buffer_fields import buffer_path, find, id_of
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, example, show_document, show_pairs, with_output
from fliqd.cli.sides import sides


@click.command("get", epilog=example("fliqd buffers get erp"))
@click.argument("buffer", metavar="ID|NAME")
@with_client
@with_output
def get(client: Client, buffer: str, output: str) -> None:
    """Show all that is known about a buffer; what is not set is left out, but for JSON."""
    _show(find(client, buffer), output)


@click.command("stats", epilog=example("fliqd buffers stats erp"))
@click.argument("buffer", metavar="ID|NAME")
@with_client
@with_output
def stats(client: Client, buffer: str, output: str) -> None:
    """Count the items of a buffer: those that wait, run and have ended, and how many of these went well."""
    _show(client.get(buffer_path(id_of(client, buffer), "/stats"), expects="success_rate"), output)


@click.command("item", epilog=example("fliqd buffers item erp item_…"))
@click.argument("buffer", metavar="ID|NAME")
@click.argument("item", metavar="ITEM")
@with_client
@with_output
def item(client: Client, buffer: str, item: str, output: str) -> None:
    """Show all that is known about an item; what is not set is left out, but for JSON."""
    path = buffer_path(id_of(client, buffer), f"/items/{quote(item, safe='')}")
    _show(client.get(path, expects="buffer_id"), output)


def _show(document: dict[str, object], output: str) -> None:
    if output == TABLE:
        show_pairs(sides(document))
    else:
        show_document(document, output)
