"""`fliqd signing-secret show` and `rotate`."""

import json
from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, example, say, show_document, with_output, write


@click.command("show", epilog=example("fliqd signing-secret show"))
@with_client
@with_output
def show(client: Client, output: str) -> None:
    """Print the secret that receivers verify signatures with."""
    _tell(client.get("/signing-secret", expects="former"), output)


@click.command("rotate", epilog=example("fliqd signing-secret rotate --overlap 24h"))
@click.option("--overlap", metavar="DURATION", help="How long the old secret signs too; it stops at once unless given.")
@with_client
@with_output
def rotate(client: Client, overlap: str | None, output: str) -> None:
    """Sign with a new secret from now on, and print it."""
    wanted = json.dumps({} if overlap is None else {"overlap": overlap}).encode()
    _tell(client.call("POST", "/signing-secret/rotate", wanted, expects="former").document, output)


def _tell(shown: dict[str, Any], output: str) -> None:
    if output != TABLE:
        show_document(shown, output)
        return
    if shown["secret"] is None:
        say("the secret is in the daemon's configuration, signing.secret; it is not shown here")
    else:
        write(f"{shown['secret']}\n")
    for former in shown["former"]:
        say(f"an older secret signs too, until {moments.both(former['expires_at'], moments.now())}")
