"""Clients in threads: what the libraries without an event loop enqueue and deliver with."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import urllib3  # type: ignore[import-not-found]  # of the peers' own environment
from lines import CONCURRENCY, PAYLOAD, Command, plan, request

Add = Callable[[str, str, datetime], object]
pool = urllib3.PoolManager(maxsize=CONCURRENCY, block=True, retries=False, timeout=30.0)


def deliver(url: str, delivery_id: str, payload: dict[str, object]) -> int:
    """Send one request over a kept connection; raise unless it is answered with a 2xx."""
    answer = pool.request("POST", url, body=json.dumps(payload), headers=request(delivery_id))
    if answer.status // 100 != 2:
        raise RuntimeError(f"{url} answered {answer.status}")
    return int(answer.status)


def enqueue(command: Command, add: Add) -> Command:
    """Add jobs from as many threads as asked for, each after the other is acknowledged."""
    due = datetime.fromtimestamp(command["due_ms"] / 1000, UTC)
    end = time.perf_counter() + command["seconds"]

    def client(number: int) -> int:
        count = 0
        while time.perf_counter() < end:
            add(command["url"], f"far-{number}-{count}", due)
            count += 1
        return count

    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(command["clients"]) as clients:
        count = sum(clients.map(client, range(command["clients"])))
    return {"count": count, "seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}


def fill(command: Command, add: Add) -> Command:
    """Add the jobs of a plan."""
    with ThreadPoolExecutor(CONCURRENCY) as clients:
        list(clients.map(lambda job: add(command["url"], *job), plan(command)))
    return {"count": command["count"]}


__all__ = ["PAYLOAD", "deliver", "enqueue", "fill"]
