"""`fliqd signing-secret`: what requests are signed with; for a token with the scope admin."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "show": ("fliqd.cli.signing_commands:show", "Print the secret."),
    "rotate": ("fliqd.cli.signing_commands:rotate", "Sign with a new secret from now on."),
}


@click.group("signing-secret", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Show or rotate the secret that requests are signed with."""
