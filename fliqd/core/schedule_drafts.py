"""What a client may ask of a schedule, and the rules that turn it into one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from fliqd.core import cron_grammar, zones
from fliqd.core.drafts import (
    REQUEST,
    Defaults,
    Readers,
    RequestDraft,
    or_default,
    read_fields,
    told_somewhere,
    whole_url,
)
from fliqd.core.durations import format_duration, parse_duration
from fliqd.core.occurrences import Gap, Overlap
from fliqd.core.schedule import Misfire, Schedule, WhileRunning, timing_of
from fliqd.core.times import format_time, parse_time
from fliqd.errors import Problem

SHORTEST_MS: Final = 1_000
LONGEST_EVERY_MS: Final = 3653 * 86_400_000  # ten years, as far as one-time jobs go
MOST_RUNS: Final = 1_000_000_000
LOOKED_AT: Final = 100  # runs between which a jitter has to find room


class DstDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What becomes of a fixed time that the clocks leave out, or show twice."""

    gap: Literal["after", "skip"] | None = None
    overlap: Literal["first", "both"] | None = None


class ScheduleDraft(RequestDraft, kw_only=True, gc=False):
    """The fields of `POST /v1/schedules` and `PATCH /v1/schedules/{id}`, and of `[[schedules]]`."""

    cron: str | UnsetType | None = UNSET
    every: int | float | str | UnsetType | None = UNSET
    timezone: str | UnsetType | None = UNSET
    dst: DstDraft | UnsetType | None = UNSET
    starts_at: str | UnsetType | None = UNSET
    ends_at: str | UnsetType | None = UNSET
    max_runs: int | UnsetType | None = UNSET
    jitter: int | float | str | UnsetType | None = UNSET
    misfire: Literal["latest", "all", "skip"] | UnsetType | None = UNSET
    misfire_grace: int | float | str | UnsetType | None = UNSET
    overlap: Literal["queue", "allow", "skip"] | UnsetType | None = UNSET
    paused: bool | UnsetType | None = UNSET


def schedule_fields(draft: ScheduleDraft, defaults: Defaults, now_ms: int, problems: list[Problem]) -> dict[str, Any]:
    """Return the schedule's fields for what the draft sets, adding to `problems` what is wrong with it.

    Setting one of `cron` and `every` takes the other away. `paused` is not among them: it is a step, not a value.
    """
    fields = read_fields(draft, _SCHEDULE, defaults, now_ms, problems)
    if draft.cron not in (UNSET, None) and draft.every not in (UNSET, None):
        problems.append(Problem("every", "and cron exclude each other; give one of them"))
    elif fields.get("cron") is not None:
        fields["every_ms"] = None
    elif fields.get("every_ms") is not None:
        fields["cron"] = None
    return fields


def required_of_schedule(draft: ScheduleDraft, problems: list[Problem]) -> None:
    """Add to `problems` what a new schedule lacks."""
    at_fault = {problem.field for problem in problems}
    if draft.url is UNSET and "url" not in at_fault:
        problems.append(Problem("url", "is required"))
    if draft.cron in (UNSET, None) and draft.every in (UNSET, None) and not at_fault & {"cron", "every"}:
        problems.append(Problem("cron", 'is required, such as "0 3 * * *", or every, such as "15m"'))
    problems += told_somewhere(draft, at_fault)


def has_rule(schedule: Schedule) -> Iterator[Problem]:
    """Yield what is wrong with a schedule that has no due times to judge."""
    if schedule.cron is None and schedule.every_ms is None:
        yield Problem("cron", "is required, or every; to change from one to the other give the new one alone")


def judged(schedule: Schedule, now_ms: int) -> Iterator[Problem]:
    """Yield what is wrong with a schedule whose values are right one by one."""
    yield from whole_url(schedule.url, schedule.query)
    if schedule.starts_ms is not None and schedule.ends_ms is not None and schedule.ends_ms < schedule.starts_ms:
        yield Problem("ends_at", "is before starts_at")
        return
    shortest_ms = _shortest(schedule, now_ms) if schedule.jitter_ms else None
    if shortest_ms is not None and schedule.jitter_ms >= shortest_ms:
        got, room = format_duration(schedule.jitter_ms), format_duration(shortest_ms)
        yield Problem("jitter", f"got {got}, expected less than the {room} between runs")


