"""Random expressions with their meaning, random zones, and bases that like to be near their changes."""

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime

from hypothesis import strategies as st

from fliqd.core import zones

from .cron_oracle import Spec

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
ZONES = sorted(zones.names())
LIVELY = [
    "Africa/Casablanca", "Africa/Monrovia", "America/Havana", "America/New_York", "America/Santiago",
    "America/St_Johns", "Antarctica/Casey", "Antarctica/Troll", "Antarctica/Vostok", "Asia/Gaza",
    "Asia/Tehran", "Australia/Lord_Howe", "Europe/Berlin", "Europe/London", "Pacific/Apia",
    "Pacific/Kiritimati", "UTC",
]  # fmt: skip
FIRST_S = int(datetime(1971, 1, 1, tzinfo=UTC).timestamp())
END_S = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp())

Judge = Callable[[date], bool]


@st.composite
def numbers(draw: st.DrawFn, low: int, high: int, names: list[str] | None = None) -> tuple[str, set[int]]:
    """Draw one item of a list: a number, a name, a range, a star, with and without a step."""

    def spelt(number: int) -> str:
        index = number - low
        if names and index < len(names) and draw(st.booleans()):
            return draw(st.sampled_from([names[index], names[index].lower()]))
        return str(number)

    kind = draw(st.sampled_from(["one", "one", "range", "star", "range/", "star/", "one/"]))
    start = draw(st.integers(low, high))
    stop = draw(st.integers(start, high))
    step = draw(st.integers(1, high + 2))
    return {
        "one": (spelt(start), {start}),
        "one/": (f"{spelt(start)}/{step}", set(range(start, high + 1, step))),
        "range": (f"{start}-{stop}", set(range(start, stop + 1))),
        "range/": (f"{start}-{stop}/{step}", set(range(start, stop + 1, step))),
        "star": ("*", set(range(low, high + 1))),
        "star/": (f"*/{step}", set(range(low, high + 1, step))),
    }[kind]


def number_field(low: int, high: int, names: list[str] | None = None) -> st.SearchStrategy[tuple[str, set[int]]]:
    def joined(items: list[tuple[str, set[int]]]) -> tuple[str, set[int]]:
        return ",".join(text for text, _ in items), set().union(*(found for _, found in items))

    return st.lists(numbers(low, high, names), min_size=1, max_size=3).map(joined)


def _last(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _last_workday(day: date) -> int:
    number = _last(day)
    while day.replace(day=number).isoweekday() > 5:
        number -= 1
    return number


@st.composite
def day_items(draw: st.DrawFn) -> tuple[str, Judge]:
    special = draw(st.sampled_from(["", "", "", "L", "LW"]))
    if special == "L":
        return "L", lambda day: day.day == _last(day)
    if special == "LW":
        return draw(st.sampled_from(["LW", "lw"])), lambda day: day.day == _last_workday(day)
    text, found = draw(numbers(1, 31))
    return text, lambda day: day.day in found


@st.composite
def weekday_items(draw: st.DrawFn) -> tuple[str, Judge]:
    special = draw(st.sampled_from(["", "", "", "L", "#"]))
    if not special:
        text, numbers_ = draw(numbers(0, 7, WEEKDAYS))
        found = {number % 7 for number in numbers_}
        return text, lambda day: day.isoweekday() % 7 in found
    number = draw(st.integers(0, 7))
    spelt = draw(st.sampled_from([str(number), WEEKDAYS[number % 7]]))
    if special == "L":
        return f"{spelt}L", lambda day: day.isoweekday() % 7 == number % 7 and day.day > _last(day) - 7
    week = draw(st.integers(1, 5))
    return f"{spelt}#{week}", lambda day: day.isoweekday() % 7 == number % 7 and (day.day + 6) // 7 == week


def _any_of(items: list[tuple[str, Judge]]) -> tuple[str, Judge]:
    return ",".join(text for text, _ in items), lambda day: any(judge(day) for _, judge in items)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Draw an expression; it may have no date at all (31 February)."""
    often = st.just(("*", set(range(60))))
    minute, minutes = draw(st.one_of(number_field(0, 59), often))
    hour, hours = draw(st.one_of(number_field(0, 23), often))
    every_day: st.SearchStrategy[tuple[str, Judge]] = st.just(("*", lambda _day: True))
    day, by_date = draw(st.one_of(every_day, st.lists(day_items(), min_size=1, max_size=3).map(_any_of)))
    month, months = draw(st.one_of(often, number_field(1, 12, MONTHS)))
    weekday, by_weekday = draw(st.one_of(every_day, st.lists(weekday_items(), min_size=1, max_size=3).map(_any_of)))
    space = draw(st.sampled_from([" ", "  ", "\t"]))
    return Spec(
        text=space.join((minute, hour, day, month, weekday)),
        minutes=frozenset(minutes),
        hours=frozenset(hours),
        months=frozenset(months),
        day=by_date,
        weekday=by_weekday,
    )


zone_names = st.one_of(st.sampled_from(LIVELY), st.sampled_from(ZONES))


@st.composite
def bases(draw: st.DrawFn, name: str) -> int:
    """Draw an instant of 1971-2100 in ms, half of the time within a day of a change of the offset."""
    at_s = draw(st.integers(FIRST_S, END_S - 1))
    if draw(st.booleans()):
        year_s = 366 * zones.DAY_S
        near = list(zones.changes(zones.zone(name), max(at_s - year_s, FIRST_S), at_s))
        if near:
            at_s = draw(st.sampled_from(near)).at_s + draw(st.integers(-zones.DAY_S, 6 * 3600))
    return at_s * 1000 + draw(st.sampled_from([0, 0, 1, 999]))
