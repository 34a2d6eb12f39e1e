"""Buffers under `kill -9` and signals: the real program, its disk, and a target that keeps the ledger."""

import asyncio
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import FliqdProcess, Target, delivery_ids, process, until

BUFFERS = 3
SEED = 20270302


async def push_until_it_dies(fliqd: FliqdProcess, path: str, name: str, pushed: list[str]) -> None:
    """Push items one after the other, noting each that was acknowledged; its number is its key."""
    number = len(pushed)
    while True:
        body = f"{name} {number}"
        try:
            answer = await fliqd("POST", f"{path}/items", {"body": body, "idempotency_key": body})
        except (aiohttp.ClientError, OSError):
            return
        assert answer.status in (200, 201, 503), answer.body
        if answer.status != 503:
            pushed.append(answer.body["id"])
            number += 1


async def a_buffer(fliqd: FliqdProcess, target: Target, name: str, **more: Any) -> str:
    asked = {"name": name, "url": target.url, "rate_limit": 1000} | more
    return f"/v1/buffers/{(await fliqd('POST', '/v1/buffers', asked)).body['id']}"


async def all_done(fliqd: FliqdProcess, *paths: str) -> bool | None:
    stats = [(await fliqd("GET", f"{path}/stats")).body for path in paths]
    return not any(one["pending"] + one["running"] for one in stats) or None


async def test_kill_9_under_load_keeps_every_line(tmp_path: Path, target: Target) -> None:
    """None lost, none out of order, and of each buffer at most the one that was under way comes again."""
    chance = random.Random(SEED)
    kills = 3  # as often as an item may be under way when fliqd dies
    names = [f"b{number}" for number in range(BUFFERS)]
    pushed: dict[str, list[str]] = {name: [] for name in names}
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        paths = {name: await a_buffer(fliqd, target, name) for name in names}
        for _ in range(kills):
            pushers = [
                asyncio.create_task(push_until_it_dies(fliqd, paths[name], name, pushed[name])) for name in names
            ]
            await target.received(len(target.hits) + chance.randrange(20, 80))
            await fliqd.kill()
            await asyncio.gather(*pushers)
            await fliqd.start()
        await until(lambda: all_done(fliqd, *paths.values()), "the end of every item")
        for name in names:
            hits = [hit for hit in target.hits if hit.body.decode().startswith(f"{name} ")]
            delivered = delivery_ids(hits)
            assert set(pushed[name]) <= set(delivered), "an acknowledged item was lost"
            assert sum(times - 1 for times in Counter(delivered).values()) <= kills
            numbers = [int(hit.body.decode().partition(" ")[2]) for hit in hits]
            assert numbers == sorted(numbers), "the order was not kept"
            assert sorted(set(numbers)) == list(range(len(set(numbers))))
            stats = (await fliqd("GET", f"{paths[name]}/stats")).body
            assert (stats["completed"], stats["failed"]) == (len(set(numbers)), 0)


async def test_sigterm_in_the_middle_of_a_stream_repeats_nothing(tmp_path: Path, target: Target) -> None:
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        path = await a_buffer(fliqd, target, "erp")
        await fliqd("POST", f"{path}/items", {"items": [{"body": str(number)} for number in range(300)]})
        for number in (30, 90, 150):
            await target.received(number)
            assert await fliqd.kill(signal.SIGTERM) == 0
            await fliqd.start()
        await until(lambda: all_done(fliqd, path), "the end of every item")
        assert [hit.body.decode() for hit in target.hits] == [str(number) for number in range(300)]
