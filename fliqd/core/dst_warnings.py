"""Which of the coming changes of the clocks a cron expression will feel, told to people before they bite."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from fliqd.core import cron as wall
from fliqd.core import zones
from fliqd.core.cron import Cron
from fliqd.core.occurrences import DEBIAN, DstPolicy, Gap, Overlap, is_small, wall_minutes
from fliqd.core.zones import Change

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What a change does to the wall clock."""

    GAP = "gap"  # times are left out
    OVERLAP = "overlap"  # times come twice


@dataclass(frozen=True, slots=True, kw_only=True)
class DstWarning:
    """One change that touches due times."""

    local: str  # the first of them, "2026-03-29 02:30"
    at_ms: int  # the instant of the change, ms since the epoch, UTC
    kind: Kind
    what: str  # what happens, for people: "does not exist; runs at 03:00 instead"


def dst_warnings(cron: Cron, zone: ZoneInfo, from_ms: int, years: int = 1, dst: DstPolicy = DEBIAN) -> list[DstWarning]:
    """Return the changes in `years` (of 366 days) from `from_ms` which do something to the runs, in order.

    `*/15 * * * *` has none: its runs keep their distance through every change of a multiple of 15 minutes.
    """
    low_s = max(from_ms // 1000, zones.FIRST_S)
    end_s = min(low_s + years * 366 * zones.DAY_S, zones.END_S)
    found = (_warning(cron, change, dst) for change in zones.changes(zone, low_s, end_s))
    return [warning for warning in found if warning is not None]


def _warning(cron: Cron, change: Change, dst: DstPolicy) -> DstWarning | None:
    low, end = wall_minutes(change)
    touched = wall.count(cron, low, end)
    first = wall.first(cron, low, end)
    if first is None or (not cron.fixed and _keeps_its_pace(cron, low, end)):
        return None
    is_gap = change.after_s > change.before_s
    return DstWarning(
        local=_local(first, "%Y-%m-%d %H:%M"),
        at_ms=change.at_s * 1000,
        kind=Kind.GAP if is_gap else Kind.OVERLAP,
        what=_gap(cron, change, touched, dst) if is_gap else _overlap(cron, change, touched, dst),
    )


def _gap(cron: Cron, change: Change, touched: int, dst: DstPolicy) -> str:
    does = "does not exist" if touched == 1 else f"and {touched - 1} more do not exist"
    if cron.fixed and is_small(change) and dst.gap is Gap.AFTER:
        after = _local((change.at_s + change.after_s) // 60, "%H:%M")
        return f"{does}; runs once at {after} instead"
    return f"{does}; no run"


def _overlap(cron: Cron, change: Change, touched: int, dst: DstPolicy) -> str:
    comes = "comes twice" if touched == 1 else f"and {touched - 1} more come twice"
    if cron.fixed and is_small(change) and dst.overlap is Overlap.FIRST:
        return f"{comes}; runs the first time only"
    return f"{comes}; runs both times"


def _keeps_its_pace(cron: Cron, low: int, end: int) -> bool:
    """Whether times repeat at the size of the change: then leaving out or doubling some shifts none."""
    size = end - low
    around = [_pattern(cron, start, start + size) for start in (low - size, low, end)]
    return around[0] == around[1] == around[2]


def _pattern(cron: Cron, low: int, end: int) -> list[int]:
    found = []
    minute = wall.first(cron, low, end)
    while minute is not None:
        found.append(minute - low)
        minute = wall.first(cron, minute + 1, end)
    return found


def _local(minute: int, form: str) -> str:
    return (_EPOCH + timedelta(minutes=minute)).strftime(form)
