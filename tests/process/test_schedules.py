"""Schedules of every second through `kill -9` and suspends: what ran and what was missed are all there was.

`FLIQD_PROVE=1` makes it a hundred rounds rather than a few.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from fliqd.core.times import parse_time
from tests.support import FliqdProcess, Target, delivery_ids, process, serve_target, until

ROUNDS = 100 if os.environ.get("FLIQD_PROVE") else 4
SECOND = 1000
SEED = 20270301
KINDS: list[dict[str, Any]] = [
    {},
    {"misfire": "all", "overlap": "allow"},
    {"misfire": "skip", "overlap": "skip"},
    {"misfire": "all", "jitter": "900ms"},
    {"cron": "* * * * *", "every": None},
]


async def everything(fliqd: FliqdProcess, path: str, name: str) -> list[dict[str, Any]]:
    """Return a list of any length, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = (await fliqd("GET", f"{path}?limit=100{cursor and '&cursor=' + cursor}")).body
        found += page[name]
        cursor = page["next_cursor"]
    return found


async def create(fliqd: FliqdProcess, **asked: Any) -> dict[str, Any]:
    answer = await fliqd("POST", "/v1/schedules", {"every": "1s", "misfire_grace": "500ms", **asked})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.body
    return made


async def slowly(_request: web.Request) -> web.Response:
    """Answer after longer than lies between two runs."""
    await asyncio.sleep(1.3)
    return web.Response()


async def suspend(fliqd: FliqdProcess, seconds: float) -> None:
    assert fliqd.process is not None
    fliqd.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    fliqd.process.send_signal(signal.SIGCONT)


async def account_for(fliqd: FliqdProcess, schedule: dict[str, Any], delivered: Counter[str]) -> tuple[int, int]:
    """Check that each second since its first run has a job that arrived, or is missed; return how many of each."""
    paused = (await fliqd("GET", f"/v1/schedules/{schedule['id']}")).body
    first_ms, end_ms = parse_time(schedule["starts_at"]), parse_time(paused["paused_at"])
    step_ms = SECOND if schedule["every"] else 60 * SECOND
    slots = set(range(first_ms, end_ms + 1, step_ms))
    missed: set[int] = set()
    for one in await everything(fliqd, f"/v1/schedules/{schedule['id']}/missed", "missed"):
        if parse_time(one["first_at"]) > end_ms:
            continue  # the pause that goes on
        covered = set(range(parse_time(one["first_at"]), parse_time(one["last_at"]) + 1, step_ms))
        assert len(covered) == one["count"]
        assert not covered & missed
        missed |= covered
    ran = set()
    for job in await everything(fliqd, f"/v1/schedules/{schedule['id']}/jobs", "jobs"):
        due_ms = parse_time(job["scheduled_at"])
        slot = first_ms + (due_ms - first_ms) // step_ms * step_ms
        assert slot not in ran, "it ran twice"
        ran.add(slot)
        assert (job["status"], job["attempts"]) == ("success", 1)
        assert 1 <= delivered[job["id"]] <= job["executions"]
        history = (await fliqd("GET", f"/v1/jobs/{job['id']}/executions")).body["executions"]
        assert all(parse_time(one["started_at"]) >= due_ms for one in history), "it ran before its time"
    assert not ran & missed, "a run that is missed"
    settled = {slot for slot in slots if slot + (step_ms if schedule["jitter"] else 0) <= end_ms}
    assert settled <= ran | missed, "a due time that is in neither"
    assert {slot for slot in ran | missed if slot <= end_ms} <= slots
    return len(ran), len(missed)


async def test_every_second_is_run_or_missed(tmp_path: Path, target: Target) -> None:
    chance = random.Random(SEED)
    async with serve_target() as slow, process(tmp_path / "state") as fliqd:
        slow.answers = [slowly] * 10_000
        await fliqd.start()
        minute = (await fliqd("GET", "/v1/status")).body["time"][:16] + ":00.000Z"
        made = [await create(fliqd, url=target.url, starts_at=minute, **kind) for kind in KINDS]
        made += [
            await create(fliqd, url=slow.url, starts_at=minute, overlap=kind) for kind in ("queue", "skip", "allow")
        ]
        for schedule in made:
            assert schedule["next_run_at"] > minute
            schedule["starts_at"] = schedule["next_run_at"] if not schedule["jitter"] else after(schedule, minute)
        for number in range(ROUNDS):
            aim = len(target.hits) + chance.randrange(2, 6)
            await target.received(aim)
            if number % 3 == 1:
                await suspend(fliqd, chance.uniform(0.6, 1.6))
                continue
            await asyncio.sleep(chance.uniform(0, 0.3))
            await fliqd.kill()
            await asyncio.sleep(chance.choice([0, 0.7, 1.7]))
            await fliqd.start()
        for schedule in made:
            assert (await fliqd("POST", f"/v1/schedules/{schedule['id']}/pause")).status == 200

        async def all_ended() -> bool | None:
            waiting = [(await fliqd("GET", f"/v1/jobs?status={status}&limit=1")).body["jobs"]
                       for status in ("scheduled", "running")]  # fmt: skip
            return not any(waiting) or None

        await until(all_ended, "the end of every job")
        delivered = Counter(delivery_ids([*target.hits, *slow.hits]))
        tallies = [await account_for(fliqd, schedule, delivered) for schedule in made]
        assert all(ran for (ran, _), schedule in zip(tallies, made, strict=True) if schedule["every"])
        assert any(missed for _, missed in tallies), "nothing was missed: it has proved little"
        assert sum(delivered.values()) - len(delivered) <= ROUNDS * 16


def after(schedule: dict[str, Any], minute: str) -> str:
    """Return the slot of its next run, which a jitter puts off by less than a second."""
    run = schedule["next_run_at"]
    assert run > minute
    return f"{run[:19]}.000Z"
