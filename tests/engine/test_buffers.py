"""Buffers through the API: order, pace, pauses, and what holds the line."""

import asyncio
import json
import sqlite3
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from tests.support import FakeClock, RunningDaemon, Target, serve_target, until


async def a_buffer(fliqd: RunningDaemon, target: Target, **asked: Any) -> str:
    answer = await fliqd("POST", "/v1/buffers", {"name": "erp", "url": target.url, "rate_limit": 1000} | asked)
    assert answer.status == 201, answer.body
    return f"/v1/buffers/{answer.body['id']}"


async def push(fliqd: RunningDaemon, path: str, *bodies: str) -> list[dict[str, Any]]:
    answer = await fliqd("POST", f"{path}/items", {"items": [{"body": body} for body in bodies]})
    assert [result["status"] for result in answer.body["results"]] == [201] * len(bodies), answer.body
    return [result["item"] for result in answer.body["results"]]


async def waits_again(fliqd: RunningDaemon, path: str, item: dict[str, Any]) -> None:
    async def there() -> bool | None:
        shown = (await fliqd("GET", f"{path}/items/{item['id']}")).body
        return (shown["status"] == "pending" and shown["executions"] == 1) or None

    await until(there, "the wait after the first attempt")


async def ended(fliqd: RunningDaemon, path: str, number: int) -> dict[str, Any]:
    async def all_of_them() -> dict[str, Any] | None:
        stats: dict[str, Any] = (await fliqd("GET", f"{path}/stats")).body
        return stats if stats["completed"] + stats["failed"] == number else None

    return await until(all_of_them, f"the end of {number} items")


async def test_items_leave_in_order_one_at_a_time(fliqd: RunningDaemon, target: Target) -> None:
    under_way = Counter[str]()

    async def busy(_request: web.Request) -> web.Response:
        under_way["now"] += 1
        under_way["most"] = max(under_way["most"], under_way["now"])
        await asyncio.sleep(0.002)
        under_way["now"] -= 1
        return web.Response()

    target.answers += [busy] * 40
    path = await a_buffer(fliqd, target)
    items = await push(fliqd, path, *map(str, range(20)))
    items += [(await fliqd("POST", f"{path}/items", {"body": str(n)})).body for n in range(20, 40)]
    assert items[0]["id"].startswith("item_")
    assert await ended(fliqd, path, 40) == {
        "pending": 0, "running": 0, "completed": 40, "failed": 0, "total": 40, "success_rate": 1,
    }  # fmt: skip
    assert [hit.body.decode() for hit in target.hits] == [str(n) for n in range(40)]
    assert [hit.headers["X-Fliq-Delivery-Id"] for hit in target.hits] == [item["id"] for item in items]
    assert under_way["most"] == 1


