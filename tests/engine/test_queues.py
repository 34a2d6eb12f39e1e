"""Queues through the API: concurrency, rate and pauses of the jobs that carry a name."""

import asyncio
import socket
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from tests.support import FakeClock, RunningDaemon, Target, until


async def test_concurrency_limits_a_queue_and_nothing_else(fliqd: RunningDaemon, target: Target) -> None:
    under_way, most = Counter[str](), Counter[str]()

    async def busy(request: web.Request) -> web.Response:
        queue = request.headers["X-Queue"]
        under_way[queue] += 1
        most[queue] = max(most[queue], under_way[queue])
        await asyncio.sleep(0.02)
        under_way[queue] -= 1
        return web.Response()

    target.answers += [busy] * 24
    put = await fliqd("PUT", "/v1/queues/mail", {"concurrency": 2})
    assert (put.status, put.body["concurrency"], put.body["paused"]) == (200, 2, False)
    jobs = [
        {"url": target.url, "delay": 0, "queue": queue, "headers": {"X-Queue": queue}}
        for queue in ("mail", "default")
        for _ in range(12)
    ]
    await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
    await target.received(24)
    assert most["mail"] == 2
    assert most["default"] > 2


async def test_a_paused_queue_keeps_its_jobs(fliqd: RunningDaemon, target: Target) -> None:
    await fliqd("POST", "/v1/queues/mail/pause")
    held = await fliqd.create(url=target.url, delay=0, queue="mail")
    free = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(free["id"], "success")
    assert (await fliqd("GET", f"/v1/jobs/{held['id']}/why")).body["waits_for"][0]["reason"] == "queue_paused"
    await fliqd.stop()
    await fliqd.start()
    [default, mail] = (await fliqd("GET", "/v1/queues")).body["queues"]
    assert (mail["name"], mail["paused"], mail["waiting"]) == ("mail", True, 1)
    assert (default["name"], default["waiting"]) == ("default", 0)
    assert (await fliqd.job(held["id"]))["status"] == "scheduled"
    await fliqd("POST", "/v1/queues/mail/resume")
    await fliqd.until(held["id"], "success")


async def test_a_deleted_queue_lets_its_jobs_go(fliqd: RunningDaemon, target: Target) -> None:
    """At once, as many as there are, and after a restart too."""
    await fliqd("PUT", "/v1/queues/mail", {"concurrency": 1, "rate": 0.001, "paused": True})
    batch = await fliqd("POST", "/v1/jobs/batch", {"jobs": [{"url": target.url, "delay": 0, "queue": "mail"}] * 4})
    free = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(free["id"], "success")
    released = target.hold(4)
    assert (await fliqd("DELETE", "/v1/queues/mail")).status == 204
    assert len(await target.received(5)) == 5
    released.set()
    for result in batch.body["results"]:
        await fliqd.until(result["job"]["id"], "success")
    assert (await fliqd("DELETE", "/v1/queues/mail")).status == 404
    await fliqd.stop()
    await fliqd.start()
    assert [queue["name"] for queue in (await fliqd("GET", "/v1/queues")).body["queues"]] == ["default"]


async def test_a_rate_spreads_the_jobs_of_a_queue(fliqd: RunningDaemon, target: Target) -> None:
    """Of eight, five are in the bucket; the others come a fifth of a second apart, none earlier."""
    await fliqd("PUT", "/v1/queues/sms", {"rate": 5})
    at: list[float] = []

    async def note(_request: web.Request) -> web.Response:
        at.append(time.monotonic())
        return web.Response()

    target.answers += [note] * 8
    await fliqd("POST", "/v1/jobs/batch", {"jobs": [{"url": target.url, "delay": 0, "queue": "sms"}] * 8})
    await target.received(8)
    assert at[7] - at[0] >= 0.55


async def test_the_default_queue_can_be_paused_too(fliqd: RunningDaemon, target: Target) -> None:
    await fliqd("PUT", "/v1/queues/default", {"paused": True})
    job = await fliqd.create(url=target.url, delay=0)
    other = await fliqd.create(url=target.url, delay=0, queue="other")
    await fliqd.until(other["id"], "success")
    assert len(target.hits) == 1
    await fliqd("PUT", "/v1/queues/default", {"concurrency": 1})
    assert (await fliqd("GET", "/v1/queues/default")).body["paused"] is True  # left out is left as it is
    await fliqd("POST", "/v1/queues/default/resume")
    await fliqd.until(job["id"], "success")


