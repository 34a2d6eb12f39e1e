"""`kill -9` while webhooks are on their way: each end that was recorded is told, and by the same id when told again."""

import asyncio
import json
import random
from collections import defaultdict
from pathlib import Path

import aiohttp

from tests.support import FliqdProcess, Target, process, serve_target, until

SEED = 20270302
KILLS = 4


async def create_until_it_dies(fliqd: FliqdProcess, job: dict[str, object], acknowledged: list[str]) -> None:
    while True:
        try:
            answer = await fliqd("POST", "/v1/jobs", job)
        except (aiohttp.ClientError, OSError):
            return
        assert answer.status in (201, 503), answer.body
        if answer.status == 201:
            acknowledged.append(answer.body["id"])


async def test_no_webhook_is_lost(tmp_path: Path, target: Target) -> None:
    """Whatever moment it dies at: with a job under way, between its end and its webhook, or during that."""
    chance = random.Random(SEED)
    acknowledged: list[str] = []
    async with process(tmp_path / "state") as fliqd, serve_target() as receiver:
        job = {"url": target.url, "delay": 0, "webhook_url": receiver.url}
        for _ in range(KILLS):
            await fliqd.start()
            creators = [asyncio.create_task(create_until_it_dies(fliqd, job, acknowledged)) for _ in range(4)]
            await receiver.received(len(receiver.hits) + chance.randrange(5, 40))
            await fliqd.kill()
            await asyncio.gather(*creators)
        await fliqd.start()

        async def all_told() -> bool | None:
            left = [
                (await fliqd("GET", f"/v1/{what}&limit=1")).body[key]
                for what, key in (
                    ("jobs?status=scheduled", "jobs"),
                    ("jobs?status=running", "jobs"),
                    ("webhooks/deliveries?status=pending", "deliveries"),
                    ("webhooks/deliveries?status=delivering", "deliveries"),
                )
            ]
            return not any(left) or None

        await until(all_told, "the end of every job and webhook")
    ids = defaultdict(set)
    for hit in receiver.hits:
        ids[json.loads(hit.body)["job_id"]].add(hit.headers["webhook-id"])
    assert set(acknowledged) <= set(ids), "a webhook was lost"
    assert all(len(several) == 1 for several in ids.values()), "one end was told as two"


async def test_a_webhook_under_way_when_it_dies_is_sent_again(tmp_path: Path, target: Target) -> None:
    """At once, as the same try of the same delivery, byte for byte."""
    async with process(tmp_path / "state") as fliqd, serve_target() as receiver:
        released = receiver.hold()
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0, webhook_url=receiver.url)
        await receiver.received(1)
        [row] = (await fliqd("GET", "/v1/webhooks/deliveries")).body["deliveries"]
        assert (row["status"], row["attempts"]) == ("delivering", 1)
        await fliqd.kill()
        await fliqd.start()
        first, second = await receiver.received(2)
        released.set()
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
        assert first.headers["X-Fliq-Attempt"] == second.headers["X-Fliq-Attempt"] == "1"
        assert (await fliqd.job(job["id"]))["status"] == "success"
        assert {"interrupted": 0, "webhooks": 1}.items() <= _event(fliqd, "daemon.recovered").items()


def _event(fliqd: FliqdProcess, name: str) -> dict[str, object]:
    return next(line for line in fliqd.log if line["event"] == name)


async def test_a_stop_takes_webhooks_along_to_the_next_start(tmp_path: Path, target: Target) -> None:
    async with process(tmp_path / "state") as fliqd, serve_target() as receiver:
        released = receiver.hold()
        await fliqd.start()
        await fliqd.create(url=target.url, delay=0, webhook_url=receiver.url)
        await receiver.received(1)
        assert await fliqd.kill(15) == 0
        released.set()
        fliqd.log.clear()
        await fliqd.start()
        await receiver.received(2)
        assert "daemon.recovered" not in [line["event"] for line in fliqd.log]
