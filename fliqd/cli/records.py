"""What an export holds: a table of the kinds of records, and how each is made again.

The first line says that it is an export, the last one how many records came before it, so that one which was cut off is
told from a whole one.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from fliqd.cli.batch_file import Entry
from fliqd.core.buffers import BufferDraft, ItemDraft
from fliqd.core.drafts import JobDraft
from fliqd.core.queues import QueueDraft
from fliqd.core.times import parse_time

FORMAT: Final = 1
HEAD, END, JOB, EXECUTION = "export", "end", "job", "execution"
MASK: Final = "***"  # what a token that may only read sees of a secret
WAITING: Final = "scheduled"
UNAPPROVED: Final = "awaiting_approval"
ITEM_WAITS: Final = "pending"
IMPORTABLE: Final = (WAITING, UNAPPROVED, "running", "failed")
_PAST_MS: Final = 60_000  # the API takes a time that recent

Record = Mapping[str, msgspec.Raw]


class Choices(NamedTuple):
    """What of an export is made again."""

    statuses: frozenset[str] = frozenset({WAITING, UNAPPROVED})
    skip_late: bool = False


class LeftOut(NamedTuple):
    """A record that is not made again, and why."""

    why: str


class Kind(NamedTuple):
    """Records of one kind: where they are listed and made, and what of one a create takes."""

    many: str  # the key of the list, and the last part of its path
    fields: tuple[str, ...]
    adapt: Callable[[Record, Choices, int], dict[str, Any] | LeftOut]  # what differs from the record in its create
    in_batches: bool  # whether there is a call that makes many
    details: tuple[str, str] | None = None  # (kind, key) of a list below each
    by_name: bool = False  # it has no id: it is where its name says, and its list has no pages
    below: str = ""  # the kind of what it belongs to


def job_again(job: Record, choices: Choices, now_ms: int) -> dict[str, Any] | LeftOut:
    """Say what a job's create has that the job has not; None for what it has no more."""
    status = _text(job, "status")
    if status not in choices.statuses:
        return LeftOut(str(status))
    if masked := masked_headers(job):
        raise ValueError(f"{masked[0]}: was masked at the export; export with a token that may write")
    changes: dict[str, Any] = {"idempotency_key": _text(job, "idempotency_key") or f"import:{_text(job, 'id')}"}
    due = _text(job, "next_attempt_at") or _text(job, "scheduled_at")
    due_ms = parse_time(due or "")
    if status in (WAITING, UNAPPROVED) and due_ms >= now_ms - _PAST_MS:
        changes["scheduled_at"] = due
    elif status in (WAITING, UNAPPROVED) and choices.skip_late:
        return LeftOut("late")
    else:
        changes |= {"scheduled_at": None, "delay": 0}
        due_ms = now_ms
    expires = _text(job, "expires_at")
    if expires is not None and parse_time(expires) < due_ms:
        return LeftOut("expired")
    if _text(job, "approved_at") is not None:
        changes["requires_approval"] = None  # somebody has let it go
    if status != "failed":
        spent = msgspec.json.decode(job.get("attempts", b"0"), type=int)
        changes["max_retries"] = max(0, msgspec.json.decode(job.get("max_retries", b"0"), type=int) - spent)
    return changes


def queue_again(queue: Record, _choices: Choices, _now_ms: int) -> dict[str, Any] | LeftOut:
    """Say what a queue's limits have that the queue has not."""
    if _text(queue, "source") == "config":
        return LeftOut("of a configuration file")
    return {} if has_limits(queue) else LeftOut("without limits")


def has_limits(queue: Record) -> bool:
    """Tell whether there is something to set."""
    return any(bytes(queue.get(name, b"null")) not in (b"null", b"false") for name in ("concurrency", "rate", "paused"))


def buffer_again(buffer: Record, _choices: Choices, _now_ms: int) -> dict[str, Any] | LeftOut:
    """Say what a buffer's create has that the buffer has not."""
    if _text(buffer, "source") == "config":
        return LeftOut("of a configuration file")
    if masked := masked_headers(buffer):
        raise ValueError(f"{masked[0]}: was masked at the export; export with a token that may write")
    return {}


