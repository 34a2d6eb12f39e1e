"""What the configuration file declares, its `[[schedules]]`, `[[jobs]]` and the others, checked as the API does."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, Final

import msgspec
from msgspec import UNSET

from fliqd.core.buffers import BUFFER_ORDER, Buffer, BufferDraft, buffer_fields
from fliqd.core.channels import Channel, ChannelDraft, channel_fields, required_of_channel
from fliqd.core.decoding import decode
from fliqd.core.drafts import AHEAD_MS, Defaults, JobDraft, in_order, job_fields, required, together, whole_url
from fliqd.core.model import DEFAULT_QUEUE, Job, Source, lane_of
from fliqd.core.queues import NAME, Queue, QueueDraft, queue_fields
from fliqd.core.reconciling import Declarations, DeclaredBuffer, DeclaredChannel, DeclaredQueue, DeclaredSchedule
from fliqd.core.references import Lookup, Noting, expand, has_references
from fliqd.core.schedule import Schedule
from fliqd.core.schedule_drafts import SCHEDULE_ORDER, ScheduleDraft, judged, required_of_schedule, schedule_fields
from fliqd.core.times import parse_time
from fliqd.errors import InvalidError, Problem

MOST_ENTRIES: Final = 10_000
# These keep their references as they are, to be looked up when the request leaves.
KEPT: Final = ("url", "headers", "query", "webhook_url", "webhook_headers", "callback_url")
LATE: Final = (*KEPT, "body", "json")
NOT_IN_A_FILE: Final = {
    "delay": "a file has no moment to count from; give scheduled_at",
    "idempotency_key": "an entry is known by its name; leave it out",
    "dedupe_key": "an entry is known by its name; leave it out",
}


NOTHING: Final = Declarations()
SECTIONS: Final = ("schedules", "jobs", "alerts", "buffers", "queues")


def read(
    document: Mapping[str, Any], *, defaults: Defaults, lookup: Lookup, now_ms: int, problems: list[Problem]
) -> Declarations:
    """Read all entries, adding to `problems` everything that is wrong with them."""
    reader = _Reader(defaults, lookup, now_ms, problems)
    return Declarations(
        tuple(reader.entries("schedules", document.get("schedules", []), reader.schedule)),
        tuple(reader.entries("jobs", document.get("jobs", []), reader.job)),
        tuple(reader.entries("alerts", document.get("alerts", []), reader.channel)),
        tuple(reader.entries("buffers", document.get("buffers", []), reader.buffer)),
        tuple(reader.entries("queues", document.get("queues", []), reader.queue)),
    )


class _Reader:
    def __init__(self, defaults: Defaults, lookup: Lookup, now_ms: int, problems: list[Problem]) -> None:
        self._defaults = defaults
        self._lookup = lookup
        self._now_ms = now_ms
        self._problems = problems

    def entries(
        self, section: str, entries: object, read_one: Callable[[dict[str, Any], dict[str, Any], list[Problem]], Any]
    ) -> Iterator[Any]:
        """Yield what a section declares; what is wrong carries its place, indexes from 0."""
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self._problems.append(Problem(section, f"expected entries, each under [[{section}]]"))
            return
        if len(entries) > MOST_ENTRIES:
            self._problems.append(Problem(section, f"expected at most {MOST_ENTRIES} entries, got {len(entries)}"))
            return
        names: dict[str, int] = {}
        for index, entry in enumerate(entries):
            where = f"{section}[{index}]"
            problems: list[Problem] = []
            lookup = Noting(self._lookup)
            resolved = {key: _resolved(key, value, problems, lookup) for key, value in entry.items()}
            missing = {problem.field.partition(".")[0].partition("[")[0] for problem in problems}
            name = resolved.get("name")
            if name is None:
                problems.append(Problem("name", "is required: it is how the entry is known again"))
                resolved["name"] = "unnamed"  # so that the rest of it is judged too
            elif isinstance(name, str) and name in names:
                problems.append(Problem("name", f'"{name}" is the name of {section}[{names[name]}] already'))
            elif isinstance(name, str):
                names[name] = index
            declared = None
            wrong: list[Problem] = []
            try:
                declared = read_one(entry, resolved, wrong)
            except InvalidError as err:
                wrong += err.problems
            # Of a field that lacks its reference, that is all there is to say.
            problems += [problem for problem in wrong if problem.field.partition(".")[0] not in missing]
            self._problems += [Problem(f"{where}.{p.field}", lookup.hide(p.problem)) for p in problems]
            if declared is not None and not problems:
                yield declared

    def schedule(
        self, entry: dict[str, Any], resolved: dict[str, Any], problems: list[Problem]
    ) -> DeclaredSchedule | None:
        draft, found = decode(_json(resolved), ScheduleDraft)
        problems += found
        fields = schedule_fields(draft, self._defaults, self._now_ms, problems)
        required_of_schedule(draft, problems)
        problems[:] = in_order(problems, SCHEDULE_ORDER)
        if problems:
            return None
        born = dict.fromkeys(("created_ms", "updated_ms", "cursor_ms"), self._now_ms)
        fields |= {"id": "", "source": Source.CONFIG, **born, **self._late(entry, fields)}
        wanted = Schedule(**self._defaulted(fields, "timezone"))
        anchor_ms = None if wanted.every_ms is None else self._now_ms  # any will do, to judge it
        problems += judged(msgspec.structs.replace(wanted, anchor_ms=anchor_ms), self._now_ms)
        return DeclaredSchedule(wanted, draft.paused if isinstance(draft.paused, bool) else None)

    def job(self, entry: dict[str, Any], resolved: dict[str, Any], problems: list[Problem]) -> Job | None:
        draft, found = decode(_json(resolved), JobDraft)
        problems += found
        problems += [Problem(name, text) for name, text in NOT_IN_A_FILE.items() if name in resolved]
        required(draft, problems)
        scheduled_ms = 0
        try:
            # Its time may be past: it has run then, or is noted as missed.
            scheduled_ms = parse_time(draft.scheduled_at) if isinstance(draft.scheduled_at, str) else 0
            if scheduled_ms > self._now_ms + AHEAD_MS:
                problems.append(Problem("scheduled_at", "is more than 10 years ahead"))
        except ValueError as err:
            problems.append(Problem("scheduled_at", str(err)))
        draft.scheduled_at = UNSET
        fields = job_fields(draft, self._defaults, self._now_ms, problems)
        problems[:] = in_order(problems)
        if problems:
            return None
        problems += together(
            url=fields["url"],
            query=fields.get("query", {}),
            scheduled_ms=scheduled_ms,
            expires_ms=fields.get("expires_ms"),
        )
        times = {"created_ms": 0, "updated_ms": 0, "scheduled_ms": scheduled_ms, "next_attempt_ms": scheduled_ms}
        lane = lane_of(fields.get("queue", DEFAULT_QUEUE), fields["host"])
        fields |= {"id": "", "source": Source.CONFIG, "lane": lane, **times, **self._late(entry, fields)}
        return Job(**self._defaulted(fields))

    def channel(
        self, entry: dict[str, Any], resolved: dict[str, Any], problems: list[Problem]
    ) -> DeclaredChannel | None:
        draft, found = decode(_json(resolved), ChannelDraft)
        problems += found
        fields = channel_fields(draft, problems)
        required_of_channel(draft, problems)
        if problems:
            return None
        if has_references(entry["target"]):
            fields |= {"target": entry["target"], "has_references": True}
        fields.pop("enabled", None)
        wanted = Channel(id="", source=Source.CONFIG, created_ms=0, updated_ms=0, **fields)
        return DeclaredChannel(wanted, draft.enabled if isinstance(draft.enabled, bool) else None)

    def buffer(self, entry: dict[str, Any], resolved: dict[str, Any], problems: list[Problem]) -> DeclaredBuffer | None:
        draft, found = decode(_json(resolved), BufferDraft)
        problems += found
        fields = buffer_fields(draft, self._defaults, self._now_ms, problems)
        if draft.url in (UNSET, None) and "url" not in {problem.field for problem in problems}:
            problems.append(Problem("url", "is required"))
        problems[:] = in_order(problems, BUFFER_ORDER)
        if problems:
            return None
        for name in ("timeout_ms", "backoff"):
            fields.setdefault(name, getattr(self._defaults, name))
        life = {"id": "", "source": Source.CONFIG, "created_ms": 0, "updated_ms": 0, "tokens": 0.0, "tokens_ms": 0}
        wanted = Buffer(**(fields | life | self._late(entry, fields)))
        problems += whole_url(wanted.url, wanted.query)
        return DeclaredBuffer(wanted, draft.paused if isinstance(draft.paused, bool) else None)

    def queue(self, _entry: dict[str, Any], resolved: dict[str, Any], problems: list[Problem]) -> DeclaredQueue | None:
        draft, found = decode(_json(resolved), QueueDraft)
        problems += found
        fields = queue_fields(draft, problems)
        if isinstance(draft.name, str) and not NAME.fullmatch(draft.name):
            problems.append(Problem("name", "expected 1 to 64 of the characters a-z A-Z 0-9 _ -"))
        if problems or not isinstance(draft.name, str):
            return None
        wanted = Queue(name=draft.name, source=Source.CONFIG, created_ms=0, updated_ms=0, **fields)
        return DeclaredQueue(wanted, draft.paused if isinstance(draft.paused, bool) else None)

    def _defaulted(self, fields: dict[str, Any], *more: str) -> dict[str, Any]:
        for name in ("timeout_ms", "max_retries", "backoff", *more):
            fields.setdefault(name, getattr(self._defaults, name))
        return fields

    def _late(self, entry: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that keep their references as the entry has them; none where there is nothing to keep."""
        if not any(has_references(entry.get(name)) for name in LATE):
            return {}
        kept: dict[str, Any] = {name: entry[name] for name in KEPT if name in entry}
        if fields.get("body") is not None:
            kept["body"] = _json(entry["json"]) if "json" in entry else entry["body"].encode()
        return {**kept, "has_references": True}


def _resolved(where: str, value: Any, problems: list[Problem], lookup: Lookup) -> Any:
    """Return a value of TOML as JSON has it, its references looked up."""
    if isinstance(value, str):
        try:
            return expand(value, lookup)
        except ValueError as err:
            problems.append(Problem(where, str(err)))
            return value
    if isinstance(value, dict):
        return {key: _resolved(f"{where}.{key}", part, problems, lookup) for key, part in value.items()}
    if isinstance(value, list):
        return [_resolved(f"{where}[{n}]", part, problems, lookup) for n, part in enumerate(value)]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    if isinstance(value, date | time):
        problems.append(Problem(where, "expected a time with an offset, such as 2027-01-01T09:00:00Z"))
        return "1970-01-01T00:00:00Z"
    if isinstance(value, float) and value - value != 0:
        problems.append(Problem(where, "infinity and not-a-number are no JSON"))
        return 0
    return value


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
