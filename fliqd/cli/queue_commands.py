"""`fliqd queues list`, `get`, `update`, `pause`, `resume` and `delete`."""

import json
from typing import Any, Final
from urllib.parse import quote

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.fields import OrEmpty
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
@click.option("--concurrency", type=OrEmpty(int), metavar="N", help="Requests under way at once.")
@click.option("--rate", type=OrEmpty(float), metavar="N", help="Requests a second.")
@with_client
@with_output
def update(client: Client, name: str, concurrency: int | str | None, rate: float | str | None, output: str) -> None:
    """Set limits of a queue; one that is not named stays, and an empty text ('') takes it away. Prints its name."""
    given = {"concurrency": concurrency, "rate": rate}
    if concurrency is None and rate is None:
        raise click.UsageError("say which limit: --concurrency, --rate or both; see --help")
    now = client.get(_path(name), expects="waiting")
    asked = {limit: now[limit] if value is None else None if value == "" else value for limit, value in given.items()}
    _show(client.call("PUT", _path(name), json.dumps(asked).encode(), expects="waiting").document, output)


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
