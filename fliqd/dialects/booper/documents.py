"""What a create asks for, as drafts of a job or of a schedule."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, UnsetType

from fliqd.core.decoding import decode
from fliqd.core.drafts import MAX_KEY, PAST_MS, JobDraft
from fliqd.core.durations import LONGEST_MS, UNIT_MS
from fliqd.core.headers import MAX_COUNT
from fliqd.core.model import ENDS
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.core.times import LAST_MS, format_time, parse_time
from fliqd.errors import Problem
from fliqd.service.jobs import Asked
from fliqd.service.schedules import AskedSchedule

METHODS: Final = ("get", "post", "put", "patch", "delete")
UNITS: Final = {
    "second": UNIT_MS["s"],
    "minute": UNIT_MS["m"],
    "hour": UNIT_MS["h"],
    "day": UNIT_MS["d"],
    "week": UNIT_MS["w"],
}
MILLISECONDS_ABOVE: Final = 10**11  # such a number is no time in seconds: that would be in the year 5138
TOLD: Final = ("started", "retrying", *ENDS)  # at which of our events Booper's are told
MAX_RETRIES: Final = 3  # with growing waits; the pages do not say
_NO_ZONE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?", re.ASCII)
_EXPECTED: Final = 'expected a number of seconds, or a list such as [5, "minutes"]'
Wait = int | float | tuple[int | float, str]


class Create(msgspec.Struct, kw_only=True, gc=False):
    """The fields of `POST /api/jobs`; null is as good as none."""

    method: str | None = None
    url: str | UnsetType | None = UNSET
    query: msgspec.Raw | UnsetType = UNSET
    body: msgspec.Raw | UnsetType = UNSET
    headers: dict[str, str | int | float | bool] | None = None
    schedule_in: Wait | None = None
    scheduled_at: str | int | float | None = None
    repeat_every: Wait | None = None
    cron: str | None = None
    idempotency_key: str | None = None
    callback_url: str | None = None
    webhook_url: str | None = None
    name: str | None = None
    description: str | None = None


class Kept(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is kept of a create to be shown again: as it was sent, where the job itself has it in other words."""

    query: msgspec.Raw | UnsetType = UNSET
    schedule_in: Any = None
    scheduled_at: Any = None
    repeat_every: Any = None
    cron: str | None = None
    name: str | None = None  # of a recurring job, whose schedule may have had to take another


class Wanted(NamedTuple):
    """What a create asks for: a job, or a schedule and its first job."""

    asked: Asked | AskedSchedule
    idempotency_key: str | None
    raw: bytes  # what is kept to be shown again


class When(NamedTuple):
    """When the first run is asked for: an instant, or after a wait; None where nothing is said."""

    at_ms: int | None = None
    wait_ms: int | None = None


def read(body: bytes, *, now_ms: int, dynamic_fields: bool) -> Wanted:
    """Read the body of a create; raise InvalidError where that is no JSON object."""
    document, problems = decode(body, Create)
    when = _when(document, problems)
    fields = _request(document, problems, dynamic_fields=dynamic_fields)
    asked: Asked | AskedSchedule
    if document.repeat_every is None and document.cron is None:
        asked = Asked(_job(document, fields, when), problems)
    else:
        asked = AskedSchedule(_schedule(document, fields, when, now_ms, problems), problems)
    return Wanted(asked, document.idempotency_key, _kept(document))


def kept(raw: bytes | None) -> Kept:
    """Read what was kept of a create."""
    return Kept() if raw is None else msgspec.json.decode(raw, type=Kept)


def _kept(document: Create) -> bytes:
    part = Kept(
        query=UNSET if _is_null(document.query) else document.query,
        schedule_in=document.schedule_in,
        scheduled_at=document.scheduled_at,
        repeat_every=document.repeat_every,
        cron=document.cron,
        name=document.name,
    )
    return msgspec.json.encode(part)


def _request(document: Create, problems: list[Problem], *, dynamic_fields: bool) -> dict[str, Any]:
    """Return what jobs and schedules are asked in the same words: the request, its retries, who is told."""
    fields: dict[str, Any] = {
        "url": document.url,
        "http_method": _method(document.method, problems),
        "query": _query(document.query, problems),
        "headers": {name: _text(value) for name, value in (document.headers or {}).items()},
        "max_retries": MAX_RETRIES,
        "backoff": "exponential",
        "timeout_seconds": 30,
        "name": document.name or None,
        "description": document.description or None,
        "callback_url": document.callback_url,
        "dynamic_fields": "inject" if dynamic_fields else None,
    }
    if document.webhook_url is not None:
        fields |= {"webhook_url": document.webhook_url, "webhook_events": list(TOLD)}
    if isinstance(document.body, msgspec.Raw) and not _is_null(document.body):
        is_text = bytes(document.body).startswith(b'"')  # which is sent as it is, all else as JSON
        fields |= {"body": msgspec.json.decode(document.body)} if is_text else {"json": document.body}
    return fields