async def test_a_failing_item_holds_the_rest_until_it_is_out_of_retries(
    fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    target.answers += [500, 500, 200]
    path = await a_buffer(fliqd, target, max_retries=1, backoff="linear")
    first, second = await push(fliqd, path, "a", "b")
    await target.received(1)
    await waits_again(fliqd, path, first)
    assert (await fliqd("GET", f"{path}/items/{second['id']}")).body["status"] == "pending"
    clock.advance(timedelta(seconds=30))
    await ended(fliqd, path, 2)
    assert [hit.body for hit in target.hits] == [b"a", b"a", b"b"]
    shown = (await fliqd("GET", f"{path}/items/{first['id']}")).body
    assert (shown["status"], shown["retry_count"], shown["status_code"]) == ("failed", 1, 500)
    assert (await fliqd("GET", f"{path}/items?status=completed")).body["items"][0]["id"] == second["id"]
    again = (await fliqd("POST", f"{path}/items/{first['id']}/replay")).body
    assert again["replay_of"] == first["id"]
    await ended(fliqd, path, 3)


@pytest.mark.parametrize(("headers", "wait_s"), [({"Retry-After": "7"}, 7), ({}, 60)])
async def test_a_429_waits_as_asked_and_costs_no_retry(
    fliqd: RunningDaemon, target: Target, clock: FakeClock, headers: dict[str, str], wait_s: int
) -> None:
    target.answers += [web.Response(status=429, headers=headers)]
    path = await a_buffer(fliqd, target, max_retries=0)
    first, _ = await push(fliqd, path, "a", "b")
    await waits_again(fliqd, path, first)
    clock.advance(timedelta(seconds=wait_s - 1))
    shown = (await fliqd("GET", f"{path}/items/{first['id']}")).body
    assert (shown["status"], shown["executions"], shown["retry_count"]) == ("pending", 1, 0)
    clock.advance(timedelta(seconds=1))
    await ended(fliqd, path, 2)
    assert [hit.body for hit in target.hits] == [b"a", b"a", b"b"]


async def test_a_pause_still_takes_items(fliqd: RunningDaemon, target: Target, clock: FakeClock) -> None:
    path = await a_buffer(fliqd, target)
    assert (await fliqd("POST", f"{path}/pause")).body["paused"] is True
    await push(fliqd, path, "a", "b")
    clock.advance(timedelta(hours=1))
    assert (await fliqd("GET", f"{path}/stats")).body["pending"] == 2
    await fliqd.stop()
    await fliqd.start()
    assert target.hits == []
    await fliqd("POST", f"{path}/resume")
    await ended(fliqd, path, 2)


async def test_the_rate_is_that_of_a_token_bucket(fliqd: RunningDaemon, target: Target, clock: FakeClock) -> None:
    path = await a_buffer(fliqd, target, rate_limit=2)
    await push(fliqd, path, *"abcdef")
    await target.received(2)  # what the full bucket holds
    await ended(fliqd, path, 2)
    for number in (3, 4, 5, 6):
        clock.advance(timedelta(milliseconds=400))
        assert len(target.hits) == number - 1
        clock.advance(timedelta(milliseconds=100))
        await ended(fliqd, path, number)


async def test_a_pause_costs_no_turn(fliqd: RunningDaemon, target: Target, clock: FakeClock) -> None:
    """However often it stops, what waits for its rate leaves when it would have."""
    path = await a_buffer(fliqd, target, rate_limit=0.1)
    await push(fliqd, path, "a", "b")
    await ended(fliqd, path, 1)
    for _ in range(5):
        await fliqd("POST", f"{path}/pause")
        await fliqd("POST", f"{path}/resume")
    clock.advance(timedelta(seconds=9.9))
    assert len(target.hits) == 1
    clock.advance(timedelta(seconds=0.1))
    await ended(fliqd, path, 2)


async def test_a_new_rate_counts_at_once(fliqd: RunningDaemon, target: Target, clock: FakeClock) -> None:
    path = await a_buffer(fliqd, target, rate_limit=0.001)
    await push(fliqd, path, "a", "b", "c")
    await ended(fliqd, path, 1)
    assert (await fliqd("PATCH", path, {"rate_limit": 10})).body["rate_limit"] == 10
    clock.advance(timedelta(seconds=0.1))
    await ended(fliqd, path, 2)
    clock.advance(timedelta(seconds=0.1))
    await ended(fliqd, path, 3)


async def test_a_new_rate_shortens_no_wait_for_a_retry(fliqd: RunningDaemon, target: Target, clock: FakeClock) -> None:
    target.answers += [500]
    path = await a_buffer(fliqd, target, backoff="linear")
    [item] = await push(fliqd, path, "a")
    await waits_again(fliqd, path, item)
    await fliqd("PATCH", path, {"rate_limit": 7})
    await fliqd("POST", f"{path}/pause")
    await fliqd("POST", f"{path}/resume")
    clock.advance(timedelta(seconds=29))
    assert (await fliqd("GET", f"{path}/stats")).body["pending"] == 1
    clock.advance(timedelta(seconds=1))
    await ended(fliqd, path, 1)


async def test_a_buffer_is_no_part_of_the_default_queue(fliqd: RunningDaemon, target: Target) -> None:
    await fliqd("POST", "/v1/queues/default/pause")
    path = await a_buffer(fliqd, target)
    await push(fliqd, path, "a", "b")
    await ended(fliqd, path, 2)


async def test_keys_are_unique_within_a_buffer(fliqd: RunningDaemon, target: Target) -> None:
    path = await a_buffer(fliqd, target)
    other = await a_buffer(fliqd, target, name="other")
    first = await fliqd("POST", f"{path}/items", {"body": "a", "idempotency_key": "k"})
    again = await fliqd("POST", f"{path}/items", {"body": "b"}, headers={"Idempotency-Key": "k"})
    assert (again.status, again.body["id"]) == (200, first.body["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await fliqd("POST", f"{other}/items", {"idempotency_key": "k"})).status == 201


async def test_headers_are_merged_and_the_item_wins(fliqd: RunningDaemon, target: Target) -> None:
    path = await a_buffer(fliqd, target, headers={"X-A": "buffer", "X-B": "buffer"})
    await fliqd("POST", f"{path}/items", {"headers": {"x-a": "item"}, "json": {"n": 1}})
    [hit] = await target.received(1)
    assert (hit.headers["X-A"], hit.headers["X-B"]) == ("item", "buffer")
    assert hit.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"rate_limit": 0}, "invalid_rate_limit"),
        ({"rate_limit": 10**400}, "invalid_rate_limit"),
        ({"rate_limit": True}, "invalid_rate_limit"),
        ({"rate_limit": 1000.5}, "invalid_rate_limit"),
        ({"name": None}, "invalid_name"),
        ({"url": None}, "invalid_url"),
        ({"url": "ftp://x"}, "invalid_url"),
        ({"body": "x"}, "invalid_body"),
        ({"queue": "q"}, "invalid_queue"),
        ({"rate": 1}, "unknown_field"),
    ],
)
async def test_what_a_buffer_may_not_be(fliqd: RunningDaemon, target: Target, asked: dict[str, Any], code: str) -> None:
    path = await a_buffer(fliqd, target, name="there")
    made = await fliqd("POST", "/v1/buffers", {"name": "erp", "url": target.url} | asked)
    changed = await fliqd("PATCH", path, asked)
    assert [(answer.status, answer.code) for answer in (made, changed)] == [(400, code)] * 2
    assert (await fliqd("GET", path)).body["rate_limit"] == 1000


