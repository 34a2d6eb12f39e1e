"""Sums and what they say, against the executions themselves."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.model import ExecutionStatus, Job
from fliqd.core.rollups import (
    BOUNDS_MS,
    HOUR_MS,
    OTHERS,
    Cell,
    Ended,
    Scope,
    add_up,
    quantile,
    slot_of,
    summarize,
)
from tests.store.test_conformance import NOW, a_job

E = ExecutionStatus


def apart(_scope: Scope, key: str, _hour: int) -> str:
    return key


def together(_scope: Scope, _key: str, _hour: int) -> str:
    return OTHERS


def ended(
    job: Job, duration_ms: int = 5, status: ExecutionStatus = E.SUCCESS, at_ms: int = NOW, late_ms: int = 1
) -> Ended:
    return Ended(job, status, at_ms, duration_ms, late_ms)


def test_a_batch_counts_for_all_and_for_its_schedule_queue_and_host() -> None:
    batch = [ended(a_job(1, queue="mail", schedule_id="sched_1")), ended(a_job(2)), ended(a_job(3), status=E.FAILED)]
    sums = add_up(batch, apart)
    hour = NOW // HOUR_MS
    counted = {(cell.scope, cell.key): (s.succeeded, s.failed) for cell, s in sums.items()}
    assert counted == {
        ("jobs", ""): (2, 1),
        ("queue", "mail"): (1, 0),
        ("queue", "default"): (1, 1),
        ("host", "a:80"): (2, 1),
        ("schedule", "sched_1"): (1, 0),
    }
    assert {cell.hour for cell in sums} == {hour}


def test_those_beyond_the_most_stand_together() -> None:
    sums = add_up([ended(a_job(1)), ended(a_job(2))], together)
    assert sums[Cell(Scope.HOST, OTHERS, NOW // HOUR_MS, slot_of(5))].succeeded == 2


def test_what_nobody_knows_the_end_of_has_no_duration() -> None:
    batch = [ended(a_job(1), 100), ended(a_job(2), 0, E.INTERRUPTED)]
    summary = summarize(s for cell, s in add_up(batch, apart).items() if cell.scope == Scope.JOBS)
    assert (summary.total, summary.succeeded, summary.interrupted) == (1, 1, 1)
    assert (summary.success_rate, summary.avg_duration_ms) == (1.0, 100.0)


def test_nothing_is_zeros() -> None:
    summary = summarize([])
    assert (summary.total, summary.success_rate, summary.p95_duration_ms, summary.max_late_ms) == (0, 0.0, 0.0, 0)


def slots_of(durations: list[int]) -> list[int]:
    slots = [0] * len(BOUNDS_MS)
    for duration in durations:
        slots[slot_of(duration)] += 1
    return slots


@given(st.lists(st.integers(0, BOUNDS_MS[-1]), min_size=1, max_size=300))
def test_a_quantile_is_within_its_slot(durations: list[int]) -> None:
    """Read from the sums, it is in the slot of the execution that it is among all of them."""
    slots = slots_of(durations)
    exact = sorted(durations)[-(-len(durations) * 95 // 100) - 1]
    slot = slot_of(exact)
    below = BOUNDS_MS[slot - 1] if slot else 0
    assert below <= quantile(slots, 0.95) <= BOUNDS_MS[slot]


def test_a_quantile_of_many_is_close() -> None:
    chance = random.Random(1)
    durations = [round(chance.lognormvariate(5, 1)) for _ in range(20_000)]
    slots = slots_of(durations)
    exact = sorted(durations)[19_000]
    assert abs(quantile(slots, 0.95) - exact) < exact * 0.1  # this seed's are spread evenly enough


@pytest.mark.parametrize(
    ("duration_ms", "bound_ms"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (100, 128), (10**9, BOUNDS_MS[-1])]
)
def test_slots(duration_ms: int, bound_ms: int) -> None:
    assert BOUNDS_MS[slot_of(duration_ms)] == bound_ms


def test_items_of_buffers_stand_in_a_sum_of_their_own() -> None:
    job, item = a_job(1, host="a:80"), a_job(2, host="a:80", buffer_id="buf_1")
    cells = add_up([ended(job), ended(item), ended(item)], apart)
    assert {(cell.scope, cell.key): sums.succeeded for cell, sums in cells.items()} == {
        ("jobs", OTHERS): 1,
        ("buffers", OTHERS): 2,
        ("queue", "default"): 1,
        ("host", "a:80"): 1,
    }
