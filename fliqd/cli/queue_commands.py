"""`fliqd queues list`, `get`, `update`, `pause`, `resume` and `delete`."""

from typing import Any, Final
from urllib.parse import quote

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import MissingError, RefusedError
from fliqd.cli.fields import NUMBER, Field, Fields
from fliqd.cli.output import (
    TABLE,
    Row,
    example,
    say,
    show_document,
    show_documents,
    show_pairs,
    show_table,
    with_output,
    write,
)
from fliqd.cli.sides import sides

QUEUE: Final = Fields(
    (
        Field("--concurrency", "concurrency", {"type": int, "metavar": "N", "help": "Requests under way at once."}),
        Field("--rate", "rate", {"type": NUMBER, "metavar": "N", "help": "Requests a second."}),
    )
)
NAMES: Final = ("name", "concurrency", "rate", "paused", "waiting", "running", "source")


@click.command("list", epilog=example("fliqd queues list"))
@with_client
@with_output
def show_all(client: Client, output: str) -> None:
    """List queues: those that have limits, those that hold jobs, and the default one."""
    found = client.get("/queues", expects="queues")["queues"]
    if output != TABLE:
        show_documents(found, output)
    else:
        show_table(NAMES, map(_row, found))


@click.command("get", epilog=example("fliqd queues get mail"))
@click.argument("name")
@with_client
@with_output
def get(client: Client, name: str, output: str) -> None:
    """Show a queue: its limits, and what waits in it."""
    queue = client.get(_path(name), expects="waiting")
    if output == TABLE:
        show_pairs(sides(queue))
    else:
        show_document(queue, output)


@click.command("update", epilog=example("fliqd queues update mail --concurrency 2", "fliqd queues update sms --rate 5"))
@click.argument("name")
@QUEUE.options(update=True)
@with_client
@with_output
def update(client: Client, name: str, output: str, **fields: Any) -> None:
    """Set limits of a queue; one that is not named stays, and an empty text ('') takes it away. Prints its name."""
    if all(value is None for value in fields.values()):
        raise click.UsageError("say which limit: --concurrency, --rate or both; see --help")
    try:
        changed = client.call("PATCH", _path(name), QUEUE.document(fields, update=True), expects="waiting").document
    except RefusedError as err:
        raise QUEUE.in_options(err) from err
    _show(changed, output)


@click.command("pause", epilog=example("fliqd queues pause mail"))
@click.argument("name")
@with_client
@with_output
def pause(client: Client, name: str, output: str) -> None:
    """Let no more jobs of a queue leave; those that are under way end. Prints its name."""
    _show(client.call("POST", _path(name, "/pause"), expects="waiting").document, output)


@click.command("resume", epilog=example("fliqd queues resume mail"))
@click.argument("name")
@with_client
@with_output
def resume(client: Client, name: str, output: str) -> None:
    """Let the jobs of a paused queue go on. Prints its name."""
    _show(client.call("POST", _path(name, "/resume"), expects="waiting").document, output)


@click.command("delete", epilog=example("fliqd queues delete mail"))
@click.argument("name")
@with_client
@with_output
def delete(client: Client, name: str, output: str) -> None:
    """Forget the limits of a queue, and its pause: the jobs that carry its name leave without. Prints its name."""
    client.call("DELETE", _path(name))
    _show(client.get(_path(name), expects="waiting"), output)


def _path(name: str, tail: str = "") -> str:
    if not name:
        raise MissingError("a queue has a name; see `fliqd queues list`")
    return f"/queues/{quote(name, safe='')}{tail}"


def _show(queue: dict[str, Any], output: str) -> None:
    if output == TABLE:
        write(f"{queue['name']}\n")
        say(_sentence(queue))
    else:
        show_document(queue, output)


def _sentence(queue: dict[str, Any]) -> str:
    limits = [f"{queue['concurrency']} at once"] if queue["concurrency"] else []
    limits += [f"{queue['rate']:g} a second"] if queue["rate"] else []
    words = " and ".join(limits) or "no limits of its own"
    return f"{queue['name']} has {words}{', paused' if queue['paused'] else ''}; {queue['waiting']} wait"


def _row(queue: dict[str, Any]) -> Row:
    return (
        queue["name"],
        "" if queue["concurrency"] is None else str(queue["concurrency"]),
        "" if queue["rate"] is None else f"{queue['rate']:g}/s",
        "paused" if queue["paused"] else "",
        str(queue["waiting"]),
        str(queue["running"]),
        queue["source"],
    )
