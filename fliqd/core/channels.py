"""Where alerts go: what may be asked of a channel, and what of it may be shown."""

from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fliqd.core.model import Source
from fliqd.core.references import REFERENCE
from fliqd.core.urls import check_url
from fliqd.errors import ConflictError, Problem

MAX_NAME: Final = 256
MOST_CHANNELS: Final = 100
MASK: Final = "***"


class ChannelType(StrEnum):
    """The shapes in which an alert is told."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    NTFY = "ntfy"
    DISCORD = "discord"


TYPES: Final = tuple(str(kind) for kind in ChannelType)


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A place where alerts go. The field names are the columns of the store."""

    pk: int = 0
    id: str
    name: str | None = None
    type: ChannelType
    target: str  # a URL, which is a secret: whoever has it can write there
    has_references: bool = False  # it may hold ${env:…} and ${file:…}
    enabled: bool = True
    source: Source = Source.API
    created_ms: int
    updated_ms: int

    def __repr__(self) -> str:
        return f"Channel({self.id}, {self.type}, {shown(self)})"


class ChannelDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of `POST /v1/alerts`, `PATCH /v1/alerts/{id}` and `[[alerts]]`."""

    type: str | UnsetType | None = UNSET
    target: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


# What a definition says; whether it is enabled is a state.
DEFINED_OF_CHANNEL: Final = ("name", "type", "target", "has_references")


def channel_fields(draft: ChannelDraft, problems: list[Problem]) -> dict[str, Any]:
    """Return the channel's fields for what the draft sets, adding to `problems` what is wrong with it."""
    fields: dict[str, Any] = {}
    if draft.type is not UNSET:
        if draft.type not in TYPES:
            problems.append(Problem("type", f"expected one of {', '.join(TYPES)}"))
        else:
            fields["type"] = ChannelType(draft.type)
    if draft.target is not UNSET:
        try:
            fields["target"] = checked(draft.target or "", fields.get("type"))
        except ValueError as err:
            problems.append(Problem("target", str(err)))
    if draft.name is not UNSET:
        if draft.name is not None and not 1 <= len(draft.name) <= MAX_NAME:
            problems.append(Problem("name", f"expected 1 to {MAX_NAME} characters"))
        fields["name"] = draft.name
    if draft.enabled is not UNSET:
        fields["enabled"] = draft.enabled
    return fields


def required_of_channel(draft: ChannelDraft, problems: list[Problem]) -> None:
    """Add to `problems` what a new channel lacks."""
    at_fault = {problem.field for problem in problems}
    if draft.type is UNSET and "type" not in at_fault:
        problems.append(Problem("type", f"is required: one of {', '.join(TYPES)}"))
    if draft.target is UNSET and "target" not in at_fault:
        problems.append(Problem("target", "is required: the URL that alerts are sent to"))
    problems.sort(key=lambda problem: ("type", "target", "name", "enabled", problem.field).index(problem.field))


def checked(url: str, kind: ChannelType | None) -> str:
    """Return a target's URL; raise ValueError for one that nothing can be sent to. None of it is repeated."""
    try:
        target = check_url(url)
    except ValueError as err:
        reason = str(err)
        # What the complaint would quote may be the secret itself.
        raise ValueError(reason if "'" not in reason else "is not a valid http or https URL") from None
    if kind is ChannelType.NTFY and not target.target.partition("?")[0].strip("/"):
        raise ValueError("names no topic: expected a URL such as https://ntfy.sh/TOPIC")
    return url


def shown(channel: Channel) -> str:
    """Return as much of a target as anybody may see: its host, or the reference in the configuration file."""
    target = channel.target
    if channel.has_references:
        whole = REFERENCE.fullmatch(target)
        return target if whole and whole[2] else MASK
    scheme, _, rest = target.partition("://")
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    return f"{scheme}://{host}" if rest in (host, f"{host}/") else f"{scheme}://{host}/{MASK}"


def own_channel(channel: Channel) -> Channel:
    """Return a channel that an API may change; raise ConflictError for one that the configuration file declares."""
    if channel.source is Source.CONFIG:
        raise ConflictError(
            f'the channel "{channel.name}" is declared in the configuration file: change it there and reload',
            "managed_by_config",
        )
    return channel
