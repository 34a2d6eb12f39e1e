"""A buffer's fields as options, and how a buffer is found by what was given."""

import re
from typing import Any, Final
from urllib.parse import quote

from fliqd.cli.client import Client
from fliqd.cli.errors import MissingError
from fliqd.cli.fields import NUMBER, Field, Fields
from fliqd.cli.request_fields import REQUEST

NOT_OF_A_BUFFER: Final = frozenset({"body", "json", "queue", "tags", "requires_approval", "dynamic_fields"})
_ID: Final = re.compile(r"buf_[0-9a-z]{26}", re.ASCII)

BUFFER: Final = Fields(
    (
        Field("--name", "name", {"metavar": "NAME", "help": "What you call it; unique."}, is_emptied=False),
        Field("--rate", "rate_limit", {"type": NUMBER, "metavar": "N", "help": "Requests a second; 10 unless given."}),
        *(field for field in REQUEST if field.name not in NOT_OF_A_BUFFER),
    )
)


def buffer_path(buffer_id: str, tail: str = "") -> str:
    """Return the path of a buffer, whatever was given for its id."""
    return f"/buffers/{quote(buffer_id, safe='')}{tail}"


def find(client: Client, given: str) -> dict[str, Any]:
    """Return the buffer with this id or name; raise MissingError."""
    if _ID.fullmatch(given):
        buffer: dict[str, Any] = client.get(buffer_path(given), expects="rate_limit")
        return buffer
    for buffer in client.get("/buffers", {"name": given}, expects="buffers")["buffers"]:
        return buffer
    raise MissingError(f"there is no buffer {given!r}; see `fliqd buffers list`")


def id_of(client: Client, given: str) -> str:
    """Return the id of a buffer."""
    if _ID.fullmatch(given):
        return given
    buffer_id: str = find(client, given)["id"]
    return buffer_id


def sentence(buffer: dict[str, Any]) -> str:
    """Say what it does: `erp sends to http://… at 5 a second, paused`."""
    paused = ", paused" if buffer["paused"] else ""
    return f"{buffer['name']} sends to {buffer['url']} at {buffer['rate_limit']:g} a second{paused}"
