"""The grammar of cron expressions: text in, a `Cron` or a refusal that names the way out.

Five fields as in crontab(5) of ISC (Vixie) cron, with `L` and `LW` as days of the month, `5L` and `MON#2` as
days of the week. What other systems add (seconds, `?`, `15W`, `R`, `H`, ranges that wrap) is refused with
what works here instead, because it means something else elsewhere, or nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from typing import Final, NamedTuple, NoReturn

from fliqd.core import cron as wall
from fliqd.core.cron import Cron

MAX_LENGTH: Final = 256
HORIZON_YEARS: Final = 12  # 29 February can be eight years away (1896-1904, 2096-2104)

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SUNDAY: Final = 7  # 0 as well
_WEEKS: Final = 5  # a weekday comes at most five times a month


class CronError(ValueError):
    """A text that is no cron expression, or one that never comes true; `str()` is `message`.

    `field` is "minute", "hour", "day", "month" or "day of week", None when the whole is at fault. `position`
    counts characters from 0 in the text as it came; the message counts from 1. `suggestion` would do in the
    place of the item at `position` (of the whole, without a field), None where nobody can tell the meaning.
    """

    def __init__(
        self, problem: str, *, field: str | None = None, position: int = 0, suggestion: str | None = None
    ) -> None:
        way_out = f"; write {suggestion}" if suggestion else ""
        super().__init__(f"{problem} (at character {position + 1}){way_out}")
        self.message = str(self)
        self.field = field
        self.position = position
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_MINUTE: Final = _Field(name="minute", low=0, high=59)
_HOUR: Final = _Field(name="hour", low=0, high=23)
_DAY: Final = _Field(name="day", low=1, high=31)
_MONTH: Final = _Field(name="month", low=1, high=12, names=_MONTHS)
_WEEKDAY: Final = _Field(name="day of week", low=0, high=7, names=_WEEKDAYS)
_FIELDS: Final = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)


@dataclass(frozen=True, slots=True)
class _Item:
    """One part of a list, and where it stands in the whole text."""

    of: _Field
    text: str
    position: int

    def refuse(self, problem: str, suggestion: str | None = None) -> NoReturn:
        raise CronError(problem, field=self.of.name, position=self.position, suggestion=suggestion)


@dataclass(slots=True)
class _Members:
    """What the items of one field have named so far; `numbers` and the others are bit sets as in `Cron`."""

    normalised: list[str] = field(default_factory=list)
    numbers: int = 0
    last_day: bool = False
    last_workday: bool = False
    last_weekdays: int = 0
    nth_weekdays: int = 0


def parse(text: str, since: date | None = None) -> Cron:
    """Read a cron expression or an alias such as `@daily`; raise CronError.

    An expression without a date in the twelve years from `since` is refused, so that a slip shows when it is
    made. Without `since` only what never comes is (30 February): for expressions that were accepted before,
    as 29 February on a Sunday (`0 0 29 2 */7`) can be 28 years away once it has run.
    """
    words = _words(text)
    minute, hour, day, month, weekday = (
        _members(of, word, position) for of, (position, word) in zip(_FIELDS, words, strict=True)
    )
    fields = [",".join(members.normalised) for members in (minute, hour, day, month, weekday)]
    minutes_of_day = sum(minute.numbers << 60 * number for number in range(24) if hour.numbers >> number & 1)
    every_week = sum(weekday.numbers << 7 * week for week in range(_WEEKS))
    cron = Cron(
        normalised=" ".join(fields),
        times=minutes_of_day,
        days=day.numbers,
        months=month.numbers,
        weekdays=every_week | weekday.nth_weekdays,
        last_day=day.last_day,
        last_workday=day.last_workday,
        last_weekdays=weekday.last_weekdays,
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        fixed=not fields[0].startswith("*") and not fields[1].startswith("*"),
    )
    _refuse_without_date(cron, since, day_position=words[2][0])
    return cron


def idle_steps(text: str) -> list[str]:
    """Say of each step that leaves its range at once what it comes to; crontab(5) allows that. Raises CronError."""
    found = []
    for of, (position, word) in zip(_FIELDS, _words(text), strict=True):
        for item in _items(of, word, position):
            span = _ITEM.fullmatch(item.text)
            if span is None or not span["step"]:
                continue
            low, high, step = _span(item, span)
            # A step of a whole turn goes on evenly in the next; days have none, since months differ.
            even = of is not _DAY and step == (_SUNDAY if of is _WEEKDAY else of.high - of.low + 1)
            if low + step > high and not even:
                found.append(f"{of.name} {item.text}: a step of {step} leads out of {low}-{high}; it is {low} alone")
    return found


def _refuse_without_date(cron: Cron, since: date | None, day_position: int) -> None:
    start = since or date(2000, 1, 1)
    # 400 years are the whole of the Gregorian calendar, from any start.
    years = 400 if since is None else HORIZON_YEARS
    low = (start - date(1970, 1, 1)).days * wall.MINUTES_A_DAY
    if wall.first(cron, low, low + years * 366 * wall.MINUTES_A_DAY) is None:
        days_alone = not cron.last_day and not cron.last_workday and cron.normalised.endswith("*")
        problem = f"no date within {HORIZON_YEARS} years" if since else "no such date in any year"
        raise CronError(
            f"{problem} (L is the last day of a month)" if days_alone else problem,
            field=_DAY.name,
            position=day_position,
            suggestion="L" if days_alone else None,
        )


def _words(text: str) -> list[tuple[int, str]]:
    """Split into the five fields, each with its position; for an alias they are those it stands for."""
    if len(text) > MAX_LENGTH:
        raise CronError(f"{len(text)} characters are too many, {MAX_LENGTH} the most", position=MAX_LENGTH)
    for position, character in enumerate(text):
        if not (character == "\t" or " " <= character <= "~"):
            hint = {"\u2013": "-", "\u2014": "-", "\u2217": "*", "\u00a0": "a space"}.get(character)
            raise CronError(f"{character!r} is not a character of cron expressions", position=position, suggestion=hint)
    words = [(found.start(), found.group()) for found in re.finditer(r"[^ \t]+", text)]
    if words and words[0][1].startswith("@"):
        return [(words[0][0], word) for word in _alias(words).split()]
    if len(words) != len(_FIELDS):
        _refuse_word_count(words)
    return words


def _alias(words: list[tuple[int, str]]) -> str:
    position, name = words[0]
    lower = name.lower()
    if lower == "@reboot":
        raise CronError(
            "@reboot is no time: a schedule needs one, and a job that should run now is a one-time job",
            position=position,
        )
    if lower == "@every":
        raise CronError('@every is not cron: give the schedule every = "…" instead', position=position)
    if lower not in ALIASES:
        near = get_close_matches(lower, ALIASES, n=1)
        raise CronError(
            f"{name} is not an alias; there are {', '.join(ALIASES)}",
            position=position,
            suggestion=near[0] if near else None,
        )
    if len(words) > 1:
        raise CronError(f"{name} stands alone", position=words[1][0], suggestion=lower)
    return ALIASES[lower]


def _refuse_word_count(words: list[tuple[int, str]]) -> NoReturn:
    number = len(words)
    if number and re.match(r"(CRON_)?TZ=", words[0][1]):
        rest = " ".join(word for _, word in words[1:])
        raise CronError(
            f'a time zone is no part of the expression: set timezone = "{words[0][1].partition("=")[2]}"',
            position=words[0][0],
            suggestion=rest or None,
        )
    for position, word in words:
        if number > len(_FIELDS) and (word.startswith(",") or word.endswith(",")):
            raise CronError("a list has no spaces around its commas", position=position)
    if number == len(_FIELDS) + 1:
        position, seconds = words[0]
        alone = seconds in {"0", "00", "*"}
        every = re.fullmatch(r"\*/(\d{1,4})", seconds)
        if every:
            raise CronError(
                f'six fields: cron has no seconds here; give the schedule every = "{every[1]}s" instead',
                position=position,
            )
        raise CronError(
            "six fields: cron has no seconds here, and a year neither",
            position=position,
            suggestion=" ".join(word for _, word in words[1:]) if alone else None,
        )
    if number > len(_FIELDS):
        raise CronError(
            f"{number} fields: five are expected, minute hour day month day-of-week",
            position=words[len(_FIELDS)][0],
        )
    alias = f"@{words[0][1].lower()}" if number == 1 else ""
    counted = f"{number or 'no'} field{'' if number == 1 else 's'}"
    raise CronError(
        f"{counted}: five are expected, minute hour day month day-of-week",
        position=words[0][0] if words else 0,
        suggestion=alias if alias in ALIASES else None,
    )


def _members(of: _Field, word: str, position: int) -> _Members:
    members = _Members()
    for item in _items(of, word, position):
        _add_item(members, item)
    if "*" in members.normalised and len(members.normalised) > 1:
        # The rest of the list adds nothing; whether the field begins with * still counts (star rule, DST).
        highest = of.high - (of is _WEEKDAY)
        return _members(of, "*" if word.startswith("*") else f"{of.low}-{highest}", position)
    return members


def _items(of: _Field, word: str, position: int) -> Iterator[_Item]:
    for part in word.split(","):
        yield _Item(of, part, position)
        position += len(part) + 1


_ITEM: Final = re.compile(r"(?P<first>\*|\d+|[A-Za-z]+)(?:-(?P<last>\d+|[A-Za-z]+))?(?:/(?P<step>\d+))?")
_LAST_WEEKDAY: Final = re.compile(r"(?P<weekday>\d+|[A-Za-z]{3})[Ll]")
_NTH_WEEKDAY: Final = re.compile(r"(?P<weekday>\d+|[A-Za-z]{3})#(?P<week>\d+)")


def _add_item(members: _Members, item: _Item) -> None:
    text = item.text
    if item.of is _DAY and text.upper() == "L":
        members.last_day = True
        members.normalised.append("L")
    elif item.of is _DAY and text.upper() == "LW":
        members.last_workday = True
        members.normalised.append("LW")
    elif item.of is _WEEKDAY and (found := _LAST_WEEKDAY.fullmatch(text)):
        weekday = _number(item, found["weekday"]) % _SUNDAY
        members.last_weekdays |= 1 << weekday
        members.normalised.append(f"{weekday}L")
    elif item.of is _WEEKDAY and (found := _NTH_WEEKDAY.fullmatch(text)):
        weekday, week = _number(item, found["weekday"]) % _SUNDAY, int(found["week"])
        if not 1 <= week <= _WEEKS:
            item.refuse(f"{text}: a weekday comes up to {_WEEKS} times a month", f"{found['weekday']}L")
        members.nth_weekdays |= 1 << 7 * (week - 1) + weekday
        members.normalised.append(f"{weekday}#{week}")
    else:
        _add_range(members, item)


def _add_range(members: _Members, item: _Item) -> None:
    _refuse_foreign(item)
    found = _ITEM.fullmatch(item.text)
    if not found or (found["first"] == "*" and found["last"]):
        item.refuse(f"{item.of.name} {item.text or '(nothing)'} is not a number, a range or *")
    low, high, step = _span(item, found)
    if step == 0:
        item.refuse(f"{item.of.name} {item.text}: a step of 0 stands still", f"{item.text.partition('/')[0]}/1")
    if low > high:
        item.refuse(f"{item.of.name} {item.text} runs backwards", _unwrapped(item.of, low, high, step))
    for number in range(low, high + 1, step):
        members.numbers |= 1 << (number % _SUNDAY if item.of is _WEEKDAY else number)
    members.normalised.append(_spelling(item.of, "*" if found["first"] == "*" else None, low, high, step))


def _span(item: _Item, found: re.Match[str]) -> tuple[int, int, int]:
    """Return the first and the last number of a range, and its step."""
    low, high, step = item.of.low, item.of.high, int(found["step"] or 1)
    if found["first"] != "*":
        low = _number(item, found["first"])
        # A lone number with a step runs to the end of the field; crontab(5) leaves that open.
        high = _number(item, found["last"]) if found["last"] else high if found["step"] else low
    return low, high, step


def _spelling(of: _Field, star: str | None, low: int, high: int, step: int) -> str:
    if star is None and low + step > high:
        return str(low % _SUNDAY if of is _WEEKDAY else low)
    return (star or f"{low}-{high}") + (f"/{step}" if step > 1 else "")


def _unwrapped(of: _Field, low: int, high: int, step: int) -> str:
    """Spell a range that wraps as a list that does not: `22-3` as `22-23,0-3`, `FRI-SUN` as `5-7`."""
    if of is _WEEKDAY and low == _SUNDAY:
        return _spelling(of, None, 0, high, step)
    if of is _WEEKDAY and high == 0:
        return _spelling(of, None, low, _SUNDAY, step)
    top = of.high - (of is _WEEKDAY)  # 7 would be Sunday twice
    if step == 1 and of is _WEEKDAY:
        return f"{_spelling(of, None, low, _SUNDAY, 1)},{_spelling(of, None, 1, high, 1)}"
    if step == 1:
        return f"{_spelling(of, None, low, top, 1)},{_spelling(of, None, of.low, high, 1)}"
    size = top - of.low + 1
    numbers = sorted((number - of.low) % size + of.low for number in range(low, high + size + 1, step))
    return ",".join(str(number) for number in numbers)


def _number(item: _Item, word: str) -> int:
    """Read a number or a three-letter name; raise CronError for another field's, or one out of range."""
    of = item.of
    if word.isdigit():
        number = int(word)
        if not of.low <= number <= of.high:
            midnight = of in (_MINUTE, _HOUR) and number == of.high + 1 and word == item.text
            item.refuse(f"{of.name} {number} is outside {of.low}-{of.high}", "0" if midnight else None)
        return number
    upper = word.upper()
    if upper in of.names:
        return of.names.index(upper) + of.low
    for other in _FIELDS:
        if upper in other.names:
            item.refuse(f"{of.name} {word} is a {other.name}")
    if not of.names:
        item.refuse(f"{of.name} {word} is not a number in {of.low}-{of.high}")
    meant = upper[:3] if upper[:3] in of.names else None
    return item.refuse(
        f"{of.name} {word} is neither a number in {of.low}-{of.high} nor one of {' '.join(of.names)}",
        item.text.replace(word, meant) if meant else None,
    )


