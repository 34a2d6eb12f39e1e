"""What a client may ask of a job, and the rules that turn it into one.

A draft is what came in, typed but not judged; each field is left out (`UNSET`), null (the default) or a
value. The names are those of the API.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from fliqd.core.durations import format_duration, parse_duration
from fliqd.core.headers import check_headers, check_size
from fliqd.core.model import ENDS, Dynamic, OnInterrupt
from fliqd.core.retry import LONGEST_WAIT_S, Backoff, BackoffKind
from fliqd.core.times import parse_time
from fliqd.core.urls import MAX_URL, check_url, with_query
from fliqd.errors import Problem

PAST_MS: Final = 60_000  # a time that recent means now
AHEAD_MS: Final = 3653 * 86_400_000  # ten years
MAX_KEY: Final = 256
DEDUPE_MS: Final = 86_400_000  # for how long work is known again
MAX_DEDUPE_MS: Final = 30 * DEDUPE_MS
MAX_TEXT: Final = 256
MAX_DESCRIPTION: Final = 4096
MAX_TAGS: Final = 32
MAX_TAG: Final = 64
MAX_RETRIES: Final = 100
MAX_DELAYS: Final = 100
EVENTS: Final = ("awaiting_approval", "started", "retrying", *ENDS)  # what a webhook may be told of
_QUEUE: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_FAMILY: Final = re.compile(r"[1-5]xx|[1-5][0-9][0-9]", re.ASCII)


class BackoffDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A backoff spelt out; durations as everywhere."""

    kind: Literal["exponential", "linear", "fixed", "table"]
    initial: int | float | str | None = None
    max: int | float | str | None = None
    jitter: int | float | None = None
    delays: list[int | float | str] | None = None


class RequestDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What is sent and what becomes of it: the fields that jobs and schedules share."""

    url: str | UnsetType | None = UNSET
    http_method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | UnsetType | None = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    query: dict[str, str] | UnsetType | None = UNSET
    body: str | UnsetType | None = UNSET
    json: msgspec.Raw | UnsetType = UNSET
    max_retries: int | UnsetType | None = UNSET
    backoff: Literal["exponential", "linear", "fixed"] | BackoffDraft | UnsetType | None = UNSET
    timeout_seconds: int | float | str | UnsetType | None = UNSET
    queue: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    on_interrupt: Literal["retry", "fail"] | UnsetType | None = UNSET
    success_statuses: list[int | str] | UnsetType | None = UNSET
    webhook_url: str | UnsetType | None = UNSET
    webhook_headers: dict[str, str] | UnsetType | None = UNSET
    webhook_events: list[str] | UnsetType | None = UNSET
    callback_url: str | UnsetType | None = UNSET
    requires_approval: bool | UnsetType | None = UNSET
    dynamic_fields: Literal["replace", "inject"] | UnsetType | None = UNSET


class JobDraft(RequestDraft, kw_only=True, gc=False):
    """The fields of `POST /v1/jobs` and `PATCH /v1/jobs/{id}`."""

    scheduled_at: str | UnsetType | None = UNSET
    delay: int | float | str | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET
    idempotency_key: str | UnsetType | None = UNSET
    dedupe_key: str | UnsetType | None = UNSET
    dedupe_window: int | float | str | UnsetType | None = UNSET


class Defaults(msgspec.Struct, frozen=True):
    """What a job or a schedule gets where it says nothing; from the configuration."""

    timeout_ms: int = 30_000
    max_retries: int = 0
    backoff: Backoff = Backoff()
    timezone: str = "UTC"


Reader = Callable[[Any, int, Defaults], dict[str, Any]]
Readers = tuple[tuple[str, Reader], ...]


def job_fields(draft: JobDraft, defaults: Defaults, now_ms: int, problems: list[Problem]) -> dict[str, Any]:
    """Return the job's fields for what the draft sets, adding to `problems` what is wrong with it."""
    fields = read_fields(draft, _JOB, defaults, now_ms, problems)
    if draft.scheduled_at and draft.delay not in (UNSET, None):
        problems.append(Problem("delay", "and scheduled_at exclude each other; give one of them"))
    if draft.dedupe_window not in (UNSET, None) and draft.dedupe_key in (UNSET, None):
        problems.append(Problem("dedupe_window", "goes with a dedupe_key"))
    elif "dedupe_key" in fields:
        fields.setdefault("dedupe_window_ms", DEDUPE_MS)
    return fields


