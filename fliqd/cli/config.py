"""`fliqd config`: the commands around the configuration file."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "init": ("fliqd.cli.config_init", "Write a commented configuration to begin with."),
    "check": ("fliqd.cli.config_check", "Say everything that is wrong with a configuration."),
    "diff": ("fliqd.cli.config_diff:diff", "Say what a reload would change."),
    "apply": ("fliqd.cli.config_diff:apply", "Have the daemon read its file again."),
    "show": ("fliqd.cli.config_show", "Show every setting, and where it comes from."),
    "pull": ("fliqd.cli.config_pull", "Print the schedules that were made over the API as TOML."),
}


@click.group("config", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Begin, check, compare, apply and show the configuration."""
