"""`fliqd alerts create`: a channel that alerts go to."""

from typing import Any

import click

from fliqd.cli.alert_fields import CHANNEL, TYPES, sentence
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.output import TABLE, example, say, show_document, with_output, write


@click.command(
    "create",
    epilog=example(
        "fliqd alerts create slack https://hooks.slack.com/services/… --name on-call",
        "fliqd alerts create ntfy https://ntfy.sh/my-topic && fliqd alerts test on-call",
    ),
)
@click.argument("kind", metavar="TYPE", type=click.Choice(TYPES))
@click.argument("target")
@CHANNEL.options("type")
@click.option("--disabled", is_flag=True, help="Make it, and tell it nothing until `fliqd alerts enable`.")
@with_client
@with_output
def command(*, client: Client, kind: str, target: str, disabled: bool, output: str, **fields: Any) -> None:
    """Have TARGET, a URL, told when jobs fail for good, and that they work again. Prints the channel's id.

    TYPE says what listens there: webhook (JSON with the facts), slack, ntfy (the URL of the topic) or discord. The
    target is a secret, and is not shown again.
    """
    asked = {"type": kind, "target": target, **fields} | ({"enabled": False} if disabled else {})
    try:
        channel = client.call("POST", "/alerts", CHANNEL.document(asked), expects="target").document
    except RefusedError as err:
        raise CHANNEL.in_options(err) from err
    if output == TABLE:
        write(f"{channel['id']}\n")
        say(sentence(channel))
    else:
        show_document(channel, output)
