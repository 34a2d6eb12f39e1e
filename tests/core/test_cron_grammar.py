"""What is read, what is refused, and what the refusal offers instead."""

from datetime import date

import pytest

from fliqd.core.cron_grammar import CronError, parse


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("* * * * *", "* * * * *"),
        ("  0\t0  1 1 *  ", "0 0 1 1 *"),
        ("05 08 01 01 01", "5 8 1 1 1"),
        ("5/15 * * * *", "5-59/15 * * * *"),
        ("55/15 * * * *", "55 * * * *"),
        ("*/1 * * * *", "* * * * *"),
        ("*/90 * * * *", "*/90 * * * *"),
        ("4-4 * * * *", "4 * * * *"),
        ("4-6/1 * * * *", "4-6 * * * *"),
        ("4-6/9 * * * *", "4 * * * *"),
        ("*,5 * * * *", "* * * * *"),
        ("5,* * * * *", "0-59 * * * *"),
        ("0 0 * JAN,mar-May *", "0 0 * 1,3-5 *"),
        ("0 8 * * Mon-FRI", "0 8 * * 1-5"),
        ("0 8 * * 7", "0 8 * * 0"),
        ("0 8 * * SUN", "0 8 * * 0"),
        ("0 8 * * 5-7", "0 8 * * 5-7"),
        ("0 8 * * 7-7", "0 8 * * 0"),
        ("0 8 * * 2/2", "0 8 * * 2-7/2"),
        ("0 8 l * *", "0 8 L * *"),
        ("0 8 15,lw * *", "0 8 15,LW * *"),
        ("0 8 * * 5L,fril,7L", "0 8 * * 5L,5L,0L"),
        ("0 8 * * mon#2,1#4", "0 8 * * 1#2,1#4"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        (" @hourly ", "0 * * * *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 30 2 1", "0 0 30 2 1"),  # a Monday in February is enough
        ("0 0 31 4,6,7 *", "0 0 31 4,6,7 *"),
        ("0 0 29 2 */7", "0 0 29 2 */7"),  # 29 February on a Sunday
    ],
)
def test_reads(text: str, normalised: str) -> None:
    assert parse(text).normalised == normalised
    assert parse(normalised) == parse(text)


