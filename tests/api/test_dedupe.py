"""The same work is done once: `dedupe_key` finds the job that does it, or has done it."""

import asyncio
from datetime import timedelta

from tests.support import RunningDaemon, Target


async def test_the_first_job_comes_back(fliqd: RunningDaemon, target: Target) -> None:
    asked = {"url": target.url, "delay": 0, "dedupe_key": "invoice-7"}
    first = await fliqd("POST", "/v1/jobs", asked)
    assert (first.status, first.body["deduplicated"], first.body["dedupe_window"]) == (201, False, "1d")
    await fliqd.until(first.body["id"], "success")
    again = await fliqd("POST", "/v1/jobs", asked | {"url": target.url + "/other"})
    assert (again.status, again.body["deduplicated"]) == (200, True)
    assert again.body["id"] == first.body["id"]
    assert "Idempotent-Replayed" not in again.headers
    assert (await fliqd.job(first.body["id"]))["deduplicated"] is False


async def test_what_has_failed_or_was_cancelled_does_not_count(fliqd: RunningDaemon, target: Target) -> None:
    asked = {"url": target.url, "dedupe_key": "k"}
    target.answers += [500]
    failed = await fliqd.create(**asked, delay=0)
    await fliqd.until(failed["id"], "failed")
    second = await fliqd.create(**asked, delay="1h")
    assert second["id"] != failed["id"]
    await fliqd("DELETE", f"/v1/jobs/{second['id']}")
    third = await fliqd.create(**asked, delay="1h")
    assert len({failed["id"], second["id"], third["id"]}) == 3
    assert (await fliqd("POST", "/v1/jobs", asked | {"delay": 0})).body["id"] == third["id"]


async def test_the_window_is_that_of_who_asks(fliqd: RunningDaemon, target: Target) -> None:
    asked = {"url": target.url, "delay": "9d", "dedupe_key": "k"}
    first = await fliqd.create(**asked)
    fliqd.clock.advance(timedelta(hours=2))
    assert (await fliqd("POST", "/v1/jobs", asked | {"dedupe_window": "3h"})).body["id"] == first["id"]
    other = await fliqd("POST", "/v1/jobs", asked | {"dedupe_window": "1h"})
    assert (other.status, other.body["deduplicated"]) == (201, False)
    # Of several the newest counts.
    assert (await fliqd("POST", "/v1/jobs", asked)).body["id"] == other.body["id"]
    fliqd.clock.advance(timedelta(hours=24, milliseconds=1))
    assert (await fliqd("POST", "/v1/jobs", asked)).status == 201


async def test_within_a_batch_and_at_once(fliqd: RunningDaemon, target: Target) -> None:
    asked = {"url": target.url, "delay": "1h", "dedupe_key": "k"}
    results = (await fliqd("POST", "/v1/jobs/batch", {"jobs": [asked, asked, asked | {"dedupe_key": "l"}]})).body[
        "results"
    ]
    assert [result["status"] for result in results] == [201, 200, 201]
    assert results[1]["job"]["id"] == results[0]["job"]["id"]
    answers = await asyncio.gather(*(fliqd("POST", "/v1/jobs", asked | {"dedupe_key": "m"}) for _ in range(30)))
    assert len({answer.body["id"] for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 29 + [201]


async def test_a_key_of_the_request_comes_first(fliqd: RunningDaemon, target: Target) -> None:
    asked = {"url": target.url, "delay": "1h", "idempotency_key": "i", "dedupe_key": "k"}
    first = await fliqd("POST", "/v1/jobs", asked)
    again = await fliqd("POST", "/v1/jobs", asked)
    assert (again.body["id"], again.body["deduplicated"]) == (first.body["id"], False)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_it_cannot_be_changed(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(url=target.url, delay="1h")
    answer = await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"dedupe_key": "k", "requires_approval": True})
    assert (answer.status, answer.code) == (400, "invalid_requires_approval")
    assert [problem["field"] for problem in answer.body["error"]["details"]] == ["requires_approval", "dedupe_key"]
