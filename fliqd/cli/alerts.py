"""`fliqd alerts`: the commands over `/v1/alerts`."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "create": ("fliqd.cli.alert_create", "Have somebody told when jobs fail for good."),
    "list": ("fliqd.cli.alert_list:list_channels", "List the channels there are."),
    "get": ("fliqd.cli.alert_list:get", "Show all that is known about a channel."),
    "update": ("fliqd.cli.alert_change:update", "Change a channel."),
    "enable": ("fliqd.cli.alert_change:enable", "Tell channels again."),
    "disable": ("fliqd.cli.alert_change:disable", "Tell channels nothing for a while."),
    "delete": ("fliqd.cli.alert_change:delete", "Delete channels."),
    "test": ("fliqd.cli.alert_change:test", "Send a test to channels."),
}


@click.group("alerts", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Say who is told when jobs fail, and that they work again. A channel is given by its id or by its name."""
