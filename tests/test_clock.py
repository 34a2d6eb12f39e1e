"""Alarms on wall time, on the machine's own clock."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from fliqd import clock as clocks
from fliqd.clock import SystemClock, sleep_until
from fliqd.timerfd import open_wall_timer
from tests.support import PATIENCE_S


@pytest.fixture(params=["kernel timer", "loop alone"])
async def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SystemClock]:
    if request.param == "loop alone":
        monkeypatch.setattr(clocks, "open_wall_timer", lambda: None)
    elif open_wall_timer() is None:
        pytest.skip("this system has no timerfd")
    made = SystemClock()
    yield made
    made.close()


async def test_alarms_ring_in_order_and_not_early(clock: SystemClock) -> None:
    rung: list[tuple[str, bool]] = []
    done = asyncio.Event()
    now = clock.now_ms()

    def ring(name: str, due_ms: int) -> None:
        rung.append((name, clock.now_ms() >= due_ms))
        if name == "last":
            done.set()

    for name, wait_ms in (("last", 60), ("first", 20), ("never", 30), ("past", -5), ("second", 40)):
        due_ms = now + wait_ms
        alarm = clock.call_at(due_ms, lambda name=name, due_ms=due_ms: ring(name, due_ms))  # type: ignore[misc]
        if name == "never":
            alarm.cancel()
    assert rung == []
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    assert rung == [("past", True), ("first", True), ("second", True), ("last", True)]


async def test_sleep_until(clock: SystemClock) -> None:
    due_ms = clock.now_ms() + 15
    await sleep_until(clock, due_ms)
    assert clock.now_ms() >= due_ms
    await sleep_until(clock, 0)


@pytest.mark.parametrize("step_s", [3600, -3600, 10 * 365 * 86400])
async def test_a_step_is_noticed_and_rings_what_is_due(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    """What the kernel or the watchdog has it look for; set in this process alone, not on the machine."""
    steps: list[int] = []
    rung: list[str] = []
    clock.on_step(steps.append)
    clock.call_at(clock.now_ms() + 1_800_000, lambda: rung.append("in half an hour"))
    clock.look()
    assert (steps, rung) == ([], [])
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + step_s * 1_000_000_000)
    clock.look()
    assert len(steps) == 1
    assert abs(steps[0] - step_s * 1000) < 1000
    assert rung == (["in half an hour"] if step_s > 0 else [])
    clock.look()
    assert len(steps) == 1
