"""`fliqd buffers pause`, `resume`, `delete` and `replay`: one step for each of several."""

from typing import Any
from urllib.parse import quote

import click

from fliqd.cli.buffer_fields import buffer_path, find, id_of, sentence
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import example, with_output
from fliqd.cli.steps import Step, each


@click.command("pause", epilog=example("fliqd buffers pause erp"))
@click.argument("buffers", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def pause(client: Client, buffers: tuple[str, ...], output: str) -> None:
    """Send no items until it is resumed; pushes are taken all the same. Prints the id of each."""
    each(client, buffers, _post("/pause"), output, sentence)


@click.command("resume", epilog=example("fliqd buffers resume erp"))
@click.argument("buffers", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def resume(client: Client, buffers: tuple[str, ...], output: str) -> None:
    """Go on where it stopped. Prints the id of each."""
    each(client, buffers, _post("/resume"), output, sentence)


@click.command("delete", epilog=example("fliqd buffers delete erp"))
@click.argument("buffers", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def delete(client: Client, buffers: tuple[str, ...], output: str) -> None:
    """Delete buffers and all their items; the one that is under way ends. Prints the id of each."""
    each(client, buffers, _delete, output, lambda buffer: f"{buffer['name']} is deleted, with its items")


@click.command("replay", epilog=example("fliqd buffers replay erp item_…"))
@click.argument("buffer", metavar="ID|NAME")
@click.argument("items", metavar="ITEM…", nargs=-1, required=True)
@with_client
@with_output
def replay(client: Client, buffer: str, items: tuple[str, ...], output: str) -> None:
    """Push failed items again, at the tail, as new ones. Prints the id of each."""
    path = buffer_path(id_of(client, buffer), "/items/")

    def step(client: Client, given: str) -> dict[str, Any]:
        again: dict[str, Any] = client.call("POST", f"{path}{quote(given, safe='')}/replay", expects="id").document
        return again

    each(client, items, step, output, lambda item: f"does {item['replay_of']} again")


def _delete(client: Client, given: str) -> dict[str, Any]:
    buffer = find(client, given)
    client.call("DELETE", buffer_path(buffer["id"]))
    return buffer


def _post(tail: str) -> Step:
    def step(client: Client, given: str) -> dict[str, Any]:
        found: dict[str, Any] = client.call("POST", buffer_path(id_of(client, given), tail), expects="id").document
        return found

    return step