class _Foreign(NamedTuple):
    """A spelling of another system: where it may turn up, why it is refused, a template of what to write."""

    pattern: str
    fields: tuple[_Field, ...]
    problem: str
    suggestion: str | None = None


# The first that fits says it, so the special ones stand above the general.
_FOREIGN: Final = (
    _Foreign(r"", _FIELDS, "an empty item in a list"),
    _Foreign(r"\?", _FIELDS, "? is Quartz for any", "*"),
    _Foreign(r"R(\(.*\))?(/\d+)?|\d+~\d+", _FIELDS, "a due time is never random; give the schedule a jitter"),
    _Foreign(r"H(?:\(.*\))?/(\d+)", _FIELDS, "H is Jenkins' hash; a jitter spreads the load here", r"*/\1"),
    _Foreign(r"H(\(.*\))?", _FIELDS, "H is Jenkins' hash; a number and a jitter spread the load here"),
    _Foreign(r"WL", (_DAY,), "the last weekday is spelt the other way round", "LW"),
    _Foreign(r"(\d+)W", (_DAY,), "no weekday near a date; only LW, the month's last one", r"\1"),
    _Foreign(r"LW?-\d+", (_DAY,), "no days before the last; only L and LW", "L"),
    _Foreign(r"(LW?)/\d+", (_DAY,), "one day has no steps", r"\1"),
    _Foreign(r"L.+|.+L|.*#.*", (_DAY,), "the last Friday (5L) or second Monday (MON#2) is a day of week"),
    _Foreign(r"L", (_WEEKDAY,), "the last of which days? 5L is the last Friday, and L in day the last day"),
    _Foreign(r"LW|\d*W", (_WEEKDAY,), "LW goes into day, the third field"),
    _Foreign(r"L([0-7]|[A-Z]{3})", (_WEEKDAY,), "the L comes last", r"\1L"),
    _Foreign(r"([0-7]|[A-Z]{3})#L", (_WEEKDAY,), "the last one has no #", r"\1L"),
    _Foreign(r"LW?|\d+L|.*#.*", (_MINUTE, _HOUR, _MONTH), "L, LW and # are for days only"),
    _Foreign(r"/(\d+)", _FIELDS, "a step without what it steps through", r"*/\1"),
    _Foreign(r"\*(\d+)", _FIELDS, "a step needs its slash", r"*/\1"),
    _Foreign(r"(\d+)\.\.(\d+)", _FIELDS, "a range has a hyphen", r"\1-\2"),
)


def _refuse_foreign(item: _Item) -> None:
    for foreign in _FOREIGN:
        if item.of in foreign.fields and (found := re.fullmatch(foreign.pattern, item.text, re.IGNORECASE)):
            suggestion = found.expand(foreign.suggestion) if foreign.suggestion else None
            item.refuse(f"{item.of.name} {item.text or '(nothing)'}: {foreign.problem}", suggestion)
