"""What is asked in Fliq's words, put into ours; and what is wrong with it, put back into Fliq's."""

import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from fliqd.core.buffers import BufferDraft, ItemDraft
from fliqd.core.channels import ChannelDraft
from fliqd.core.drafts import JobDraft
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.dialects.fliq import cron
from fliqd.errors import InvalidError, Problem

T = TypeVar("T")
Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
MOST_RETRIES: Final = 20
TYPES: Final = ("webhook", "slack")
TWINS: Final = {"http_method": "method", "cron": "cron_expr"}  # the pages' name, which drafts share, and the library's
# Headers that Fliq takes and does not send: those that a Go client sets itself, and its own.
# What messages advise that Fliq does not have.
_ALONE_IN_V1: Final = re.compile(r", or (?:a delay|every,) such as \"[^\"]*\"")
_NOT_SENT: Final = frozenset({"host", "content-length", "transfer-encoding", "trailer"})


class _Request(msgspec.Struct, kw_only=True):
    """What jobs, schedules and buffers share; `method` is the library's name, `http_method` that of the pages."""

    url: str | UnsetType | None = UNSET
    method: Verb | UnsetType | None = UNSET
    http_method: Verb | UnsetType | None = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    max_retries: int | UnsetType | None = UNSET
    timeout_seconds: int | UnsetType | None = UNSET
    backoff: Literal["exponential", "linear"] | UnsetType | None = UNSET
    webhook_url: str | UnsetType | None = UNSET
    webhook_headers: dict[str, str] | UnsetType | None = UNSET


class NewJob(_Request, kw_only=True):
    """The fields of `POST /jobs`."""

    scheduled_at: str | UnsetType | None = UNSET
    body: str | UnsetType | None = UNSET
    idempotency_key: str | UnsetType | None = UNSET


class NewSchedule(_Request, kw_only=True):
    """The fields of `POST /schedules`; `cron_expr` is the library's name, `cron` that of the pages."""

    name: str | UnsetType | None = UNSET
    cron_expr: str | UnsetType | None = UNSET
    cron: str | UnsetType | None = UNSET
    body: str | UnsetType | None = UNSET


class NewBuffer(_Request, kw_only=True):
    """The fields of `POST /buffers`."""

    name: str | UnsetType | None = UNSET
    rate_limit: int | float | UnsetType | None = UNSET


class NewItem(msgspec.Struct, kw_only=True):
    """The fields of `POST /buffers/{id}/items`."""

    body: str | UnsetType | None = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    idempotency_key: str | UnsetType | None = UNSET


class NewChannel(msgspec.Struct, kw_only=True):
    """The fields of `POST /alerts`."""

    type: str | UnsetType | None = UNSET
    target: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET


class ChannelState(msgspec.Struct, kw_only=True):
    """The field of `PATCH /alerts/{id}`."""

    enabled: bool | UnsetType = UNSET


class NewToken(msgspec.Struct, kw_only=True):
    """The field of `POST /tokens`."""

    name: str = ""


class Checkout(msgspec.Struct, kw_only=True):
    """The field of `POST /billing/checkout`."""

    credits: int = 0


def job_draft(asked: NewJob, problems: list[Problem]) -> JobDraft:
    """Return the draft of a job, adding to `problems` what is wrong with it by Fliq's own rules."""
    return JobDraft(
        **_request(asked, problems),
        body=asked.body,
        scheduled_at=asked.scheduled_at,
        idempotency_key=asked.idempotency_key or UNSET,
    )


def schedule_draft(asked: NewSchedule, problems: list[Problem]) -> ScheduleDraft:
    """Return the draft of a schedule; it makes a job for each due time, whether or not the one before has ended."""
    expression = _either(asked.cron_expr, asked.cron)
    timing: dict[str, Any] = {}
    if isinstance(expression, str):
        try:
            timing = cron.read(expression)
        except ValueError as err:
            problems.append(Problem("cron", str(err)))
    return ScheduleDraft(
        **_request(asked, problems), **timing, body=asked.body, name=asked.name or UNSET, overlap="allow"
    )


def buffer_draft(asked: NewBuffer, problems: list[Problem]) -> BufferDraft:
    """Return the draft of a buffer."""
    return BufferDraft(**_request(asked, problems), name=asked.name or UNSET, rate_limit=asked.rate_limit)


def item_draft(asked: NewItem) -> ItemDraft:
    """Return the draft of an item."""
    return ItemDraft(body=asked.body, headers=_sent(asked.headers), idempotency_key=asked.idempotency_key or UNSET)


def channel_draft(asked: NewChannel, problems: list[Problem]) -> ChannelDraft:
    """Return the draft of a channel: of the types there are, Fliq knows two."""
    kind = asked.type
    if isinstance(kind, str) and kind not in TYPES:
        problems.append(Problem("type", f"expected one of {', '.join(TYPES)}"))
        kind = UNSET
    return ChannelDraft(type=kind, target=asked.target, name=asked.name or UNSET)


def names_in(asked: msgspec.Struct, problems: Sequence[Problem]) -> dict[str, str]:
    """Return by which names a document has what a draft has by others."""
    named = {problem.field for problem in problems}
    names = {
        ours: theirs for ours, theirs in TWINS.items() if getattr(asked, theirs, UNSET) is not UNSET or theirs in named
    }
    return names | dict.fromkeys(("every", "timezone"), names.get("cron", "cron"))


def in_our_words(problems: Sequence[Problem]) -> list[Problem]:
    """Return what is wrong with single fields of a document by the names that a draft has for them."""
    return [_renamed(problem, {theirs: ours for ours, theirs in TWINS.items()}) for problem in problems]


async def in_their_words(names: Mapping[str, str], making: Awaitable[T]) -> T:
    """Await what is made of a document; raise its InvalidError with the names that the document has used."""
    try:
        return await making
    except InvalidError as err:
        raise InvalidError([_renamed(problem, names) for problem in err.problems]) from err


def _request(asked: _Request, problems: list[Problem]) -> dict[str, Any]:
    retries = asked.max_retries
    if isinstance(retries, int) and not 0 <= retries <= MOST_RETRIES:
        problems.append(Problem("max_retries", f"got {retries}, expected a whole number from 0 to {MOST_RETRIES}"))
        retries = UNSET
    told = asked.webhook_url or UNSET
    return {
        "url": asked.url,
        "http_method": _either(asked.method, asked.http_method),
        "headers": _sent(asked.headers),
        "max_retries": retries,
        "timeout_seconds": asked.timeout_seconds,
        "backoff": asked.backoff,
        "webhook_url": told,
        # Without anybody to tell, they go nowhere.
        "webhook_headers": _sent(asked.webhook_headers) if told is not UNSET else UNSET,
    }


def _either(first: Any, second: Any) -> Any:
    return second if first in (UNSET, None) else first


def _sent(headers: dict[str, str] | UnsetType | None) -> dict[str, str] | UnsetType | None:
    if not isinstance(headers, dict):
        return headers
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _NOT_SENT and not name.lower().startswith("x-fliq-")
    }


def _renamed(problem: Problem, names: Mapping[str, str]) -> Problem:
    text = _ALONE_IN_V1.sub("", problem.problem)
    return Problem(names.get(problem.field, problem.field), text, problem.code)
