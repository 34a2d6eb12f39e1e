"""A channel's fields as options, and how a channel is found by what was given."""

import re
from typing import Any, Final
from urllib.parse import quote

import click

from fliqd.cli.client import Client
from fliqd.cli.errors import ConflictingError, MissingError
from fliqd.cli.fields import Field, Fields
from fliqd.cli.pages import Pages

TYPES: Final = ("webhook", "slack", "ntfy", "discord")
_ID: Final = re.compile(r"alt_[0-9a-z]{26}", re.ASCII)

CHANNEL: Final = Fields(
    (
        Field("--type", "type", {"type": click.Choice(TYPES), "help": "What listens at the target."}, is_emptied=False),
        Field("--name", "name", {"metavar": "NAME", "help": "What you call it."}),
    )
)


def channel_path(channel_id: str, tail: str = "") -> str:
    """Return the path of a channel, whatever was given for its id."""
    return f"/alerts/{quote(channel_id, safe='')}{tail}"


def find(client: Client, given: str) -> dict[str, Any]:
    """Return the channel with this id or name; raise MissingError, ConflictingError."""
    if _ID.fullmatch(given):
        channel: dict[str, Any] = client.get(channel_path(given), expects="target")
        return channel
    named = [channel for channel in Pages(client, "/alerts", "channels", {}, None) if channel["name"] == given]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(channel["id"] for channel in named)
        raise ConflictingError(f"{len(named)} channels are called {given!r}: say which by its id ({ids})")
    raise MissingError(f"there is no channel {given!r}; see `fliqd alerts list`")


def sentence(channel: dict[str, Any]) -> str:
    """Say where it stands: `on-call (slack) is told at https://hooks.slack.com/***`."""
    name = channel["name"] or channel["id"]
    stands = "is told" if channel["enabled"] else "is disabled, and would be told"
    return f"{name} ({channel['type']}) {stands} at {channel['target']}"
