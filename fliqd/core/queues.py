"""What a queue is: a name that jobs carry, and what limits those that carry it."""

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fliqd.core.model import Source
from fliqd.core.pacing import out_of_range
from fliqd.errors import Problem

NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
MOST: Final = 10_000  # requests under way at once
SLOWEST: Final = 0.001  # requests a second
FASTEST: Final = 100_000


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that somebody has set limits for; None is no limit of its own."""

    name: str
    concurrency: int | None = None
    rate: float | None = None  # requests a second
    paused_ms: int | None = None
    source: Source = Source.API
    created_ms: int
    updated_ms: int

    @property
    def unlimited(self) -> bool:
        """Whether it lets everything through."""
        return self.concurrency is None and self.rate is None and self.paused_ms is None


DEFINED_OF_QUEUE: Final = ("concurrency", "rate")


class QueueDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of `PUT` and `PATCH /v1/queues/{name}`, and of `[[queues]]`."""

    name: str | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    rate: int | float | UnsetType | None = UNSET
    paused: bool | UnsetType | None = UNSET


def queue_fields(draft: QueueDraft, problems: list[Problem]) -> dict[str, Any]:
    """Return the queue's fields for what the draft sets, adding to `problems` what is wrong with it."""
    fields: dict[str, Any] = {}
    if isinstance(draft.concurrency, int) and not 1 <= draft.concurrency <= MOST:
        problems.append(Problem("concurrency", f"got {draft.concurrency}, expected a whole number from 1 to {MOST}"))
    elif draft.concurrency is not UNSET:
        fields["concurrency"] = draft.concurrency
    if isinstance(draft.rate, int | float) and not SLOWEST <= draft.rate <= FASTEST:
        problems.append(Problem("rate", out_of_range(draft.rate, SLOWEST, FASTEST)))
    elif draft.rate is not UNSET:
        fields["rate"] = None if draft.rate is None else float(draft.rate)
    return fields
