"""What people are told about an expression: plain English, and where daylight saving time bites."""

from datetime import UTC, datetime

import pytest

from fliqd.core.cron_grammar import idle_steps, parse
from fliqd.core.describe import describe
from fliqd.core.dst_warnings import dst_warnings
from fliqd.core.occurrences import DstPolicy, Gap, Overlap
from fliqd.core.zones import zone

NEW_YEAR_2025 = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("0 8 * * 1-5", "At 08:00, Monday through Friday"),
        ("0 8 * * MON-FRI", "At 08:00, Monday through Friday"),
        ("@daily", "At 00:00"),
        ("@hourly", "Every hour"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("*,5 * * * *", "Every minute"),
        ("*/30 */12 * * *", "Every 30 minutes, every 12 hours"),
        ("*/45 * * * *", "At 0 and 45 minutes past the hour"),
        ("0 */13 * * *", "At 00:00 and 13:00"),
        ("*/999 * * * *", "Every hour"),
        ("0 0 */40 * *", "At 00:00, on day 1 of the month"),
        ("0 0 */20 * *", "At 00:00, on day 1 and 21 of the month"),
        ("0 0 1 */7 *", "At 00:00, on day 1 of the month, only in January and August"),
        ("0 0 13 * 5", "At 00:00, on day 13 of the month, or on Friday"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 LW * *", "At 00:00, on the last weekday of the month"),
        ("30 2 * * 5L", "At 02:30, on the last Friday of the month"),
        ("0 9 * * MON#2", "At 09:00, on the second Monday of the month"),
        ("0 0 15,L * *", "At 00:00, on day 15 and the last day of the month"),
        ("0 0 * * 5L,MON#2", "At 00:00, on the second Monday and the last Friday of the month"),
        ("0 0 * 2 3,MON#2", "At 00:00, only in February, on Wednesday and the second Monday of the month"),
        ("0 0 1-7 * */7", None),
        ("0 0 1,LW * SUN", "At 00:00, on day 1 and the last weekday of the month, or on Sunday"),
    ],
)
def test_describes(text: str, description: str | None) -> None:
    expected = description or (
        "At 00:00, on day 1, day 2, day 3, day 4, day 5, day 6 and day 7 of the month, and only on Sunday"
    )
    assert describe(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("*/999 * * * *", ["minute */999: a step of 999 leads out of 0-59; it is 0 alone"]),
        ("1,5/70 */30 * * *", [
            "minute 5/70: a step of 70 leads out of 5-59; it is 5 alone",
            "hour */30: a step of 30 leads out of 0-23; it is 0 alone",
        ]),
        ("10-20/30 * */31 JAN-MAR/5 */9", [
            "minute 10-20/30: a step of 30 leads out of 10-20; it is 10 alone",
            "day */31: a step of 31 leads out of 1-31; it is 1 alone",
            "month JAN-MAR/5: a step of 5 leads out of 1-3; it is 1 alone",
            "day of week */9: a step of 9 leads out of 0-7; it is 0 alone",
        ]),
        ("*/60 */24 * */12 */7", []),
        ("*/45 */13 */30 */7 */6", []),
        ("30/60 0 L * MON#2", []),
        ("@daily", []),
    ],
)  # fmt: skip
def test_a_step_that_leads_nowhere_is_told(text: str, says: list[str]) -> None:
    """Vixie's cron takes it for the first number of its range, so it is no error."""
    assert idle_steps(text) == says


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin",
         [("2025-03-30 02:30", "gap", "does not exist; runs once at 03:00 instead"),
          ("2025-10-26 02:30", "overlap", "comes twice; runs the first time only")]),
        ("0,30 2 * * *", "Europe/Berlin",
         [("2025-03-30 02:00", "gap", "and 1 more do not exist; runs once at 03:00 instead"),
          ("2025-10-26 02:00", "overlap", "and 1 more come twice; runs the first time only")]),
        ("0 */2 * * *", "Europe/Berlin",
         [("2025-03-30 02:00", "gap", "does not exist; no run"),
          ("2025-10-26 02:00", "overlap", "comes twice; runs both times")]),
        ("0 * * * *", "Australia/Lord_Howe", [("2025-10-05 02:00", "gap", "does not exist; no run")]),
        ("0 0 * * *", "America/Havana",
         [("2025-03-09 00:00", "gap", "does not exist; runs once at 01:00 instead"),
          ("2025-11-02 00:00", "overlap", "comes twice; runs the first time only")]),
        ("*/15 * * * *", "Europe/Berlin", []),
        ("0 * * * *", "Europe/Berlin", []),
        ("0 8 * * *", "Europe/Berlin", []),
        ("30 2 * * *", "UTC", []),
        ("30 2 * * 1-5", "Europe/Berlin", []),
    ],
)  # fmt: skip
def test_warns_of_changes_that_bite(text: str, name: str, expected: list[tuple[str, str, str]]) -> None:
    found = dst_warnings(parse(text), zone(name), NEW_YEAR_2025)
    assert [(warning.local, warning.kind, warning.what) for warning in found] == expected


def test_a_warning_says_what_the_policy_makes_of_it() -> None:
    policy = DstPolicy(gap=Gap.SKIP, overlap=Overlap.BOTH)
    gap, overlap = dst_warnings(parse("30 2 * * *"), zone("Europe/Berlin"), NEW_YEAR_2025, dst=policy)
    assert gap.what == "does not exist; no run"
    assert overlap.what == "comes twice; runs both times"
    assert gap.at_ms == int(datetime(2025, 3, 30, 1, tzinfo=UTC).timestamp()) * 1000


def test_a_lost_day_has_no_runs() -> None:
    start = int(datetime(2011, 7, 1, tzinfo=UTC).timestamp()) * 1000
    found = dst_warnings(parse("0 8 * * *"), zone("Pacific/Apia"), start)
    assert [(warning.local, warning.what) for warning in found] == [("2011-12-30 08:00", "does not exist; no run")]
