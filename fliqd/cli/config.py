"""`fliqd config`: what can be done with a configuration before a daemon reads it."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {"check": ("fliqd.cli.config_check", "Say everything that is wrong with a configuration.")}


@click.group("config", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Check the configuration."""
