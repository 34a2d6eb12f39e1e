"""`fliqd tokens`: who may call the daemon; for a token with the scope admin, such as the first one."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "create": ("fliqd.cli.token_commands:create", "Make a token and print it, this once."),
    "list": ("fliqd.cli.token_commands:list_tokens", "List the tokens there are."),
    "revoke": ("fliqd.cli.token_commands:revoke", "Refuse a token from now on."),
}


@click.group("tokens", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Create, list and revoke API tokens."""