async def test_an_item_is_no_job(fliqd: RunningDaemon, target: Target) -> None:
    """Cancelled by that way it would leave those behind it waiting for ever."""
    path = await a_buffer(fliqd, target, paused=True)
    [item] = await push(fliqd, path, "a")
    for method, tail in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/run"), ("POST", "/replay")):
        answer = await fliqd(method, f"/v1/jobs/{item['id']}{tail}", None if method == "GET" else {})
        assert answer.status == 404


async def test_headers_that_are_too_many_together_are_refused(fliqd: RunningDaemon, target: Target) -> None:
    path = await a_buffer(fliqd, target, headers={f"X-B-{n}": "b" for n in range(60)})
    answer = await fliqd("POST", f"{path}/items", {"headers": {f"X-I-{n}": "i" for n in range(60)}})
    assert (answer.status, answer.code) == (400, "invalid_headers")
    assert "with those of its buffer" in answer.body["error"]["message"]
    assert (await fliqd("POST", f"{path}/items", {"headers": {f"x-b-{n}": "i" for n in range(60)}})).status == 201


async def test_a_page_of_large_items_stays_small(fliqd: RunningDaemon, target: Target) -> None:
    path = await a_buffer(fliqd, target, paused=True)
    for number in range(6):
        await push(fliqd, path, str(number) * 900_000)
    seen, query = [], "limit=100"
    while query:
        page = (await fliqd("GET", f"{path}/items?status=pending&{query}")).body
        assert len(page["items"]) <= 4
        seen += [item["body"][0] for item in page["items"]]
        query = page["next_cursor"] and f"cursor={page['next_cursor']}"
    assert seen == list("543210")


async def test_deleting_takes_the_items_along(fliqd: RunningDaemon, target: Target) -> None:
    release = target.hold()
    path = await a_buffer(fliqd, target)
    await push(fliqd, path, "a", "b", "c")
    await target.received(1)
    assert (await fliqd("DELETE", path)).status == 204
    assert (await fliqd("GET", path)).status == 404
    assert (await fliqd("POST", f"{path}/items", {"body": "d"})).status == 404
    release.set()

    async def idle() -> bool | None:
        return (await fliqd("GET", "/v1/status")).body["in_flight"] == 0 or None

    await until(idle, "the end of the one under way")
    assert len(target.hits) == 1
    await a_buffer(fliqd, target)  # the name is free again
    await fliqd.stop()
    with sqlite3.connect(fliqd.state_dir / "fliqd.db") as plain:
        assert plain.execute("SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM buffer)").fetchone() == (0, 1)
    plain.close()


async def test_items_are_no_jobs(fliqd: RunningDaemon, target: Target) -> None:
    path = await a_buffer(fliqd, target)
    [item] = await push(fliqd, path, "a")
    job = await fliqd.create(url=target.url, delay="0s")
    await ended(fliqd, path, 1)
    assert [shown["id"] for shown in (await fliqd("GET", "/v1/jobs")).body["jobs"]] == [job["id"]]
    assert [shown["id"] for shown in (await fliqd("GET", f"{path}/items")).body["items"]] == [item["id"]]


async def test_items_tell_what_becomes_of_them_as_jobs_do(fliqd: RunningDaemon, target: Target) -> None:
    async with serve_target() as told, serve_target() as people:
        await fliqd("POST", "/v1/alerts", {"type": "webhook", "target": people.url})
        webhook = {
            "webhook_url": told.url,
            "webhook_headers": {"X-Token": "t"},
            "webhook_events": ["started", "failed"],
        }
        path = await a_buffer(fliqd, target, max_retries=0, **webhook, callback_url=told.url + "/answer")
        shown = (await fliqd("GET", path)).body
        assert {name: shown[name] for name in webhook} == webhook
        target.answers.append(500)
        [item] = await push(fliqd, path, "a")
        hits = await told.received(3)
        answer = next(json.loads(hit.body) for hit in hits if hit.path == "/hook/answer")
        assert (answer["job_id"], answer["status"]) == (item["id"], 500)
        events = [json.loads(hit.body)["event"] for hit in hits if hit.headers.get("X-Token") == "t"]
        assert events == ["job.started", "job.failed"]
        [alert] = await people.received(1)
        document = json.loads(alert.body)
        assert (document["resource_type"], document["resource_id"]) == ("buffer_item", item["id"])
        assert f"/v1/buffers/{document['buffer_id']}" == path


