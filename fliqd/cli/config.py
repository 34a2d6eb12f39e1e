"""`fliqd config`: what can be done with a configuration before a daemon reads it."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "init": ("fliqd.cli.config_init", "Write a commented configuration to begin with."),
    "check": ("fliqd.cli.config_check", "Say everything that is wrong with a configuration."),
}


@click.group("config", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Begin and check a configuration."""
