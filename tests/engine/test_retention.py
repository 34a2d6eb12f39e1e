"""Room is made in time: by age, number and size; and what happens when there is none."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from fliqd.store.base import JobFilter
from fliqd.store.sqlite import store as sqlite_store
from tests.support import RunningDaemon, Target, until

BIG = "x" * 200_000


@pytest.fixture
def env(request: pytest.FixtureRequest) -> dict[str, str]:
    limits: dict[str, str] = getattr(request, "param", {})
    return {f"FLIQD_RETENTION__{name.upper()}": value for name, value in limits.items()}


async def finished(fliqd: RunningDaemon, target: Target, **more: Any) -> str:
    job = await fliqd.create(url=target.url, delay=0, **more)
    await fliqd.until(job["id"], "success")
    return str(job["id"])


async def gone(fliqd: RunningDaemon, job_id: str) -> bool | None:
    assert fliqd.daemon is not None
    await fliqd.daemon.beat()
    return (await fliqd("GET", f"/v1/jobs/{job_id}")).status == 404 or None


@pytest.mark.parametrize("env", [{"finished_jobs": "1h"}], indirect=True)
async def test_by_age(fliqd: RunningDaemon, target: Target) -> None:
    waiting = await fliqd.create(url=target.url, delay="9h")
    old = await finished(fliqd, target)
    fliqd.clock.advance(timedelta(minutes=30))
    young = await finished(fliqd, target)
    fliqd.clock.advance(timedelta(minutes=31))
    await until(lambda: gone(fliqd, old), "the old job's end")
    await fliqd.job(young)
    await fliqd.job(waiting["id"])


@pytest.mark.parametrize("env", [{"max_finished_jobs": "2"}], indirect=True)
async def test_by_number(fliqd: RunningDaemon, target: Target) -> None:
    ids = []
    for _ in range(5):
        ids.append(await finished(fliqd, target))
        fliqd.clock.advance(timedelta(seconds=1))
    fliqd.clock.advance(timedelta(minutes=2))
    await until(lambda: gone(fliqd, ids[2]), "the third job's end")
    kept = [job["id"] for job in (await fliqd("GET", "/v1/jobs")).body["jobs"]]
    assert kept == [ids[4], ids[3]]


@pytest.mark.parametrize("env", [{"max_db_size": "2MiB"}], indirect=True)
async def test_by_size_and_when_that_does_not_help(fliqd: RunningDaemon, target: Target) -> None:
    """Finished jobs make room; when live ones fill the store, creates are refused, and nothing is lost."""
    for number in range(12):
        await fliqd.create(url=target.url, delay="0s", body=BIG)
        await target.received(number + 1)
        await until(lambda: idle(fliqd), "the record of it")  # itself may be swept at once
        fliqd.clock.advance(timedelta(minutes=2))
        assert fliqd.daemon is not None
        await fliqd.daemon.beat()
        await until(lambda: settled(fliqd), "the sweep")
    live = []
    while (answer := await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": "1h", "body": BIG})).status == 201:
        live.append(answer.body["id"])
        assert len(live) < 20
    assert (answer.status, answer.code) == (503, "store_full")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(live) >= 5
    assert (await fliqd("GET", "/readyz")).status == 200  # what is there is still served
    fliqd.clock.advance(timedelta(hours=2))
    for job_id in live:
        await fliqd.until(job_id, "success")
    await until(lambda: takes_work(fliqd, target), "room again")


async def idle(fliqd: RunningDaemon) -> bool | None:
    return (await fliqd("GET", "/v1/status")).body["in_flight"] == 0 or None


@pytest.mark.parametrize("env", [{"max_db_size": "2MiB"}], indirect=True)
async def test_a_store_that_no_sweep_helps_is_told(fliqd: RunningDaemon, target: Target) -> None:
    """Once, however often it is swept; and once more when there is room."""
    assert fliqd.daemon is not None
    await fliqd("POST", "/v1/alerts", {"type": "webhook", "target": target.url})
    for _ in range(10):
        await fliqd.create(url="http://127.0.0.1:9/", delay="1h", body=BIG)
    sweeps = 0
    for _ in range(2):
        fliqd.clock.advance(timedelta(minutes=2))
        await fliqd.create(url="http://127.0.0.1:9/", delay="2h")
        sweeps += await fliqd.daemon._janitor.sweep()  # noqa: SLF001 -- now, not at a beat
        await target.received(1)
    for job in (await fliqd("GET", "/v1/jobs?limit=100")).body["jobs"]:
        await fliqd("DELETE", f"/v1/jobs/{job['id']}")
    assert await fliqd.daemon._janitor.sweep() > sweeps == 0  # noqa: SLF001 -- likewise
    events = [json.loads(hit.body) for hit in await target.received(2)]
    assert [event["event"] for event in events] == ["store_full", "recovered"]
    assert events[0]["subject"] == events[1]["subject"] == "retention.max_db_size"
    assert "2097152 bytes that retention.max_db_size allows" in events[0]["message"]


async def settled(fliqd: RunningDaemon) -> bool | None:
    assert fliqd.daemon is not None
    return await fliqd.daemon._store.used_bytes() < 2 * 1024 * 1024 or None  # noqa: SLF001


async def takes_work(fliqd: RunningDaemon, target: Target) -> bool | None:
    answer = await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": "1h", "body": BIG})
    assert fliqd.daemon is not None
    await fliqd.daemon.beat()
    return answer.status == 201 or None


async def test_more_creates_than_the_disk_can_take_are_turned_away(
    fliqd: RunningDaemon, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than have all of them wait ever longer; those that are in are kept."""
    monkeypatch.setattr(sqlite_store, "MOST_WAITING", 50)
    batch = {"jobs": [{"url": target.url, "delay": "1h"}] * 40}
    answers = await asyncio.gather(*(fliqd("POST", "/v1/jobs/batch", batch) for _ in range(20)))
    codes = {(answer.status, None if answer.status == 200 else answer.code) for answer in answers}
    assert codes == {(200, None), (503, "busy")}
    kept = sum(answer.status == 200 for answer in answers)
    assert fliqd.daemon is not None
    found = (await fliqd.daemon._store.jobs(JobFilter(), before_pk=None, limit=1_000)).jobs  # noqa: SLF001
    assert len(found) == kept * 40


