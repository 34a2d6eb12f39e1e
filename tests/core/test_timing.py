"""A rule between its bounds, and the jitter: held against lists of slots."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fliqd.core.cron_grammar import CronError
from fliqd.core.occurrences import DstPolicy, Gap, Overlap
from fliqd.core.timing import IntervalRule, Timing, cron_rule, jitter_of
from fliqd.core.zones import ZoneError

from .cron_oracle import Spec, walk

DEBIAN = DstPolicy()


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_bounds_are_inclusive() -> None:
    timing = Timing(IntervalRule(0, 10), starts_ms=20, ends_ms=50)
    assert [timing.next_after(after) for after in (-5, 0, 19, 20, 40, 49, 50, 51)] == [
        20, 20, 20, 30, 50, 50, None, None,
    ]  # fmt: skip
    assert [timing.latest(until) for until in (-5, 19, 20, 29, 50, 999)] == [None, None, 20, 20, 50, 50]
    assert timing.count_between(-100, 999) == 4
    assert timing.count_between(20, 50) == 3
    assert timing.count_between(50, 999) == timing.count_between(-100, 19) == 0


@pytest.mark.parametrize(("starts", "ends"), [(21, 29), (30, 20), (51, None)])
def test_bounds_that_leave_nothing(starts: int, ends: int | None) -> None:
    timing = Timing(IntervalRule(0, 10), starts_ms=starts, ends_ms=ends)
    if ends is not None:
        assert timing.next_after(-100) is None
        assert timing.count_between(-100, 1_000) == 0
    assert timing.latest(50) is None


@given(
    st.integers(-20, 60),
    st.integers(1, 9),
    st.none() | st.integers(-30, 90),
    st.none() | st.integers(-30, 90),
    st.integers(-40, 120),
    st.integers(-40, 120),
)
def test_agrees_with_a_list(
    anchor: int, every: int, starts: int | None, ends: int | None, after: int, until: int
) -> None:
    timing = Timing(IntervalRule(anchor, every), starts, ends)
    slots = [
        slot
        for slot in range(anchor, 300, every)
        if (starts is None or slot >= starts) and (ends is None or slot <= ends)
    ]
    assert timing.next_after(after) == next((slot for slot in slots if slot > after), None)
    assert timing.latest(until) == max((slot for slot in slots if slot <= until), default=None)
    assert timing.count_between(after, until) == sum(after < slot <= until for slot in slots)


TWINS = [  # zone, the night of a change: both of them, and one of each kind of rule
    ("Europe/Berlin", "2027-03-27T22:00+00:00"),
    ("Europe/Berlin", "2027-10-30T22:00+00:00"),
    ("America/New_York", "2027-03-14T04:00+00:00"),
    ("America/New_York", "2027-11-07T03:00+00:00"),
    ("Australia/Lord_Howe", "2027-04-03T12:00+00:00"),
    ("Australia/Lord_Howe", "2027-10-02T12:00+00:00"),
    ("UTC", "2027-03-27T22:00+00:00"),
]
ANY = frozenset(range(60))


def spec(text: str, minutes: frozenset[int], hours: frozenset[int] = frozenset(range(24))) -> Spec:
    return Spec(text, minutes, hours, frozenset(range(1, 13)), lambda _day: True, lambda _day: True)


SPECS = [
    spec("*/7 * * * *", frozenset(range(0, 60, 7))),
    spec("30 * * * *", frozenset({30})),
    spec("30 2 * * *", frozenset({30}), frozenset({2})),
    spec("0,15 1-3 * * *", frozenset({0, 15}), frozenset({1, 2, 3})),
    spec("*/20 2 * * *", frozenset({0, 20, 40}), frozenset({2})),
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(TWINS), st.sampled_from(SPECS), st.sampled_from(list(Gap)), st.sampled_from(Overlap))
def test_cron_in_the_nights_of_a_change(
    data: st.DataObject, night: tuple[str, str], cron: Spec, gap: Gap, overlap: Overlap
) -> None:
    zone, start = night[0], ms(night[1])
    rule = cron_rule(cron.text, zone, DstPolicy(gap=gap, overlap=overlap))
    low_s, end_s = start // 1000, start // 1000 + 30 * 3600
    slots = [
        at_s * 1000
        for at_s in walk(cron, rule.zone, low_s, end_s, catch_up=gap is Gap.AFTER, both=overlap is Overlap.BOTH)
    ]
    instants = st.integers(start, start + 29 * 3_600_000) | st.sampled_from([*slots[:-1], start])
    after, until = data.draw(instants), data.draw(instants)
    found = Timing(rule, None, None)
    assert found.count_between(after, until) == sum(after < slot <= until for slot in slots)
    if (following := next((slot for slot in slots if slot > after), None)) is not None:
        assert found.next_after(after) == following
    if (before := max((slot for slot in slots if slot <= until), default=None)) is not None:
        assert found.latest(until) == before


def test_an_expression_and_a_zone_that_cannot_be_read() -> None:
    with pytest.raises(CronError):
        cron_rule("61 * * * *", "UTC", DEBIAN)
    with pytest.raises(ZoneError):
        cron_rule("* * * * *", "Atlantis/Capital", DEBIAN)


@given(st.text("abcdef", min_size=1), st.integers(0, 4 * 10**12), st.integers(0, 10**9))
def test_jitter_stays_within_its_bound_and_is_always_the_same(schedule_id: str, slot: int, most: int) -> None:
    jitter = jitter_of(schedule_id, slot, most)
    assert 0 <= jitter <= most
    assert jitter == jitter_of(schedule_id, slot, most)


def test_jitter_is_spread_evenly_over_slots_and_over_schedules() -> None:
    """Both ends of the range come; a thousand schedules due at one instant do not come together."""
    assert {jitter_of("sched_1", slot, 3) for slot in range(200)} == {0, 1, 2, 3}
    for samples in (
        [jitter_of("sched_1", slot * 60_000, 59_999) for slot in range(6_000)],
        [jitter_of(f"sched_{number}", 1_800_000_000_000, 59_999) for number in range(6_000)],
    ):
        tenths = [sum(low <= sample < low + 6_000 for sample in samples) for low in range(0, 60_000, 6_000)]
        assert sum(tenths) == 6_000
        assert all(480 < tenth < 720 for tenth in tenths)  # 600 each, give or take five sigmas


def test_no_jitter_is_none() -> None:
    assert jitter_of("sched_1", datetime(2027, 1, 1, tzinfo=UTC).microsecond, 0) == 0


def test_the_jitter_of_today_is_that_of_tomorrow() -> None:
    """What a stored next run says must still hold after an upgrade."""
    assert [jitter_of("sched_01", slot, 60_000) for slot in (0, 1_800_000_000_000)] == [41_414, 56_913]
