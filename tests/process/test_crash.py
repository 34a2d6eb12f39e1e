"""`kill -9` at any moment loses nothing that was acknowledged, and repeats at most what was in flight."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import aiohttp
import aiohttp.web
import pytest

from tests.support import FliqdProcess, Target, delivery_ids, process, serve_target, until

IN_FLIGHT = 16
SEED = 20270301


async def create_until_it_dies(fliqd: FliqdProcess, target: Target, acknowledged: list[str]) -> None:
    """Create jobs one after the other, noting each that was acknowledged."""
    number = 0
    while True:
        number += 1
        try:
            answer = await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": 0 if number % 3 else 0.2})
        except (aiohttp.ClientError, OSError):
            return
        assert answer.status in (201, 503), answer.body
        if answer.status == 201:
            acknowledged.append(answer.body["id"])


async def test_kill_9_under_load_with_a_ledger_on_both_sides(tmp_path: Path, target: Target) -> None:
    chance = random.Random(SEED)
    acknowledged: list[str] = []
    kills = 3  # as often as a job may be under way when fliqd dies
    async with process(tmp_path / "state", FLIQD_DISPATCH__MAX_IN_FLIGHT=str(IN_FLIGHT)) as fliqd:
        for _ in range(kills):
            await fliqd.start()
            creators = [asyncio.create_task(create_until_it_dies(fliqd, target, acknowledged)) for _ in range(4)]
            aim = len(target.hits) + chance.randrange(5, 60)
            await target.received(aim)
            await fliqd.kill()
            await asyncio.gather(*creators)
        await fliqd.start()

        async def all_ended() -> bool | None:
            waiting = [(await fliqd("GET", f"/v1/jobs?status={status}&limit=1")).body["jobs"]
                       for status in ("scheduled", "running")]  # fmt: skip
            return not any(waiting) or None

        await until(all_ended, "the end of every job")
        delivered = Counter(delivery_ids(target.hits))
        assert set(acknowledged) <= set(delivered), "an acknowledged job was lost"
        repeats = sum(times - 1 for times in delivered.values())
        assert repeats <= kills * IN_FLIGHT
        for job_id in acknowledged:
            job = await fliqd.job(job_id)
            assert (job["status"], job["attempts"]) == ("success", 1)
            history = await fliqd.executions(job_id)
            assert len(history) == job["executions"] >= delivered[job_id]
            assert all(one["status"] == "interrupted" for one in history[1:])


async def test_a_job_under_way_when_it_dies_is_sent_again(tmp_path: Path, target: Target) -> None:
    """At once, with the same delivery id and the next attempt number, though it has no retries."""
    released = target.hold(2)
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        again = (await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": 0})).body
        never = (await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": 0, "on_interrupt": "fail"})).body
        await target.received(2)
        await fliqd.kill()
        await fliqd.start()
        done = await fliqd.until(again["id"], "success")
        assert (done["executions"], done["attempts"]) == (2, 1)
        failed = await fliqd.job(never["id"])
        assert (failed["status"], failed["attempts"]) == ("failed", 0)
        assert failed["last_error"].startswith("interrupted: ")
        released.set()
    hits = [hit for hit in target.hits if hit.headers["X-Fliq-Delivery-Id"] == again["id"]]
    assert [hit.headers["X-Fliq-Attempt"] for hit in hits] == ["1", "2"]
    assert len(target.hits) == 3


@pytest.mark.parametrize("waiting", [0, 2_500])
async def test_jobs_that_came_due_meanwhile_run_late(tmp_path: Path, target: Target, waiting: int) -> None:
    """Also when there are more of them than a page of the due window or a lane in memory hold."""
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        for first in range(0, waiting, 500):
            jobs = [{"url": target.url, "delay": 0.5} for _ in range(first, first + 500)]
            await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
        created = await fliqd.create(url=target.url, delay=0.5)
        await fliqd.kill()
        already = len(target.hits)
        await asyncio.sleep(0.5)
        await fliqd.start()
        await target.received(waiting + 1)
        await fliqd.until(created["id"], "success")
    assert len(set(delivery_ids(target.hits))) == waiting + 1
    assert already < waiting + 1


async def test_one_slow_target_of_a_crash_does_not_hold_up_the_others(tmp_path: Path, target: Target) -> None:
    """Jobs that a crash cut off leave one after the other, but none waits for another's answer."""
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        released = target.hold(5)
        jobs = [await fliqd.create(url=target.url, delay=0) for _ in range(4)]
        await target.received(4)
        await fliqd.kill()
        await fliqd.start()  # the first of them hangs again
        for job in jobs[1:]:
            await fliqd.until(job["id"], "success")
        assert (await fliqd.job(jobs[0]["id"]))["status"] == "running"
        released.set()
        await fliqd.until(jobs[0]["id"], "success")


async def test_the_limits_of_a_queue_and_a_host_hold_over_crashes(tmp_path: Path, target: Target) -> None:
    """What was under way is sent again within them, and nothing beside it."""
    limits = {"FLIQD_DISPATCH__MAX_IN_FLIGHT_PER_HOST": "1"}
    target.hold(100)
    async with serve_target() as other, process(tmp_path / "state", **limits) as fliqd:
        other.hold(100)
        await fliqd.start()
        await fliqd("PUT", "/v1/queues/one", {"concurrency": 1})
        for _ in range(3):
            await fliqd.create(url=target.url, delay=0)
            await fliqd.create(url=other.url.replace("127.0.0.1", "localhost"), delay=0, queue="one")
            await fliqd.create(url=other.url, delay=0, queue="one")
        for crash in range(1, 4):
            await asyncio.gather(target.received(crash), other.received(crash))
            status = (await fliqd("GET", "/v1/status")).body
            queue = (await fliqd("GET", "/v1/queues/one")).body
            assert (status["in_flight"], queue["running"], queue["waiting"]) == (2, 1, 5)
            await fliqd.kill()
            await fliqd.start()
