"""What holds for every expression, zone and base of 1971-2100, held against a walk minute by minute."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fliqd.core import cron as wall
from fliqd.core import zones
from fliqd.core.cron import Cron
from fliqd.core.cron_grammar import CronError, parse
from fliqd.core.describe import describe
from fliqd.core.occurrences import (
    DstPolicy,
    Gap,
    Overlap,
    Tally,
    count_between,
    next_run,
    occurrences,
    previous_run,
    tally,
)

from .cron_oracle import EPOCH, Spec, walk
from .cron_strategies import bases, specs, zone_names

POLICIES = [DstPolicy(gap=gap, overlap=overlap) for gap in Gap for overlap in Overlap]

# A walk takes milliseconds and a shared machine stalls: hypothesis' own deadlines would be timing asserts.
walking = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def read(spec: Spec) -> Cron:
    try:
        return parse(spec.text)
    except CronError as error:
        assume(error.field != "day")  # 31 February
        raise


@walking
@given(st.data(), specs(), zone_names, st.sampled_from(POLICIES))
def test_agrees_with_a_walk_through_two_days(data: st.DataObject, spec: Spec, name: str, policy: DstPolicy) -> None:
    cron, zone, base_ms = read(spec), zones.zone(name), data.draw(bases(name))
    end_ms = base_ms + 2 * zones.DAY_S * 1000
    walked = [
        at_s * 1000
        for at_s in walk(
            spec,
            zone,
            base_ms // 1000 + 1,
            end_ms // 1000 + 1,
            catch_up=policy.gap is Gap.AFTER,
            both=policy.overlap is Overlap.BOTH,
        )
    ]
    found = []
    for at_ms in occurrences(cron, zone, base_ms, policy):
        if at_ms > end_ms:
            break
        found.append(at_ms)

    assert found == walked
    assert count_between(cron, zone, base_ms, end_ms, policy) == len(walked)
    expected = Tally(walked[0], walked[-1], len(walked)) if walked else None
    assert tally(cron, zone, base_ms, end_ms, policy) == expected


@walking
@given(st.data(), specs(), zone_names, st.sampled_from(POLICIES))
def test_next_run_is_later_real_and_never_decreasing(
    data: st.DataObject, spec: Spec, name: str, policy: DstPolicy
) -> None:
    cron, zone, base_ms = read(spec), zones.zone(name), data.draw(bases(name))
    run_ms = next_run(cron, zone, base_ms, policy)
    assume(run_ms is not None)
    assert run_ms is not None
    later_ms = base_ms + data.draw(st.integers(0, 40 * zones.DAY_S * 1000))
    after_later_ms = next_run(cron, zone, later_ms, policy)

    assert run_ms > base_ms
    assert after_later_ms is not None
    assert after_later_ms >= run_ms
    assert (after_later_ms == run_ms) == (later_ms < run_ms)  # nothing runs in between
    assert previous_run(cron, zone, run_ms, policy) == run_ms
    before_ms = previous_run(cron, zone, run_ms - 1, policy)
    assert before_ms is None or before_ms <= base_ms


@walking
@given(st.data(), specs(), zone_names)
def test_wherever_the_iteration_starts_it_finds_the_same_runs(data: st.DataObject, spec: Spec, name: str) -> None:
    cron, zone, base_ms = read(spec), zones.zone(name), data.draw(bases(name))
    runs = list(islice(occurrences(cron, zone, base_ms), 12))
    for number, run_ms in enumerate(runs):
        between_ms = data.draw(st.integers(runs[number - 1] if number else base_ms, run_ms - 1))
        assert next_run(cron, zone, between_ms) == run_ms
        assert count_between(cron, zone, base_ms, run_ms) == number + 1


@walking
@given(st.data(), specs(), zone_names)
def test_every_run_has_a_local_time_the_expression_names_or_ends_a_gap(
    data: st.DataObject, spec: Spec, name: str
) -> None:
    cron, zone, base_ms = read(spec), zones.zone(name), data.draw(bases(name))
    for run_ms in islice(occurrences(cron, zone, base_ms), 6):
        at_s = run_ms // 1000
        shown = (EPOCH + timedelta(seconds=at_s)).astimezone(zone)
        assert shown.astimezone(UTC) == EPOCH + timedelta(seconds=at_s)
        if not spec.names(shown.replace(tzinfo=UTC)):
            assert cron.fixed
            assert zones.offset_at(zone, at_s - 1) < zones.offset_at(zone, at_s)


@settings(deadline=None, max_examples=200)
@given(st.data(), specs(), zone_names, st.sampled_from(POLICIES))
def test_counts_of_years_add_up(data: st.DataObject, spec: Spec, name: str, policy: DstPolicy) -> None:
    cron, zone, start_ms = read(spec), zones.zone(name), data.draw(bases(name))
    year_ms = 366 * zones.DAY_S * 1000
    middle_ms = start_ms + data.draw(st.integers(0, 5 * year_ms))
    end_ms = middle_ms + data.draw(st.integers(0, 5 * year_ms))

    parts = (
        count_between(cron, zone, start_ms, middle_ms, policy),
        count_between(cron, zone, middle_ms, end_ms, policy),
    )
    assert sum(parts) == count_between(cron, zone, start_ms, end_ms, policy)


@walking
@given(specs(), st.integers(wall.FIRST_WALL, wall.END_WALL), st.integers(0, 3000))
def test_wall_minutes_agree_with_a_walk(spec: Spec, low: int, size: int) -> None:
    cron = read(spec)
    end = min(low + size, wall.END_WALL)
    origin = datetime(1970, 1, 1, tzinfo=UTC)
    named = [minute for minute in range(low, end) if spec.names(origin + timedelta(minutes=minute))]

    assert wall.count(cron, low, end) == len(named)
    assert wall.first(cron, low, end) == (named[0] if named else None)
    assert wall.last(cron, low, end) == (named[-1] if named else None)


@walking
@given(specs())
def test_normalised_text_means_the_same(spec: Spec) -> None:
    cron = read(spec)
    assert parse(cron.normalised) == cron
    assert not set(cron.normalised) - set("0123456789*/,-#LW ")
    assert describe(cron)


@walking
@given(st.data(), specs(), st.sampled_from(["Europe/Berlin", "America/New_York", "America/Santiago", "UTC"]))
def test_agrees_with_cronsim(data: st.DataObject, spec: Spec, name: str) -> None:
    """Lord Howe is not among the zones: cronsim 2.8 loses 03:00 of `* 3 * * *` when 02:00 becomes 02:30.

    Nor are bases in the second pass of an overlap, after which it names fixed times of the first.
    """
    cron, zone, base_ms = read(spec), zones.zone(name), data.draw(bases(name))
    start = (EPOCH + timedelta(milliseconds=base_ms)).astimezone(zone)
    assume(not start.fold)
    theirs = [int(at.timestamp()) * 1000 for at in islice(CronSim(cron.normalised, start), 5)]

    assert list(islice(occurrences(cron, zone, base_ms), len(theirs))) == theirs


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except CronError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - a text that is read is as good


@given(st.text(alphabet="0123456789*/-,LW#?@ \tMONFRIjanuaryRH()", max_size=40))
def test_any_near_miss_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except CronError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - a text that is read is as good


@pytest.mark.parametrize("base_ms", [-(10**18), -62_135_596_800_000, 0, 253_402_300_799_999, 10**18])
@pytest.mark.parametrize("name", ["UTC", "Pacific/Kiritimati", "America/New_York"])
def test_the_edges_of_the_calendar_are_no_error(base_ms: int, name: str) -> None:
    cron, zone = parse("*/5 * * * *"), zones.zone(name)
    run_ms = next_run(cron, zone, base_ms)
    assert run_ms is None or run_ms > base_ms
    before_ms = previous_run(cron, zone, base_ms)
    assert before_ms is None or before_ms <= base_ms
    assert count_between(cron, zone, base_ms, base_ms + 1000) in {0, 1}