def _job(document: Create, fields: dict[str, Any], when: When) -> JobDraft:
    draft = JobDraft(**fields, idempotency_key=document.idempotency_key)
    if when.at_ms is not None:
        draft.scheduled_at = format_time(when.at_ms)
    else:
        draft.delay = (when.wait_ms or 0) / 1000
    return draft


def _schedule(
    document: Create, fields: dict[str, Any], when: When, now_ms: int, problems: list[Problem]
) -> ScheduleDraft:
    """Return the recurrence: an interval begins with the first run, now where none is asked for; a cron after that."""
    draft = ScheduleDraft(**fields, cron=document.cron, timezone="UTC")
    first_ms = when.at_ms
    if first_ms is None and when.wait_ms is not None:
        first_ms = now_ms + when.wait_ms
    if first_ms is not None and first_ms < now_ms - PAST_MS:
        problems.append(Problem("scheduled_at", "must be in the future (up to 60 s in the past means now)"))
    if document.repeat_every is not None:
        first_ms = now_ms if first_ms is None else first_ms
        try:
            draft.every = wait_ms(document.repeat_every) / 1000
        except ValueError as err:
            problems.append(Problem("every", str(err)))
    if first_ms is not None:
        draft.starts_at = format_time(max(first_ms, now_ms))
    key = document.idempotency_key
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        problems.append(Problem("idempotency_key", f"expected 1 to {MAX_KEY} characters, got {len(key)}"))
    return draft


def _method(word: str | None, problems: list[Problem]) -> Any:
    method = "get" if word is None else word.lower()
    if method not in METHODS:
        problems.append(Problem("http_method", f"expected one of {', '.join(METHODS)}"))
        return None
    return method.upper()


def _is_null(value: msgspec.Raw | UnsetType) -> bool:
    return isinstance(value, msgspec.Raw) and bytes(value) == b"null"


def _query(raw: msgspec.Raw | UnsetType, problems: list[Problem]) -> dict[str, str]:
    if not isinstance(raw, msgspec.Raw) or _is_null(raw):
        return {}
    try:
        query = msgspec.json.decode(raw, type=dict[str, Any] | str)
    except (msgspec.ValidationError, RecursionError):
        problems.append(Problem("query", 'expected an object, or a text such as "a=1&b=2"'))
        return {}
    if isinstance(query, dict):
        return dict(islice(flattened(query), MAX_COUNT + 1))  # one too many is refused as a thousand are
    pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True)
    if len(dict(pairs)) < len(pairs):
        problems.append(Problem("query", "a text may name each parameter once; others go into the url"))
    return dict(pairs)


def _when(document: Create, problems: list[Problem]) -> When:
    """Return when the first run is asked for; `scheduled_at` wins."""
    try:
        if document.scheduled_at is not None:
            return When(at_ms=instant_ms(document.scheduled_at))
    except ValueError as err:
        problems.append(Problem("scheduled_at", str(err)))
        return When()
    try:
        if document.schedule_in is not None:
            return When(wait_ms=wait_ms(document.schedule_in))
    except ValueError as err:
        problems.append(Problem("delay", str(err)))
    return When()


def instant_ms(value: str | float) -> int:
    """Return the milliseconds since the epoch of a date-time or of Unix time; raise ValueError saying what would do.

    A number above 10^11 is in milliseconds, else in seconds; a text without a zone is in UTC, as Booper writes some.
    """
    if isinstance(value, str):
        return parse_time(f"{value}Z" if _NO_ZONE.fullmatch(value) else value)
    ms = round(value if value > MILLISECONDS_ABOVE else value * 1000)
    if not 0 <= ms <= LAST_MS:
        raise ValueError("expected a time from 1970 to 9999")
    return ms


def wait_ms(value: Wait) -> int:
    """Return the milliseconds of a wait; raise ValueError saying what would do."""
    number, unit = value if isinstance(value, tuple) else (value, "seconds")
    each_ms = UNITS.get(unit.lower().removesuffix("s"))
    if each_ms is None:
        raise ValueError(f"expected one of the units {', '.join(f'{name}s' for name in UNITS)}; {_EXPECTED}")
    if not 0 <= number <= LONGEST_MS / each_ms:
        raise ValueError(f"{_EXPECTED}, from 0 to 100 years")
    return round(number * each_ms)


def flattened(query: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the parameters of any JSON object: what is nested as `outer[inner]`, null as an empty text."""
    levels: list[Iterator[tuple[Any, Any]]] = [iter(query.items())]
    names = [""]
    while levels:
        for key, value in levels[-1]:
            name = f"{names[-1]}[{key}]" if names[-1] else str(key)
            if isinstance(value, dict | list):
                levels.append(iter(value.items()) if isinstance(value, dict) else enumerate(value))
                names.append(name)
                break
            yield name, _text(value)
        else:
            levels.pop()
            names.pop()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