def item_again(item: Record, _choices: Choices, _now_ms: int) -> dict[str, Any] | LeftOut:
    """Say what an item's push has that the item has not."""
    if (status := _text(item, "status")) != ITEM_WAITS:
        return LeftOut(str(status))
    if masked := masked_headers(item):
        raise ValueError(f"{masked[0]}: was masked at the export; export with a token that may write")
    return {"idempotency_key": _text(item, "idempotency_key") or f"import:{_text(item, 'id')}"}


def own_headers(item: Record, buffer: Record) -> Record:
    """Return an item without the headers that it has of its buffer: it gets them there again."""
    try:
        given = msgspec.json.decode(buffer.get("headers", b"{}"), type=dict[str, str])
        headers = msgspec.json.decode(item.get("headers", b"{}"), type=dict[str, str])
    except msgspec.MsgspecError as err:
        raise ValueError(f"is no record of an export: headers: {err}") from err
    own = {name: value for name, value in headers.items() if given.get(name) != value}
    return {**item, "headers": msgspec.Raw(msgspec.json.encode(own))}


# The one place to name another kind in; they are exported and imported in this order.
KINDS: Final[dict[str, Kind]] = {
    "queue": Kind("queues", QueueDraft.__struct_fields__, queue_again, in_batches=False, by_name=True),
    "buffer": Kind("buffers", BufferDraft.__struct_fields__, buffer_again, in_batches=False),
    "item": Kind("items", ItemDraft.__struct_fields__, item_again, in_batches=True, below="buffer"),
    "job": Kind("jobs", JobDraft.__struct_fields__, job_again, in_batches=True, details=(EXECUTION, "executions")),
}


def create_of(name: str, record: Record, choices: Choices, now_ms: int) -> bytes | LeftOut:
    """Return the document that makes a record of this kind again; raise ValueError for one that cannot be."""
    if name not in KINDS:
        raise ValueError(f"has the kind {name!r}, which this version does not know")
    kind = KINDS[name]
    try:
        changes = kind.adapt(record, choices, now_ms)
        if isinstance(changes, LeftOut):
            return changes
        same = {name: record[name] for name in kind.fields if bytes(record.get(name, b"null")) != b"null"}
        sent = {name: value for name, value in (same | changes).items() if value is not None}
        return msgspec.json.encode(sent)
    except msgspec.MsgspecError as err:
        raise ValueError(f"is no record of an export: {err}") from err


def line(kind: str, record: msgspec.Raw) -> bytes:
    """Write a record as one line: line breaks inside are between tokens, and become spaces."""
    text = bytes(record)
    if b"\n" in text or b"\r" in text:
        text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    return b'{"kind":"%s","%s":%s}\n' % (kind.encode(), kind.encode(), text)


def parse(entry: Entry) -> tuple[str, Record]:
    """Return the kind of a line and what it holds; raise ValueError."""
    if entry.problem is not None:
        raise ValueError(entry.problem)
    try:
        top = msgspec.json.decode(entry.text, type=dict[str, msgspec.Raw])
        kind = _text(top, "kind")
        if kind is None:
            raise ValueError("has no kind: it is no line of an export; plain jobs go to `fliqd jobs create --batch`")
        if kind not in top:
            return kind, top
        return kind, msgspec.json.decode(top[kind], type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as err:
        raise ValueError(f"is no line of an export: {err}") from err


def masked_headers(record: Record) -> list[str]:
    """Return the headers, such as `headers.Cookie`, whose values the export was not shown."""
    masked = []
    for field in ("headers", "webhook_headers"):
        headers = msgspec.json.decode(record.get(field, b"{}"), type=dict[str, Any])
        masked += [f"{field}.{name}" for name, value in headers.items() if value == MASK]
    return masked


def _text(record: Record, name: str) -> str | None:
    return msgspec.json.decode(record.get(name, b"null"), type=str | None)
