"""The bare client: an aiohttp session that sends as fast as it can, or each request at its time by `call_at`."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import loops

Send = Callable[[str], Awaitable[None]]
WARM_UP = 500


async def session(url: str, body: bytes, concurrency: int, work: Callable[[Send], Awaitable[None]]) -> None:
    """Do `work` with a function that sends one request, named by a delivery id, and reads its answer."""
    connector = aiohttp.TCPConnector(limit=concurrency, limit_per_host=concurrency)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def send(delivery_id: str) -> None:
            headers = {"Content-Type": "application/json", "X-Fliq-Delivery-Id": delivery_id}
            async with http.post(url, data=body, headers=headers) as answer:
                await answer.read()

        await work(send)


async def burst(url: str, body: bytes, count: int, concurrency: int) -> None:
    """Send `count` requests from `concurrency` workers; print how long it took, and the CPU time."""

    async def work(send: Send, prefix: str, count: int) -> None:
        names = iter(range(count))

        async def worker() -> None:
            for number in names:
                await send(f"{prefix}-{number}")

        await asyncio.gather(*(worker() for _ in range(concurrency)))

    await session(url, body, concurrency, lambda send: work(send, "warm", WARM_UP))
    wall, cpu = time.perf_counter(), time.process_time()
    await session(url, body, concurrency, lambda send: work(send, "bare", count))
    print(json.dumps({"seconds": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}))


async def timed(url: str, body: bytes, count: int, start_ms: int, step_ms: int) -> None:
    """Send a request every `step_ms`, each started by the loop's timer; its id is `bare-<due_ms>`."""

    async def work(send: Send) -> None:
        await send("warm-0")
        loop = asyncio.get_running_loop()
        sent: list[asyncio.Task[None]] = []
        zero_s = loop.time() - time.time()

        def fire(due_ms: int) -> None:
            sent.append(asyncio.ensure_future(one(due_ms)))

        async def one(due_ms: int) -> None:
            await send(f"bare-{due_ms}")

        for number in range(count):
            due_ms = start_ms + number * step_ms
            loop.call_at(zero_s + due_ms / 1000, fire, due_ms)
        await asyncio.sleep((start_ms + count * step_ms) / 1000 - time.time() + 0.5)
        await asyncio.gather(*sent)

    await session(url, body, 256, work)
    print(json.dumps({"sent": count}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=("burst", "timed"))
    parser.add_argument("url")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--start-ms", type=int, default=0)
    parser.add_argument("--step-ms", type=int, default=20)
    parser.add_argument("--loop", choices=loops.LOOPS, default="asyncio")
    given = parser.parse_args()
    content = sys.stdin.buffer.read()
    if given.how == "burst":
        loops.run(burst(given.url, content, given.count, given.concurrency), given.loop)
    else:
        loops.run(timed(given.url, content, given.count, given.start_ms, given.step_ms), given.loop)
