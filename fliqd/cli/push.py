"""`fliqd push`: items into a buffer, one, or a line for each."""

import sys
from typing import Any, Final

import click

from fliqd.cli.buffer_fields import buffer_path, id_of
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.fields import Field, Fields
from fliqd.cli.output import TABLE, example, say, show_document, with_output, write
from fliqd.cli.request_fields import REQUEST
from fliqd.errors import FliqdError

BATCH: Final = 500
CREATED: Final = 201
ITEM: Final = Fields(
    (
        *(field for field in REQUEST if field.name in ("body", "json", "headers")),
        Field("--key", "idempotency_key", {"metavar": "KEY", "help": "The same one does not make the item again."}),
    )
)


@click.command(
    "push",
    epilog=example("fliqd push erp --json '{\"order\": 7}'", "jq -c .[] orders.json | fliqd push erp --lines"),
)
@click.argument("buffer", metavar="ID|NAME")
@ITEM.options()
@click.option("--lines", is_flag=True, help="Push each line of stdin as an item, in order.")
@with_client
@with_output
def command(*, client: Client, buffer: str, lines: bool, output: str, **fields: Any) -> None:
    """Push an item into a buffer, at the tail. Prints its id."""
    path = buffer_path(id_of(client, buffer), "/items")
    if lines:
        if any(value not in (None, ()) for value in fields.values()):
            raise click.UsageError("--lines takes the bodies from stdin: leave out the rest")
        _push_lines(client, path, output)
        return
    if all(value in (None, ()) for value in fields.values()):
        raise click.UsageError("say what to push: --data or --json, or --lines for each line of stdin; -d '' is empty")
    try:
        answer = client.call("POST", path, ITEM.document(fields), expects="buffer_id")
    except RefusedError as err:
        raise ITEM.in_options(err) from err
    if answer.status != CREATED:
        say("This key had made it before; nothing new was pushed.")
    if output == TABLE:
        write(f"{answer.document['id']}\n")
    else:
        show_document(answer.document, output)


def _push_lines(client: Client, path: str, output: str) -> None:
    """Push what stdin holds, some at a time, in order; what is refused ends it, so that nothing overtakes it."""
    import json  # noqa: PLC0415 -- only for many

    pushed = 0
    while batch := [line.rstrip("\r\n") for line in (sys.stdin.readline() for _ in range(BATCH)) if line]:
        body = json.dumps({"items": [{"body": line} for line in batch]}).encode()
        for result in client.call("POST", path, body, expects="results").document["results"]:
            if "error" in result:
                raise FliqdError(f"line {pushed + 1}: {result['error']['message']}; the {pushed} before it are pushed")
            pushed += 1
            if output == TABLE:
                write(f"{result['item']['id']}\n")
            else:
                show_document(result["item"], output)
    say(f"{pushed} pushed")