async def test_what_a_queue_may_not_be(fliqd: RunningDaemon) -> None:
    for body, code in (
        ({"concurrency": 0}, "invalid_concurrency"),
        ({"rate": 0}, "invalid_rate"),
        ({"rate": "x"}, "invalid_rate"),
        ({"rate": 10**400}, "invalid_rate"),
        ({"concurrency": 10**400}, "invalid_concurrency"),
        ({"name": "other"}, "invalid_name"),
        ({"concurency": 1}, "unknown_field"),
    ):
        answer = await fliqd("PUT", "/v1/queues/mail", body)
        assert (answer.status, answer.code) == (400, code)
    nameless = await fliqd("PUT", "/v1/queues/a b", {})
    assert (nameless.status, "1 to 64 of the characters" in nameless.body["error"]["message"]) == (404, True)


async def test_a_job_that_changes_its_queue_changes_its_lane(fliqd: RunningDaemon, target: Target) -> None:
    await fliqd("POST", "/v1/queues/mail/pause")
    job = await fliqd.create(url=target.url, delay="1h")
    await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"queue": "mail", "delay": 0})

    async def stopped() -> bool | None:
        reasons = (await fliqd("GET", f"/v1/jobs/{job['id']}/why")).body["waits_for"]
        return (reasons[0]["reason"] == "queue_paused") or None

    await until(stopped, "the stop at the queue")
    await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"queue": "default"})
    await fliqd.until(job["id"], "success")


async def test_a_job_that_has_changed_its_queue_keeps_to_the_limits_of_that(
    fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    """Though the entry of before is due too, in a queue that lets it go, or will."""
    for name, limits in (("shut", {"paused": True}), ("one", {"concurrency": 1}), ("old", {"paused": True})):
        await fliqd("PUT", f"/v1/queues/{name}", limits)
    shut = await fliqd.create(url=target.url, delay="5s")
    ahead = [await fliqd.create(url=target.url, delay="5s") for _ in range(3)]
    waiting = [await fliqd.create(url=target.url, delay=0, queue="old") for _ in range(3)]
    await fliqd("PATCH", f"/v1/jobs/{shut['id']}", {"queue": "shut"})
    for job in (*ahead, *waiting):
        assert (await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"queue": "one"})).status == 200
    under_way = most = 0

    async def busy(_: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        return web.Response()

    target.answers += [busy] * 6
    clock.advance(timedelta(seconds=5))
    await fliqd("POST", "/v1/queues/old/resume")
    for job in (*ahead, *waiting):
        await fliqd.until(job["id"], "success")
    assert most == 1
    assert (await fliqd.job(shut["id"]))["status"] == "scheduled"
    assert (await fliqd("GET", f"/v1/jobs/{shut['id']}/why")).body["waits_for"][0]["reason"] == "queue_paused"
    await fliqd("POST", "/v1/queues/shut/resume")
    await fliqd.until(shut["id"], "success")
    assert len(target.hits) == 7


async def test_a_limit_that_a_patch_leaves_out_stays(fliqd: RunningDaemon) -> None:
    await fliqd("PUT", "/v1/queues/mail", {"concurrency": 2, "paused": True})
    changes: list[dict[str, Any]] = [{"rate": 5}, {"concurrency": 3}, {"paused": False}, {"rate": None}]
    seen = [(await fliqd("PATCH", "/v1/queues/mail", change)).body for change in changes]
    assert [(one["concurrency"], one["rate"], one["paused"]) for one in seen] == [
        (2, 5, True), (3, 5, True), (3, 5, False), (3, None, False),
    ]  # fmt: skip
    assert (await fliqd("PATCH", "/v1/queues/mail", {"rate": 0})).code == "invalid_rate"


async def test_changes_made_at_once_do_not_lose_each_other(fliqd: RunningDaemon) -> None:
    for number in range(1, 9):
        name = f"/v1/queues/q{number}"
        await asyncio.gather(
            fliqd("PUT", name, {"concurrency": number}),
            fliqd("POST", f"{name}/pause"),
            fliqd("PUT", name, {"concurrency": number}),
        )
        shown = (await fliqd("GET", name)).body
        assert (shown["concurrency"], shown["paused"]) == (number, True)


@pytest.mark.parametrize("env", [{"FLIQD_DISPATCH__SHUTDOWN_GRACE": "0"}])
async def test_a_dead_target_in_a_queue_stops_no_other(fliqd: RunningDaemon, target: Target) -> None:
    """It keeps its place until its timeout; the jobs behind it go past."""
    await fliqd("PUT", "/v1/queues/mail", {"concurrency": 2})
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        dead = [{"url": url, "delay": 0, "queue": "mail", "timeout_seconds": 600}] * 9
        live = [{"url": target.url, "delay": 0, "queue": "mail"}] * 30
        await fliqd("POST", "/v1/jobs/batch", {"jobs": [*dead, *live]})
        await target.received(30)
