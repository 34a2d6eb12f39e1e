"""What a buffer is: a target with a rate, whose items leave one at a time, in order."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fliqd.core.drafts import (
    REQUEST,
    Defaults,
    Readers,
    RequestDraft,
    or_default,
    read_fields,
)
from fliqd.core.model import ENDS, HELD_MS, NO_QUEUE, Job, OnInterrupt, Source, lane_of
from fliqd.core.pacing import Bucket, out_of_range, spend
from fliqd.core.references import escape
from fliqd.core.retry import Backoff
from fliqd.core.stand_ins import NATIVE
from fliqd.errors import Problem

SLOWEST: Final = 0.001  # requests a second
FASTEST: Final = 1000
DEFAULT_RATE: Final = 10.0
DEFAULT_RETRIES: Final = 3
# The keys of items are a range of their own, above those of jobs: lists of jobs need not step over them.
FIRST_ITEM_PK: Final = 10**17


class Buffer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A target with a rate. The field names are the columns of the store."""

    pk: int = 0
    id: str
    name: str
    source: Source = Source.API
    dialect: str = "v1"
    token_id: str | None = None

    url: str
    host: str
    http_method: str = "POST"
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    has_references: bool = False
    timeout_ms: int = 30_000
    max_retries: int = DEFAULT_RETRIES
    backoff: Backoff = Backoff()
    success_statuses: tuple[str, ...] = ("2xx",)
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    description: str | None = None
    rate_limit: float = DEFAULT_RATE

    created_ms: int
    updated_ms: int
    deleted_ms: int | None = None
    paused_ms: int | None = None
    tokens: float
    tokens_ms: int
    head_next_ms: int | None = None  # when its first item is due, but for the rate and pauses
    completed: int = 0
    failed: int = 0

    # who is told of its items
    webhook_url: str | None = None
    webhook_headers: dict[str, str] = {}
    webhook_events: tuple[str, ...] = ENDS
    callback_url: str | None = None  # gets what the target answered


# What an item takes from its buffer as it is.
TAKEN: Final = (
    "token_id", "url", "host", "http_method", "query", "timeout_ms", "max_retries", "backoff", "success_statuses",
    "on_interrupt", "webhook_url", "webhook_headers", "webhook_events", "callback_url",
)  # fmt: skip
DEFINED_OF_BUFFER: Final = (
    "url", "host", "http_method", "headers", "query", "has_references", "timeout_ms", "max_retries", "backoff",
    "success_statuses", "on_interrupt", "description", "rate_limit", "webhook_url", "webhook_headers", "webhook_events",
    "callback_url",
)  # fmt: skip


class BufferDraft(RequestDraft, kw_only=True, gc=False):
    """The fields of `POST /v1/buffers`, `PATCH /v1/buffers/{id}` and `[[buffers]]`."""

    rate_limit: int | float | UnsetType | None = UNSET
    paused: bool | UnsetType | None = UNSET


class ItemDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The fields of `POST /v1/buffers/{id}/items`."""

    body: str | UnsetType | None = UNSET
    json: msgspec.Raw | UnsetType = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    idempotency_key: str | UnsetType | None = UNSET


NOT_OF_A_BUFFER: Final = {
    "body": "is an item's",
    "json": "is an item's",
    "queue": "a buffer is its own lane",
    "tags": "only jobs and schedules have some",
    "requires_approval": "only jobs and schedules wait for somebody",
    "dynamic_fields": "an item's body is sent as it was pushed",
}


def buffer_fields(draft: BufferDraft, defaults: Defaults, now_ms: int, problems: list[Problem]) -> dict[str, Any]:
    """Return the buffer's fields for what the draft sets, adding to `problems` what is wrong with it."""
    fields = read_fields(draft, _BUFFER, defaults, now_ms, problems)
    problems += [Problem(name, text) for name, text in NOT_OF_A_BUFFER.items() if getattr(draft, name) is not UNSET]
    return fields


def released(buffer: Buffer, due_ms: int, now_ms: int) -> tuple[Buffer, int]:
    """Give the first item of a buffer its time: not before `due_ms`, nor before the rate allows it; held in a pause."""
    if buffer.paused_ms is not None or buffer.deleted_ms is not None:
        return msgspec.structs.replace(buffer, head_next_ms=due_ms), HELD_MS
    bucket, next_ms = spend(Bucket(buffer.tokens, buffer.tokens_ms), buffer.rate_limit, max(due_ms, now_ms))
    return msgspec.structs.replace(buffer, tokens=bucket.tokens, tokens_ms=bucket.at_ms, head_next_ms=due_ms), next_ms


def released_anew(buffer: Buffer, next_ms: int, now_ms: int) -> tuple[Buffer, int]:
    """Do so for a first item that waits since `next_ms` was its time, after the buffer's pause or rate has changed.

    It gives back the token that it has and never used, or each pause would cost a turn.
    """
    if next_ms != HELD_MS:
        buffer = msgspec.structs.replace(buffer, tokens=buffer.tokens + 1)
    return released(buffer, now_ms if buffer.head_next_ms is None else buffer.head_next_ms, now_ms)


def dialect_of(buffer: Buffer) -> str:
    """Return the dialect of items: their buffer's id, below the stand-in API that the buffer came in through."""
    return buffer.id if buffer.dialect == NATIVE else f"{buffer.dialect}.{buffer.id}"


def item_of(buffer: Buffer, *, item_id: str, fields: dict[str, Any], now_ms: int) -> Job:
    """Return a new item; it waits for those before it until the store finds that there are none."""
    taken: dict[str, Any] = {name: getattr(buffer, name) for name in TAKEN}
    headers = fields.pop("headers", {})
    if buffer.has_references:
        headers = {name: escape(value) for name, value in headers.items()}  # an item's own are literal
    own = {name.lower() for name in headers}
    merged = {name: value for name, value in buffer.headers.items() if name.lower() not in own} | headers
    return Job(
        id=item_id,
        dialect=dialect_of(buffer),  # within which idempotency keys are unique
        buffer_id=buffer.id,
        lane=lane_of(NO_QUEUE, buffer.host),
        headers=merged,
        scheduled_ms=now_ms,
        created_ms=now_ms,
        updated_ms=now_ms,
        next_attempt_ms=HELD_MS,
        has_references=buffer.has_references,
        **taken,
        **fields,
    )


def _rate(value: float) -> dict[str, Any]:
    if not SLOWEST <= value <= FASTEST:
        raise ValueError(out_of_range(value, SLOWEST, FASTEST))
    return {"rate_limit": float(value)}


_BUFFER: Final[Readers] = (
    *REQUEST,
    ("rate_limit", or_default("rate_limit", DEFAULT_RATE, _rate)),
)
BUFFER_ORDER: Final = {name: index for index, name in enumerate([*(name for name, _ in _BUFFER), "paused"])}
