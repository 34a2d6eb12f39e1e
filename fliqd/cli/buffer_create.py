"""`fliqd buffers create` and `update`."""

from typing import Any

import click

from fliqd.cli.buffer_fields import BUFFER, buffer_path, id_of, sentence
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.output import TABLE, example, say, show_document, with_output, write


@click.command("create", epilog=example("fliqd buffers create erp https://erp.example.com/in --rate 5"))
@click.argument("name")
@click.argument("url")
@BUFFER.options("name")
@click.option("--paused", is_flag=True, help="Make it, and let items wait for `fliqd buffers resume`.")
@with_client
@with_output
def create(*, client: Client, name: str, url: str, paused: bool, output: str, **fields: Any) -> None:
    """Make a buffer: items pushed into it go to URL in order, one at a time, at its rate. Prints its id."""
    asked = {"name": name, "url": url, **fields} | ({"paused": True} if paused else {})
    try:
        buffer = client.call("POST", "/buffers", BUFFER.document(asked), expects="rate_limit").document
    except RefusedError as err:
        raise BUFFER.in_options(err) from err
    _show(buffer, output)


@click.command("update", epilog=example("fliqd buffers update erp --rate 20"))
@click.argument("buffer", metavar="ID|NAME")
@click.argument("url", required=False)
@BUFFER.options(update=True)
@with_client
@with_output
def update(client: Client, buffer: str, url: str | None, output: str, **fields: Any) -> None:
    """Change a buffer: URL and the options replace what was asked for. Items that are in it stay as they are.

    An empty text takes a field that is one back to its default.
    """
    given = {name: value for name, value in {"url": url, **fields}.items() if value not in (None, ())}
    if not given:
        raise click.UsageError("say what to change; see --help")
    path = buffer_path(id_of(client, buffer))
    try:
        changed = client.call("PATCH", path, BUFFER.document(given, update=True), expects="rate_limit").document
    except RefusedError as err:
        raise BUFFER.in_options(err) from err
    _show(changed, output)


def _show(buffer: dict[str, Any], output: str) -> None:
    if output == TABLE:
        write(f"{buffer['id']}\n")
        say(sentence(buffer))
    else:
        show_document(buffer, output)
