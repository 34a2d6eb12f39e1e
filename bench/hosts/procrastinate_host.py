"""procrastinate: `worker` runs jobs on one event loop, `client` defers them from another."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import aiohttp
from lines import CONCURRENCY, PAYLOAD, RETRIES, Command, plan, request, say
from procrastinate import App, PsycopgConnector, RetryStrategy  # type: ignore[import-not-found]

role, dsn, polling_s = sys.argv[1:]
app = App(connector=PsycopgConnector(conninfo=dsn, min_size=4, max_size=CONCURRENCY))
http: list[aiohttp.ClientSession] = []


async def deliver(url: str, delivery_id: str, payload: dict[str, Any]) -> int:
    async with http[0].post(url, data=json.dumps(payload), headers=request(delivery_id)) as answer:
        await answer.read()
        answer.raise_for_status()
        return answer.status


async def retry_stalled_jobs(timestamp: int) -> None:  # noqa: ARG001 -- it is called by that name
    """Do what its documentation says about jobs that a crash cut off: nothing else brings them back."""
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)


task = app.task(name="deliver", retry=RetryStrategy(max_attempts=RETRIES, exponential_wait=5))(deliver)
rescue = app.task(name="retry_stalled_jobs", queueing_lock="retry_stalled_jobs")(retry_stalled_jobs)
app.periodic(cron="* * * * *")(rescue)


async def add(url: str, delivery_id: str, due: datetime) -> None:
    await task.configure(schedule_at=due).defer_async(url=url, delivery_id=delivery_id, payload=PAYLOAD)


async def enqueue(command: Command) -> Command:
    """Defer jobs from as many coroutines as asked for, each after the other is acknowledged."""
    due = datetime.fromtimestamp(command["due_ms"] / 1000, UTC)
    end = time.perf_counter() + command["seconds"]

    async def client(number: int) -> int:
        count = 0
        while time.perf_counter() < end:
            await add(command["url"], f"far-{number}-{count}", due)
            count += 1
        return count

    started, cpu = time.perf_counter(), time.process_time()
    count = sum(await asyncio.gather(*map(client, range(command["clients"]))))
    return {"count": count, "seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}


async def fill(command: Command) -> Command:
    """Defer the jobs of a plan."""
    jobs = plan(command)

    async def client() -> None:
        for delivery_id, due in jobs:
            await add(command["url"], delivery_id, due)

    await asyncio.gather(*(client() for _ in range(CONCURRENCY)))
    return {"count": command["count"]}


async def recorded(_command: Command) -> Command:
    query = "SELECT count(*) AS count FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'deliver'"
    return dict(await app.connector.execute_query_one_async(query))


ANSWERS: dict[str, Callable[[Command], Coroutine[Any, Any, Command]]] = {
    "enqueue": enqueue,
    "fill": fill,
    "recorded": recorded,
}


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with app.open_async(), aiohttp.ClientSession(connector=connector) as session:
        http.append(session)
        if role == "schema":
            await app.schema_manager.apply_schema_async()
            say({"ready": True})
        elif role == "worker":
            say({"ready": True})
            await app.run_worker_async(concurrency=CONCURRENCY, fetch_job_polling_interval=float(polling_s))
        else:
            say({"ready": True})
            while line := await asyncio.to_thread(sys.stdin.readline):
                command = json.loads(line)
                say(await ANSWERS[command["do"]](command))


asyncio.run(main())
