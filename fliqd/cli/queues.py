"""`fliqd queues`: the commands over `/v1/queues`."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "list": ("fliqd.cli.queue_commands:show_all", "List queues: their limits, and what waits in them."),
    "get": ("fliqd.cli.queue_commands:get", "Show a queue."),
    "update": ("fliqd.cli.queue_commands:update", "Set limits of a queue."),
    "pause": ("fliqd.cli.queue_commands:pause", "Let no more jobs of queues leave."),
    "resume": ("fliqd.cli.queue_commands:resume", "Let paused queues go on."),
    "delete": ("fliqd.cli.queue_commands:delete", "Forget the limits of a queue."),
}


@click.group("queues", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Limit the jobs that carry a queue's name. Jobs that name none are in the queue default."""