REFUSED = [
    # text, field, position, suggestion, words of the message
    ("60 * * * *", "minute", 0, "0", "minute 60 is outside 0-59"),
    ("61 * * * *", "minute", 0, None, "minute 61 is outside 0-59"),
    ("0 24 * * *", "hour", 2, "0", "hour 24 is outside 0-23"),
    ("0 0-24 * * *", "hour", 2, None, "hour 24 is outside 0-23"),
    ("0 0 0 * *", "day", 4, None, "day 0 is outside 1-31"),
    ("0 0 32 * *", "day", 4, None, "day 32 is outside 1-31"),
    ("0 0 * 0 *", "month", 6, None, "month 0 is outside 1-12"),
    ("0 0 * 13 *", "month", 6, None, "month 13 is outside 1-12"),
    ("0 0 * * 8", "day of week", 8, None, "day of week 8 is outside 0-7"),
    ("0 0 * * 1,8", "day of week", 10, None, "day of week 8 is outside 0-7"),
    ("0  0\t* * 1,9", "day of week", 11, None, "(at character 12)"),
    # ranges that wrap
    ("50-10 * * * *", "minute", 0, "50-59,0-10", "runs backwards"),
    ("59-1 * * * *", "minute", 0, "59,0-1", "runs backwards"),
    ("0 22-3 * * *", "hour", 2, "22-23,0-3", "hour 22-3 runs backwards"),
    ("0 8,22-3 * * *", "hour", 4, "22-23,0-3", "hour 22-3 runs backwards"),
    ("0 22-3/2 * * *", "hour", 2, "0,2,22", "runs backwards"),
    ("0 0 28-3 * *", "day", 4, "28-31,1-3", "runs backwards"),
    ("0 0 * NOV-FEB *", "month", 6, "11-12,1-2", "runs backwards"),
    ("0 0 * 11-2/2 *", "month", 6, "1,11", "runs backwards"),
    ("0 0 * * FRI-MON", "day of week", 8, "5-7,1", "runs backwards"),
    ("0 0 * * FRI-SUN", "day of week", 8, "5-7", "runs backwards"),
    ("0 0 * * 6-2/2", "day of week", 8, "1,6", "runs backwards"),
    ("0 0 * * 7-2", "day of week", 8, "0-2", "runs backwards"),
    # no such numbers
    ("*/0 * * * *", "minute", 0, "*/1", "stands still"),
    ("5/0 * * * *", "minute", 0, "5/1", "stands still"),
    ("1,,2 * * * *", "minute", 2, None, "an empty item in a list"),
    (",1 * * * *", "minute", 0, None, "an empty item in a list"),
    ("1, * * * *", "minute", 2, None, "an empty item in a list"),
    ("-1 * * * *", "minute", 0, None, "not a number, a range or *"),
    ("1-2-3 * * * *", "minute", 0, None, "not a number, a range or *"),
    ("1/2/3 * * * *", "minute", 0, None, "not a number, a range or *"),
    ("5- * * * *", "minute", 0, None, "not a number, a range or *"),
    ("5/ * * * *", "minute", 0, None, "not a number, a range or *"),
    ("*-5 * * * *", "minute", 0, None, "not a number, a range or *"),
    ("** * * * *", "minute", 0, None, "not a number, a range or *"),
    ("*/* * * * *", "minute", 0, None, "not a number, a range or *"),
    ("1.5 * * * *", "minute", 0, None, "not a number, a range or *"),
    ("*5 * * * *", "minute", 0, "*/5", "a step needs its slash"),
    ("/5 * * * *", "minute", 0, "*/5", "a step without"),
    ("0 9..17 * * *", "hour", 2, "9-17", "a range has a hyphen"),
    # names
    ("JAN * * * *", "minute", 0, None, "minute JAN is a month"),
    ("0 0 * MON *", "month", 6, None, "month MON is a day of week"),
    ("0 0 * * JAN", "day of week", 8, None, "day of week JAN is a month"),
    ("0 0 * * Monday", "day of week", 8, "MON", "neither a number"),
    ("0 0 * * Monday-FRI", "day of week", 8, "MON-FRI", "neither a number"),
    ("0 0 * January *", "month", 6, "JAN", "neither a number"),
    ("0 0 * * XYZ", "day of week", 8, None, "SUN MON TUE WED THU FRI SAT"),
    ("five * * * *", "minute", 0, None, "minute five is not a number in 0-59"),
    # other systems
    ("0 0 ? * 1", "day", 4, "*", "? is Quartz"),
    ("0 0 15W * *", "day", 4, "15", "only LW"),
    ("0 0 WL * *", "day", 4, "LW", "the other way round"),
    ("0 0 L-3 * *", "day", 4, "L", "no days before the last"),
    ("0 0 L/2 * *", "day", 4, "L", "no steps"),
    ("0 0 5L * *", "day", 4, None, "is a day of week"),
    ("0 0 MON#2 * *", "day", 4, None, "is a day of week"),
    ("0 0 * * L", "day of week", 8, None, "5L is the last Friday"),
    ("0 0 * * L5", "day of week", 8, "5L", "the L comes last"),
    ("0 0 * * LW", "day of week", 8, None, "goes into day"),
    ("0 0 * * MON#6", "day of week", 8, "MONL", "up to 5 times a month"),
    ("0 0 * * MON#0", "day of week", 8, "MONL", "up to 5 times a month"),
    ("0 0 * * MON#L", "day of week", 8, "MONL", "the last one has no #"),
    ("0 0 * * MON-FRI#2", "day of week", 8, None, "not a number, a range or *"),
    ("L * * * *", "minute", 0, None, "for days only"),
    ("R * * * *", "minute", 0, None, "give the schedule a jitter"),
    ("0 R(1-5) * * *", "hour", 2, None, "give the schedule a jitter"),
    ("0~30 * * * *", "minute", 0, None, "give the schedule a jitter"),
    ("H * * * *", "minute", 0, None, "Jenkins"),
    ("H/15 * * * *", "minute", 0, "*/15", "Jenkins"),
    ("H(0-30)/10 * * * *", "minute", 0, "*/10", "Jenkins"),
    # the whole
    ("", None, 0, None, "no fields: five are expected"),
    ("   ", None, 0, None, "no fields: five are expected"),
    ("* * * *", None, 0, None, "4 fields: five are expected"),
    ("daily", None, 0, "@daily", "1 field: five are expected"),
    ("0 0 12 * * 1", None, 0, "0 12 * * 1", "six fields"),
    ("* * * * * *", None, 0, "* * * * *", "six fields"),
    ("30 0 12 * * 1", None, 0, None, "six fields"),
    ("*/10 * * * * *", None, 0, None, 'every = "10s"'),
    ("0 0 12 * * ? 2030", None, 11, None, "7 fields: five are expected"),
    ("1, 2 * * * *", None, 0, None, "no spaces around its commas"),
    ("CRON_TZ=Europe/Berlin 0 8 * * *", None, 0, "0 8 * * *", 'timezone = "Europe/Berlin"'),
    ("TZ=UTC 0 8 * * *", None, 0, "0 8 * * *", 'timezone = "UTC"'),
    ("@reboot", None, 0, None, "a one-time job"),
    ("@every 5m", None, 0, None, 'every = "…"'),
    ("@dayly", None, 0, "@daily", "@dayly is not an alias"),
    ("@", None, 0, None, "@ is not an alias"),
    ("@daily 5", None, 7, "@daily", "stands alone"),
    ("* * * * *" + " " * 248, None, 256, None, "257 characters are too many"),
    ("1–5 * * * *", None, 1, "-", "not a character"),  # noqa: RUF001 - as a word processor writes it
    ("٣ * * * *", None, 0, None, "not a character"),
    ("0 0 * * *\n", None, 9, None, "not a character"),
    ("0 0\u00a0* * *", None, 3, "a space", "not a character"),
    # dates
    ("0 0 30 2 *", "day", 4, "L", "no such date"),
    ("0 0 31 2,4,6,9,11 *", "day", 4, "L", "no such date"),
    ("0  0 31 4 */7", "day", 5, None, "no such date"),
    ("0 0 LW * */7", "day", 4, None, "no such date"),  # the last workday is no Sunday
]


