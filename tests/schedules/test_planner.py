"""The loop that makes jobs of schedules, beside a real store."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from fliqd.core.drafts import Defaults
from fliqd.core.due_heap import DueEntry
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.engine.planner import Planner
from fliqd.service.schedules import AskedSchedule, ScheduleService
from fliqd.store.base import JobFilter
from tests.store.conftest import open_sqlite
from tests.support import FakeClock, until


async def test_a_clock_that_is_set_back_meanwhile_loses_no_schedule(tmp_path: Path) -> None:
    """One that was handed over as due, and is not due yet again, goes back to where it waits."""
    store = await open_sqlite(tmp_path / "fliqd.db", [])
    clock, numbers = FakeClock(), count(1)
    more: dict[str, Any] = {"store": store.schedules, "clock": clock, "new_ulid": lambda: f"{next(numbers):026d}"}
    given_back: list[DueEntry] = []
    planner = Planner(**more, give_back=given_back.extend, on_missed=print)
    made = await ScheduleService(**more, defaults=Defaults).create(
        AskedSchedule(ScheduleDraft(url="http://a/", every="1m"))
    )
    assert made.next_run_ms is not None
    entry = DueEntry(made.next_run_ms, made.pk, "")
    task = asyncio.create_task(planner.run())

    async def handed_over(entries: Sequence[DueEntry]) -> None:
        planner.hand_over(entries)
        await asyncio.sleep(0)

    await handed_over([entry])

    async def is_back() -> bool | None:
        return given_back == [entry] or None

    await until(is_back, "the schedule's return")
    # An entry from before a change is no news: that change has offered the schedule anew.
    await handed_over([DueEntry(entry.due_ms - 5, entry.pk, "")])
    clock.advance(timedelta(minutes=1))
    await handed_over([entry])

    async def has_run() -> bool | None:
        return len((await store.jobs(JobFilter(schedule_id=made.id), before_pk=None, limit=9)).jobs) == 1 or None

    await until(has_run, "the run")
    assert given_back == [entry]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()
