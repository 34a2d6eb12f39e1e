"""`fliqd webhooks`: what was told of jobs, and what still is to be."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "list": ("fliqd.cli.webhook_list", "List deliveries, newest first."),
}


@click.group("webhooks", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Look at what was told of jobs, to webhooks and callbacks."""