@pytest.mark.parametrize("env", [{"max_db_size": "1MiB"}], indirect=True)
async def test_live_jobs_that_fill_the_store_can_always_end(fliqd: RunningDaemon, target: Target) -> None:
    """What retries add to a store that is full already stops neither claims nor outcomes."""
    body = "y" * 1_500
    jobs = []
    while True:
        target.answers = []
        batch = [{"url": target.url, "delay": "1h", "max_retries": 9, "backoff": {"kind": "fixed", "initial": 0},
                  "body": body} for _ in range(20)]  # fmt: skip
        results = (await fliqd("POST", "/v1/jobs/batch", {"jobs": batch})).body
        if "results" not in results:
            assert results["error"]["code"] == "store_full"
            break
        jobs += [result["job"]["id"] for result in results["results"]]
    target.answers = [web.Response(status=500, text="z" * 2_000) for _ in range(6 * len(jobs))]
    fliqd.clock.advance(timedelta(hours=1))
    for job_id in jobs:
        await fliqd.until(job_id, "success", "failed")


async def test_a_page_of_a_list_stays_small(fliqd: RunningDaemon) -> None:
    """However large the bodies are; the cursor goes on from there."""
    for number in range(12):
        await fliqd.create(url="http://127.0.0.1:9/", delay="1h", body="x" * 900_000, name=str(number))
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await fliqd("GET", f"/v1/jobs?limit=100{cursor and '&cursor=' + cursor}")).body
        assert 1 <= len(page["jobs"]) <= 5
        seen += [job["name"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    assert seen == [str(number) for number in reversed(range(12))]
