"""`fliqd buffers`: the commands over `/v1/buffers`."""

from typing import Final

import click

from fliqd.cli.groups import LazyGroup

COMMANDS: Final = {
    "create": ("fliqd.cli.buffer_create:create", "Make an ordered stream to one target, with a rate."),
    "list": ("fliqd.cli.buffer_list:command", "List buffers, newest first."),
    "get": ("fliqd.cli.buffer_show:get", "Show all that is known about a buffer."),
    "update": ("fliqd.cli.buffer_create:update", "Change a buffer."),
    "pause": ("fliqd.cli.buffer_change:pause", "Send no items for a while; they are still taken."),
    "resume": ("fliqd.cli.buffer_change:resume", "Let paused buffers go on."),
    "stats": ("fliqd.cli.buffer_show:stats", "Count the items of a buffer."),
    "delete": ("fliqd.cli.buffer_change:delete", "Delete buffers with their items."),
    "items": ("fliqd.cli.buffer_list:items", "List the items of a buffer, newest first."),
    "item": ("fliqd.cli.buffer_show:item", "Show all that is known about an item."),
    "replay": ("fliqd.cli.buffer_change:replay", "Push failed items again, at the tail."),
}


@click.group("buffers", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Create, read and change buffers. One is given by its id or by its name."""
