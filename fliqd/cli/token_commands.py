"""`fliqd tokens create`, `list` and `revoke`."""

import json
from typing import Any, Final

import click

from fliqd.cli.cells import instant
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import (
    TABLE,
    Row,
    example,
    say,
    show_document,
    show_documents,
    show_table,
    with_output,
    write,
)

NAMES: Final = ("id", "name", "prefix", "created", "last used", "scopes")


@click.command("create", epilog=example("fliqd tokens create app", "fliqd tokens create dashboard --scope read"))
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "admin"]),
    help="May come again; read and write unless given.",
)
@with_client
@with_output
def create(client: Client, name: str, scopes: tuple[str, ...], output: str) -> None:
    """Make a token and print it: this once, it is shown nowhere again."""
    wanted = {"name": name} | ({"scopes": list(scopes)} if scopes else {})
    token = client.call("POST", "/tokens", json.dumps(wanted).encode(), expects="token").document
    if output == TABLE:
        write(f"{token['token']}\n")
        say(f"{token['id']} ({', '.join(token['scopes'])}); keep it, it is not shown again")
    else:
        show_document(token, output)


@click.command("list", epilog=example("fliqd tokens list"))
@with_client
@with_output
def list_tokens(client: Client, output: str) -> None:
    """List the tokens there are, oldest first, with when each was last used."""
    tokens = client.get("/tokens", expects="tokens")["tokens"]
    if output == TABLE:
        show_table(NAMES, map(_row, tokens))
    else:
        show_documents(tokens, output)


@click.command("revoke", epilog=example("fliqd tokens revoke ID"))
@click.argument("token_id", metavar="ID")
@with_client
def revoke(client: Client, token_id: str) -> None:
    """Revoke a token: it is refused from this moment on."""
    client.call("DELETE", f"/tokens/{token_id}")
    say(f"{token_id} is revoked")


def _row(token: dict[str, Any]) -> Row:
    return (
        token["id"], token["name"], token["prefix"] + "…", instant(token["created_at"]),
        instant(token["last_used_at"]), ", ".join(token["scopes"]),
    )  # fmt: skip
