"""A cron expression in plain English."""

from typing import Final

from fliqd.core.cron import Cron

_HOUR: Final = (1 << 60) - 1
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")


def describe(cron: Cron) -> str:
    """Return a sentence without a full stop, such as `At 08:00, Monday through Friday`.

    cron-descriptor writes it, but for what it misreads (2.2.1): `5L,MON#2` as the second Friday and Monday,
    `1-7 * */7` as every seven days, and lists such as `3,*/7` not at all.
    """
    # Half a tenth of a second to import, and only people who look at a schedule need it.
    from cron_descriptor import Options, get_description  # type: ignore[import-untyped]  # noqa: PLC0415

    options = Options()
    options.use_24hour_time_format = True
    minute, hour, day, month, weekday = cron.normalised.split()
    hours = [number for number in range(24) if cron.times >> 60 * number & _HOUR]
    minute = _spelt_out(minute, cron.times >> 60 * hours[0] & _HOUR, 60)
    hour = _spelt_out(hour, sum(1 << number for number in hours), 24)
    day = _spelt_out(day, cron.days, 31) if weekday == "*" else day
    month = _spelt_out(month, cron.months, 12)
    lists = any("," in word and set(word) & set("*LW#") for word in (day, weekday))
    if not lists and not weekday.startswith("*/"):
        return str(get_description(f"{minute} {hour} {day} {month} {weekday}", options))
    when = get_description(f"{minute} {hour} * {month} *", options)
    parts = [_dates(cron)] if day != "*" else []
    parts += [_weekdays(cron)] if weekday != "*" else []
    return f"{when}, on {(', or on ' if cron.either_day else ', and only on ').join(parts)}"


def _spelt_out(word: str, members: int, size: int) -> str:
    """Return a field as a list of its numbers where cron-descriptor would misread it; `size` is one turn of it."""
    step = word.partition("/")[2]
    # */45 is not every 45 minutes, but twice an hour.
    uneven = step.isdigit() and size % int(step) != 0 and members.bit_count() <= 2  # noqa: PLR2004 - few enough to read
    if not uneven and ("," not in word or "*" not in word):
        return word
    return ",".join(str(number) for number in range(members.bit_length()) if members >> number & 1)


def _dates(cron: Cron) -> str:
    found = [f"day {number}" for number in range(1, 32) if cron.days >> number & 1]
    found += ["the last day"] * cron.last_day + ["the last weekday"] * cron.last_workday
    return f"{_listed(found)} of the month"


def _weekdays(cron: Cron) -> str:
    every: list[str] = []
    some: list[str] = []
    for number, name in enumerate(_WEEKDAYS):
        weeks = [week for week in range(len(_ORDINALS)) if cron.weekdays >> 7 * week + number & 1]
        if len(weeks) == len(_ORDINALS):
            every.append(name)
            continue
        some += [f"the {_ORDINALS[week]} {name}" for week in weeks]
        if cron.last_weekdays >> number & 1:
            some.append(f"the last {name}")
    return _listed(every + some) + (" of the month" if some else "")


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