def has_runs(schedule: Schedule, now_ms: int) -> Iterator[Problem]:
    """Yield what is wrong with a new timing that never comes true: somebody waits for it."""
    if timing_of(schedule).next_after(now_ms) is not None:
        return
    if schedule.ends_ms is not None:
        yield Problem("ends_at", f"no run comes between now and {format_time(schedule.ends_ms)}")
    elif schedule.starts_ms is not None:
        yield Problem("starts_at", f"no run comes after {format_time(schedule.starts_ms)}")
    else:
        yield Problem("cron", "no run ever comes: all its times lie where the clocks jump, and dst.gap skips them")


def _shortest(schedule: Schedule, now_ms: int) -> int | None:
    """Return the shortest time between two of the next runs, None for a single one."""
    if schedule.every_ms is not None:
        return schedule.every_ms
    timing = timing_of(schedule)

    def runs() -> Iterator[int]:
        slot_ms = timing.next_after(now_ms)
        while slot_ms is not None:
            yield slot_ms
            slot_ms = timing.next_after(slot_ms)

    return min((later - earlier for earlier, later in pairwise(islice(runs(), LOOKED_AT))), default=None)


def _cron(text: str | None, now_ms: int, _defaults: Defaults) -> dict[str, Any]:
    if text is None:
        return {"cron": None}
    try:
        cron_grammar.parse(text, since=datetime.fromtimestamp(now_ms / 1000, UTC).date())
    except cron_grammar.CronError as err:
        raise ValueError(f'"{text}": {err}' if len(text) <= cron_grammar.MAX_LENGTH else str(err)) from err
    return {"cron": text}


def _every(value: object) -> dict[str, Any]:
    every_ms = parse_duration(value)
    if not SHORTEST_MS <= every_ms <= LONGEST_EVERY_MS:
        raise ValueError(f"got {format_duration(every_ms)}, expected 1 second to 10 years")
    return {"every_ms": every_ms}


def _timezone(name: str | None, _now_ms: int, defaults: Defaults) -> dict[str, Any]:
    if name is None:
        return {"timezone": defaults.timezone}
    return {"timezone": zones.zone(name).key}


def _dst(draft: DstDraft) -> dict[str, Any]:
    return {"dst_gap": Gap(draft.gap or Gap.AFTER), "dst_overlap": Overlap(draft.overlap or Overlap.FIRST)}


def _max_runs(count: int) -> dict[str, Any]:
    if not 1 <= count <= MOST_RUNS:
        raise ValueError(f"got {count}, expected a whole number from 1 to {MOST_RUNS}")
    return {"max_runs": count}


def _or_no_dst(draft: DstDraft | None, _now_ms: int, _defaults: Defaults) -> dict[str, Any]:
    return _dst(DstDraft() if draft is None else draft)


_SCHEDULE: Final[Readers] = (
    ("cron", _cron),
    ("every", or_default("every_ms", None, _every)),
    ("timezone", _timezone),
    ("dst", _or_no_dst),
    ("starts_at", or_default("starts_ms", None, lambda text: {"starts_ms": parse_time(text)})),
    ("ends_at", or_default("ends_ms", None, lambda text: {"ends_ms": parse_time(text)})),
    ("max_runs", or_default("max_runs", None, _max_runs)),
    ("jitter", or_default("jitter_ms", 0, lambda value: {"jitter_ms": parse_duration(value)})),
    ("misfire", or_default("misfire", Misfire.LATEST, lambda word: {"misfire": Misfire(word)})),
    (
        "misfire_grace",
        or_default("misfire_grace_ms", 60_000, lambda value: {"misfire_grace_ms": parse_duration(value)}),
    ),
    ("overlap", or_default("overlap", WhileRunning.QUEUE, lambda word: {"overlap": WhileRunning(word)})),
    *REQUEST,
)
SCHEDULE_ORDER: Final = {
    name: index for index, name in enumerate([*(name for name, _ in _SCHEDULE), "body", "json", "paused"])
}
