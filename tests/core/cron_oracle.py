"""An oracle: walk through UTC minute by minute and look at the wall clock, as cron itself would.

It shares nothing with fliqd: an expression comes as the sets the test built it from, offsets from zoneinfo.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
THREE_HOURS_S = 3 * 3600


@dataclass(frozen=True)
class Spec:
    """An expression as text, and what it means."""

    text: str
    minutes: frozenset[int] = field(repr=False)
    hours: frozenset[int] = field(repr=False)
    months: frozenset[int] = field(repr=False)
    day: Callable[[date], bool] = field(repr=False)
    weekday: Callable[[date], bool] = field(repr=False)

    @property
    def fixed(self) -> bool:
        minute, hour, *_ = self.text.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def names(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        fields = self.text.split()
        judge = all if fields[2].startswith("*") or fields[4].startswith("*") else any
        return wall.second == 0 and judge((self.day(wall.date()), self.weekday(wall.date())))


def local(at_s: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(seconds=at_s)).astimezone(zone)


def offset(at_s: int, zone: ZoneInfo) -> int:
    found = local(at_s, zone).utcoffset()
    assert found is not None
    return int(found.total_seconds())


def walk(
    spec: Spec, zone: ZoneInfo, low_s: int, end_s: int, *, catch_up: bool = True, both: bool = False
) -> Iterator[int]:
    """Yield the runs in `low_s <= at < end_s`, seconds since the epoch."""
    at_s = low_s - 4 * 3600  # an overlap that began before still counts
    known = offset(at_s, zone)
    muted_until = at_s
    while at_s < end_s:
        now = offset(at_s, zone)
        if now != known:
            while offset(at_s - 1, zone) == now:  # back to the instant of the change
                at_s -= 1
            small = abs(now - known) <= THREE_HOURS_S
            if spec.fixed and small and now < known and not both:
                muted_until = at_s + known - now
            if spec.fixed and small and now > known and catch_up and _jumped(spec, at_s, known, now):
                if low_s <= at_s < end_s:
                    yield at_s
                muted_until = at_s + 1  # a run on time at this very instant is the same run
            known = now
        wall = local(at_s, zone)
        if wall.second:
            at_s += 60 - wall.second
            continue
        if at_s >= max(low_s, muted_until) and at_s < end_s and spec.names(wall):
            yield at_s
        at_s += 60


def _jumped(spec: Spec, at_s: int, before: int, after: int) -> bool:
    return any(
        spec.names(EPOCH + timedelta(seconds=wall_s))
        for wall_s in range(at_s + before, at_s + after)
        if wall_s % 60 == 0
    )