def plain_fields(draft: JobDraft, now_ms: int) -> dict[str, Any] | None:
    """Return what `job_fields` does for a new job that asks for nothing rare and is right in all; None for any other.

    That is what most are, and going through the table takes four times as long.
    """
    url, when, delay, headers, count = draft.url, draft.scheduled_at, draft.delay, draft.headers, draft.max_retries
    if _rare(draft) != _UNASKED or not isinstance(url, str) or (when is UNSET) is (delay is UNSET) or count is None:
        return None
    try:
        due = _at(when, now_ms) if isinstance(when, str) else _delay(delay, now_ms)
        fields = {"url": url, "host": host_of(url), **due}
        if count is not UNSET:
            fields |= _max_retries(count)
    except ValueError:
        return None
    if headers is not UNSET:
        if headers is None or any(check_headers("headers", headers)):
            return None
        fields["headers"] = headers
    if isinstance(draft.http_method, str):
        fields["http_method"] = draft.http_method
    if isinstance(draft.json, msgspec.Raw):
        fields["body"] = bytes(draft.json)
        fields["body_is_json"] = True
    return fields


_COMMON: Final = frozenset({"url", "http_method", "scheduled_at", "delay", "headers", "json", "max_retries"})
# What a problem shows of: times, durations and names, but not URLs, bodies and headers.
_SHOWN: Final = frozenset({
    "scheduled_at", "delay", "expires_at", "starts_at", "ends_at", "timeout_seconds", "every", "jitter",
    "misfire_grace", "dedupe_window", "queue",
})  # fmt: skip
_RARE: Final = tuple(name for name in JobDraft.__struct_fields__ if name not in _COMMON)
_rare: Final = attrgetter(*_RARE)
_UNASKED: Final = (UNSET,) * len(_RARE)


def _told(name: str, value: object, problem: str) -> str:
    """Return a problem with the value that has it, where that is no secret and the problem does not show it."""
    if name not in _SHOWN or not problem.startswith(("expected ", "no such time")):
        return problem
    return f"got {msgspec.json.encode(value).decode()[:80]}, {problem}"


def read_fields(
    draft: RequestDraft, readers: Readers, defaults: Defaults, now_ms: int, problems: list[Problem]
) -> dict[str, Any]:
    """Return the fields of a record for what the draft sets, adding to `problems` what is wrong with it."""
    fields: dict[str, Any] = {}
    for name, read in readers:
        value = getattr(draft, name)
        if value is UNSET:
            continue
        try:
            fields.update(read(value, now_ms, defaults))
        except ValueError as err:
            problems.append(Problem(name, _told(name, value, str(err))))
    if draft.headers:
        problems += check_headers("headers", draft.headers)
    if draft.query:
        problems += check_size("query", draft.query)
    if draft.webhook_headers:
        problems += check_headers("webhook_headers", draft.webhook_headers)
    if draft.body is not UNSET or draft.json is not UNSET:
        fields |= content_fields(draft.body, draft.json, problems)
    return fields


def required(draft: JobDraft, problems: list[Problem]) -> None:
    """Add to `problems` what a new job lacks."""
    at_fault = {problem.field for problem in problems}
    if draft.url is UNSET and "url" not in at_fault:
        problems.append(Problem("url", "is required"))
    if (
        draft.scheduled_at in (UNSET, None)
        and draft.delay in (UNSET, None)
        and not at_fault & {"scheduled_at", "delay"}
    ):
        problems.append(Problem("scheduled_at", 'is required, or a delay such as "90s"'))
    problems += told_somewhere(draft, at_fault)