async def test_a_webhook_of_a_buffer_says_to_whom(fliqd: RunningDaemon, target: Target) -> None:
    answer = await fliqd("POST", "/v1/buffers", {"name": "b", "url": target.url, "webhook_events": ["failed"]})
    assert [problem["field"] for problem in answer.body["error"]["details"]] == ["webhook_url"]
    path = await a_buffer(fliqd, target, webhook_url=target.url)
    assert (await fliqd("PATCH", path, {"webhook_url": None, "callback_url": target.url})).status == 200
    shown = (await fliqd("GET", path)).body
    assert (shown["webhook_url"], shown["callback_url"]) == (None, target.url)


@pytest.mark.parametrize(
    "env", [{"FLIQD_DISPATCH__MAX_IN_FLIGHT_PER_HOST": "1"}, {"FLIQD_DISPATCH__MAX_IN_FLIGHT": "1"}]
)
async def test_a_buffer_that_is_never_empty_leaves_turns_to_others(fliqd: RunningDaemon, target: Target) -> None:
    """The slot goes from item to item only while nobody else waits for it."""
    one = await a_buffer(fliqd, target, name="one", paused=True)
    other = await a_buffer(fliqd, target, name="other", paused=True)
    await push(fliqd, one, *["one"] * 10)
    await push(fliqd, other, *["other"] * 10)
    released = target.hold()
    blocker = await fliqd.create(url=target.url, delay=0)
    await target.received(1)
    await fliqd("POST", f"{one}/resume")
    await fliqd("POST", f"{other}/resume")
    job = await fliqd.create(url=target.url, delay=0, body="job")
    released.set()
    await fliqd.until(blocker["id"], "success")
    await fliqd.until(job["id"], "success")
    await ended(fliqd, one, 10)
    await ended(fliqd, other, 10)
    bodies = [hit.body.decode() for hit in target.hits[1:]]
    assert bodies.index("job") < 5
    bodies.remove("job")
    assert all(abs(bodies[:count].count("one") - bodies[:count].count("other")) <= 2 for count in range(21))


async def test_a_stop_in_the_middle_of_a_stream_loses_nothing_and_repeats_nothing(
    fliqd: RunningDaemon, target: Target
) -> None:
    path = await a_buffer(fliqd, target)
    await push(fliqd, path, *map(str, range(200)))
    for number in (20, 60, 100, 140):
        await target.received(number)
        await fliqd.stop()
        await fliqd.start()
    await ended(fliqd, path, 200)
    assert [hit.body.decode() for hit in target.hits] == [str(n) for n in range(200)]
    assert {hit.headers["X-Fliq-Attempt"] for hit in target.hits} == {"1"}


async def test_pausing_in_the_middle_of_a_stream(fliqd: RunningDaemon, target: Target) -> None:
    """No more leave than the one that was on its way."""
    path = await a_buffer(fliqd, target)
    await push(fliqd, path, *map(str, range(300)))
    for number in (20, 60, 100):
        await target.received(number)
        await fliqd("POST", f"{path}/pause")
        await until(partial(at_rest, fliqd, path), "the end of the one under way")
        reached = len(target.hits)
        await push(fliqd, path, f"after {number}")
        assert len(target.hits) == reached
        await fliqd("POST", f"{path}/resume")
    await ended(fliqd, path, 303)
    assert [hit.body.decode() for hit in target.hits[:300]] == [str(n) for n in range(300)]


async def at_rest(fliqd: RunningDaemon, path: str) -> bool | None:
    return (await fliqd("GET", f"{path}/stats")).body["running"] == 0 or None


async def test_a_buffer_that_moves_to_another_target(fliqd: RunningDaemon, target: Target) -> None:
    """Items keep the target that the buffer had when they were pushed, and their order."""
    path = await a_buffer(fliqd, target, paused=True)
    await push(fliqd, path, "a", "b")
    async with serve_target() as new:
        await fliqd("PATCH", path, {"url": new.url})
        await push(fliqd, path, "c", "d")
        await fliqd("POST", f"{path}/resume")
        await ended(fliqd, path, 4)
        assert [hit.body for hit in target.hits] == [b"a", b"b"]
        assert [hit.body for hit in new.hits] == [b"c", b"d"]
