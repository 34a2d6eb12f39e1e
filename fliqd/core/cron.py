"""A cron expression as a value, with the wall-clock minutes it names in no zone at all.

Wall time is counted here in whole minutes since 1970-01-01 00:00 on the wall, an integer that knows no
zone: what instant it is, if any, is `core.occurrences`' business. `core.cron_grammar` reads expressions.

Sets of small numbers are integers: bit n is set when n is a member. So a day's minutes are 1440 bits, a
month's days 31, and first, last and how many are an operation or two on them. What an expression can say
about the days of a month follows from two numbers: the month's first weekday and its length.

croniter would enumerate the same days, but (7.0.0, measured) at 45 us each, so that counting ten years of
them takes 160 ms and here 0.3; it knows neither `LW` nor `1,MON#2`, and finds no date at all for `1` in day
with `MON#2` in day of week.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

MINUTES_A_DAY: Final = 24 * 60
_DAY_ZERO: Final = date(1970, 1, 1).toordinal()
FIRST_WALL: Final = (date.min.toordinal() - _DAY_ZERO) * MINUTES_A_DAY
END_WALL: Final = (date.max.toordinal() + 1 - _DAY_ZERO) * MINUTES_A_DAY  # the first minute of year 10000

_WEEK: Final = 0b111_1111


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """When to run, as read by `cron_grammar.parse`; two expressions that normalise alike are equal.

    `times` has a bit for each minute of the day (0-1439), `days` for 1-31, `months` for 1-12. Weekday w (0 is
    Sunday) of the month's n-th week (1-5) is bit 7(n-1)+w of `weekdays`: `MON#2` sets one bit, `MON` five.
    """

    normalised: str  # numbers only, aliases expanded, one space between fields
    times: int
    days: int
    months: int
    weekdays: int
    last_day: bool  # L
    last_workday: bool  # LW: the last Monday to Friday
    last_weekdays: int  # 5L: bits 0-6
    either_day: bool  # neither day field begins with *: one is enough (crontab(5)); else both must match
    fixed: bool  # neither minute nor hour begins with *: what a change of the clocks must not lose or double


def first(cron: Cron, low: int, end: int) -> int | None:
    """Return the first minute of `low <= minute < end` that `cron` names, None if there is none."""
    low, end = max(low, FIRST_WALL), min(end, END_WALL)
    if low >= end:
        return None
    day, minute = divmod(low, MINUTES_A_DAY)
    later_today = cron.times >> minute << minute
    if later_today and _matches(cron, day):
        found = day * MINUTES_A_DAY + _lowest(later_today)
        return found if found < end else None
    for base, days in _months(cron, day + 1, -(-end // MINUTES_A_DAY)):
        if days:
            found = (base + _lowest(days)) * MINUTES_A_DAY + _lowest(cron.times)
            return found if found < end else None
    return None


def last(cron: Cron, low: int, end: int) -> int | None:
    """Return the last minute of `low <= minute < end` that `cron` names, None if there is none."""
    low, end = max(low, FIRST_WALL), min(end, END_WALL)
    if low >= end:
        return None
    day, minute = divmod(end - 1, MINUTES_A_DAY)
    earlier_today = cron.times & _below(minute + 1)
    if earlier_today and _matches(cron, day):
        found = day * MINUTES_A_DAY + _highest(earlier_today)
        return found if found >= low else None
    for base, days in _months_back(cron, low // MINUTES_A_DAY, day):
        if days:
            found = (base + _highest(days)) * MINUTES_A_DAY + _highest(cron.times)
            return found if found >= low else None
    return None


def count(cron: Cron, low: int, end: int) -> int:
    """Return how many minutes of `low <= minute < end` `cron` names, going by months and not by minutes."""
    low, end = max(low, FIRST_WALL), min(end, END_WALL)
    if low >= end:
        return 0
    first_day, before = divmod(low, MINUTES_A_DAY)
    last_day, until = divmod(end, MINUTES_A_DAY)
    whole_days = sum(days.bit_count() for _, days in _months(cron, first_day, last_day))
    total = whole_days * cron.times.bit_count()
    if before and _matches(cron, first_day):
        total -= (cron.times & _below(before)).bit_count()
    if until and _matches(cron, last_day):
        total += (cron.times & _below(until)).bit_count()
    return total


def days_of_month(cron: Cron, first_weekday: int, length: int) -> int:
    """Return the days (bits 1-31) `cron` names in a month that starts on `first_weekday` (0 is Sunday).

    The month itself is not judged: `cron.months` says which count.
    """
    by_date = cron.days
    if cron.last_day:
        by_date |= 1 << length
    if cron.last_workday:
        last_weekday = (first_weekday + length - 1) % 7
        by_date |= 1 << length - {0: 2, 6: 1}.get(last_weekday, 0)
    by_weekday = 0
    for week in range(5):
        wanted = cron.weekdays >> 7 * week & _WEEK
        from_first = (wanted >> first_weekday | wanted << 7 - first_weekday) & _WEEK
        by_weekday |= from_first << 7 * week + 1
    if cron.last_weekdays:
        for day in range(length - 6, length + 1):
            if cron.last_weekdays >> (first_weekday + day - 1) % 7 & 1:
                by_weekday |= 1 << day
    both = by_date | by_weekday if cron.either_day else by_date & by_weekday
    return both & _below(length + 1)


def _matches(cron: Cron, day: int) -> bool:
    return any(days for _, days in _months(cron, day, day + 1))


def _months(cron: Cron, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the months of `start <= day < end` in order: the day before the 1st, and bits 1-31 from there."""
    if start >= end:
        return
    at = date.fromordinal(start + _DAY_ZERO)
    year, month = at.year, at.month
    base = start - at.day
    while base + 1 < end:
        weekday = (base + 1 + _DAY_ZERO) % 7
        length = _length(year, month)
        if cron.months >> month & 1:
            days = days_of_month(cron, weekday, length)
            if base + 1 < start:
                days = days >> start - base << start - base
            if base + length >= end:
                days &= _below(end - base)
            yield base, days
        base += length
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)  # noqa: PLR2004 - months of a year


def _months_back(cron: Cron, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what `_months` yields, the latest month first."""
    if start >= end:
        return
    at = date.fromordinal(end - 1 + _DAY_ZERO)
    year, month = at.year, at.month
    base = end - 1 - at.day
    while True:
        length = _length(year, month)
        if cron.months >> month & 1:
            days = days_of_month(cron, (base + 1 + _DAY_ZERO) % 7, length)
            if base + length >= end:
                days &= _below(end - base)
            if base + 1 < start:
                days = days >> start - base << start - base
            yield base, days
        if base + 1 <= start:
            return
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        base -= _length(year, month)


_LENGTHS: Final = tuple(monthrange(2001, month)[1] if month else 0 for month in range(13))


def _length(year: int, month: int) -> int:
    leap_day = month == 2 and ((year % 4 == 0 and year % 100 != 0) or year % 400 == 0)  # noqa: PLR2004 - February
    return _LENGTHS[month] + leap_day


def _below(number: int) -> int:
    return (1 << number) - 1


def _lowest(members: int) -> int:
    return (members & -members).bit_length() - 1


def _highest(members: int) -> int:
    return members.bit_length() - 1