def told_somewhere(draft: RequestDraft, at_fault: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong with a new webhook that says what to tell, and not to whom."""
    says_what = draft.webhook_headers or draft.webhook_events
    if says_what and draft.webhook_url in (UNSET, None) and "webhook_url" not in at_fault:
        yield Problem("webhook_url", "is required with webhook_headers and webhook_events")


def together(*, url: str, query: dict[str, str], scheduled_ms: int, expires_ms: int | None) -> Iterator[Problem]:
    """Yield what is wrong with values that are right one by one."""
    if expires_ms is not None and expires_ms < scheduled_ms:
        yield Problem("expires_at", "is before the job is due, so it could never run")
    yield from whole_url(url, query)


def whole_url(url: str, query: dict[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with a URL and its query together."""
    if query and len(with_query(url, query.items())) > MAX_URL:
        yield Problem("query", f"makes the URL longer than {MAX_URL} characters")


def in_order(problems: list[Problem], order: Mapping[str, int] | None = None) -> list[Problem]:
    """Sort problems by the fields' order, so that the first one is the first wrong field."""
    places = ORDER if order is None else order
    return sorted(problems, key=lambda problem: places.get(problem.field.partition(".")[0], len(places)))


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """Return the host:port that a URL's requests go to; raise ValueError for what is no URL, as `check_url` does.

    Remembered, since most jobs go where others went before.
    """
    target = check_url(url)
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def _url(url: str | None) -> dict[str, Any]:
    if url is None:
        raise ValueError("is required")
    return {"url": url, "host": host_of(url)}


def _told_url(name: str) -> Reader:
    def read(url: str) -> dict[str, Any]:
        host_of(url)
        return {name: url}

    return or_default(name, None, read)


def _events(words: list[str]) -> dict[str, Any]:
    if not words or not set(words) <= set(EVENTS):
        raise ValueError(f"expected some of {', '.join(EVENTS)}")
    return {"webhook_events": tuple(event for event in EVENTS if event in words)}


def _at(text: str, now_ms: int) -> dict[str, Any]:
    due_ms = parse_time(text)
    if due_ms < now_ms - PAST_MS:
        raise ValueError("must be in the future (up to 60 s in the past means now)")
    if due_ms > now_ms + AHEAD_MS:
        raise ValueError("is more than 10 years ahead")
    return {"scheduled_ms": due_ms, "next_attempt_ms": max(due_ms, now_ms)}


def _delay(value: object, now_ms: int) -> dict[str, Any]:
    delay_ms = parse_duration(value)
    if delay_ms > AHEAD_MS:
        raise ValueError("is more than 10 years")
    return {"scheduled_ms": now_ms + delay_ms, "next_attempt_ms": now_ms + delay_ms}


def content_fields(
    body: str | UnsetType | None, json: msgspec.Raw | UnsetType, problems: list[Problem]
) -> dict[str, Any]:
    """Return the fields of what is sent: a text, or JSON byte for byte as it came."""
    if body not in (UNSET, None) and json is not UNSET:
        problems.append(Problem("json", "and body exclude each other; give one of them"))
        return {}
    if isinstance(json, msgspec.Raw):
        return {"body": bytes(json), "body_is_json": True}
    return {"body": body.encode() if isinstance(body, str) else None, "body_is_json": False}


def _max_retries(count: int) -> dict[str, Any]:
    if not 0 <= count <= MAX_RETRIES:
        raise ValueError(f"got {count}, expected a whole number from 0 to {MAX_RETRIES}")
    return {"max_retries": count}


def _timeout(value: object) -> dict[str, Any]:
    timeout_ms = parse_duration(value)
    if not 1_000 <= timeout_ms <= 3_600_000:  # noqa: PLR2004 -- the range in the message
        raise ValueError(f"got {format_duration(timeout_ms)}, expected 1 to 3600 seconds")
    return {"timeout_ms": timeout_ms}


def _wait(name: str, value: object) -> float:
    seconds = parse_duration(value) / 1000
    if seconds > LONGEST_WAIT_S:
        raise ValueError(f"{name} is longer than 24 hours")
    return seconds


def _backoff(value: str | BackoffDraft) -> dict[str, Any]:
    if isinstance(value, str):
        return {"backoff": Backoff(kind=BackoffKind(value))}
    if (value.kind == "table") != bool(value.delays):
        raise ValueError('"delays" go with the kind "table", which needs at least one')
    if value.delays and len(value.delays) > MAX_DELAYS:
        raise ValueError(f"at most {MAX_DELAYS} delays")
    if value.jitter is not None and not 0 <= value.jitter <= 1:
        raise ValueError(f"got a jitter of {value.jitter}, expected 0 to 1")
    backoff = Backoff(
        kind=BackoffKind(value.kind),
        initial_s=30.0 if value.initial is None else _wait("initial", value.initial),
        max_s=None if value.max is None else _wait("max", value.max),
        jitter=None if value.jitter is None else float(value.jitter),
        delays_s=tuple(_wait("a delay", delay) for delay in value.delays or ()),
    )
    return {"backoff": backoff}


def _window(value: object) -> dict[str, Any]:
    window_ms = parse_duration(value)
    if not 1_000 <= window_ms <= MAX_DEDUPE_MS:  # noqa: PLR2004 -- the range in the message
        raise ValueError(f"got {format_duration(window_ms)}, expected 1 second to {format_duration(MAX_DEDUPE_MS)}")
    return {"dedupe_window_ms": window_ms}


def _text(text: str, longest: int) -> str:
    if not 1 <= len(text) <= longest:
        raise ValueError(f"expected 1 to {longest} characters, got {len(text)}")
    return text


def _queue(name: str) -> dict[str, Any]:
    if not _QUEUE.fullmatch(name):
        raise ValueError("expected 1 to 64 of the characters a-z A-Z 0-9 _ -")
    return {"queue": name}


def _tags(tags: list[str]) -> dict[str, Any]:
    if len(tags) > MAX_TAGS or any(not 1 <= len(tag) <= MAX_TAG for tag in tags):
        raise ValueError(f"expected at most {MAX_TAGS} tags of 1 to {MAX_TAG} characters")
    return {"tags": tuple(dict.fromkeys(tags))}


def _success(statuses: list[int | str]) -> dict[str, Any]:
    words = tuple(dict.fromkeys(str(status) for status in statuses))
    if not words or not all(_FAMILY.fullmatch(word) for word in words):
        raise ValueError('expected statuses such as ["2xx", 409]')
    return {"success_statuses": words}


def or_default(name: str, default: Any, read: Callable[[Any], dict[str, Any]]) -> Reader:
    """Read a field whose null means its default."""
    return lambda value, _now_ms, _defaults: {name: default} if value is None else read(value)


def _or_nothing(read: Callable[[Any, int], dict[str, Any]]) -> Reader:
    """Read a field whose null means that it is left out."""
    return lambda value, now_ms, _defaults: {} if value is None else read(value, now_ms)


def _or_configured(name: str, read: Callable[[Any], dict[str, Any]]) -> Reader:
    """Read a field whose null means what the configuration says."""
    return lambda value, _now_ms, defaults: {name: getattr(defaults, name)} if value is None else read(value)


# How each field is read, in the order in which problems are told.
REQUEST: Final[Readers] = (
    ("url", lambda url, _now_ms, _defaults: _url(url)),
    ("http_method", or_default("http_method", "POST", lambda method: {"http_method": method})),
    ("headers", or_default("headers", {}, lambda headers: {"headers": headers})),
    ("query", or_default("query", {}, lambda query: {"query": query})),
    ("max_retries", _or_configured("max_retries", _max_retries)),
    ("backoff", _or_configured("backoff", _backoff)),
    ("timeout_seconds", _or_configured("timeout_ms", _timeout)),
    ("queue", or_default("queue", "default", _queue)),
    ("name", or_default("name", None, lambda text: {"name": _text(text, MAX_TEXT)})),
    ("description", or_default("description", None, lambda text: {"description": _text(text, MAX_DESCRIPTION)})),
    ("tags", or_default("tags", (), _tags)),
    ("on_interrupt", or_default("on_interrupt", OnInterrupt.RETRY, lambda word: {"on_interrupt": OnInterrupt(word)})),
    ("success_statuses", or_default("success_statuses", ("2xx",), _success)),
    ("webhook_url", _told_url("webhook_url")),
    ("webhook_headers", or_default("webhook_headers", {}, lambda headers: {"webhook_headers": headers})),
    ("webhook_events", or_default("webhook_events", ENDS, _events)),
    ("callback_url", _told_url("callback_url")),
    ("requires_approval", or_default("requires_approval", default=False, read=lambda yes: {"requires_approval": yes})),
    ("dynamic_fields", or_default("dynamic_fields", None, lambda word: {"dynamic_fields": Dynamic(word)})),
)
_JOB: Final[Readers] = (
    *REQUEST[:2],
    ("scheduled_at", _or_nothing(_at)),
    ("delay", _or_nothing(_delay)),
    *REQUEST[2:],
    ("expires_at", or_default("expires_ms", None, lambda text: {"expires_ms": parse_time(text)})),
    ("idempotency_key", _or_nothing(lambda key, _now_ms: {"idempotency_key": _text(key, MAX_KEY)})),
    ("dedupe_key", _or_nothing(lambda key, _now_ms: {"dedupe_key": _text(key, MAX_KEY)})),
    ("dedupe_window", _or_nothing(lambda value, _now_ms: _window(value))),
)
# What is not read through a table, and where it stands among the rest.
ORDER: Final = {name: index for index, (name, _) in enumerate((*_JOB[:6], ("body", None), ("json", None), *_JOB[6:]))}