@pytest.mark.parametrize(("text", "field", "position", "suggestion", "words"), REFUSED)
def test_refuses(text: str, field: str | None, position: int, suggestion: str | None, words: str) -> None:
    with pytest.raises(CronError) as caught:
        parse(text)
    error = caught.value
    assert (error.field, error.position, error.suggestion) == (field, position, suggestion)
    assert words in error.message
    assert f"(at character {position + 1})" in str(error)
    assert not suggestion or str(error).endswith(f"; write {suggestion}")


@pytest.mark.parametrize(
    ("text", "position", "suggestion"),
    [(text, position, hint) for text, field, position, hint, _ in REFUSED if hint and field],
)
def test_suggestions_work(text: str, position: int, suggestion: str) -> None:
    end = min(found for mark in ", \t" if (found := f"{text} ".find(mark, position)) >= 0)
    parse(text[:position] + suggestion + text[end:])


def test_what_comes_too_rarely_is_refused_when_it_is_made() -> None:
    """29 February is a Sunday in 2032 and then not before 2060."""
    text = "0 0 29 2 */7"
    assert parse(text, since=date(2026, 1, 1)) == parse(text)
    with pytest.raises(CronError, match="no date within 12 years"):
        parse(text, since=date(2032, 3, 1))
    assert parse("0 0 29 2 *", since=date(2096, 3, 1)) == parse("0 0 29 2 *")  # eight years to wait
