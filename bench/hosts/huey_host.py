"""huey on SQLite: `worker` is its consumer with threads, `client` enqueues."""

import logging
import sys
import time
from datetime import datetime

import threads
from huey import SqliteHuey  # type: ignore[import-not-found]
from lines import CONCURRENCY, RETRIES, Command, obey, say

role, file = sys.argv[1:]
huey = SqliteHuey("bench", filename=file, fsync=True, timeout=60)
deliver = huey.task(retries=RETRIES, retry_delay=30)(threads.deliver)


def add(url: str, delivery_id: str, due: datetime) -> None:
    deliver.schedule((url, delivery_id, threads.PAYLOAD), eta=due.replace(tzinfo=None))


def fill(command: Command) -> Command:
    """Add the jobs, and wait until its workers have moved them from the queue to the schedule."""
    answer = threads.fill(command, add)
    while huey.pending_count() and time.time() * 1000 < command["due_ms"]:
        time.sleep(0.05)
    return answer


if role == "worker":
    logging.getLogger("huey").setLevel(logging.ERROR)
    say({"ready": True})
    huey.create_consumer(workers=CONCURRENCY, worker_type="thread").run()
else:
    obey(
        {
            "enqueue": lambda command: threads.enqueue(command, add),
            "fill": fill,
            "recorded": lambda _: {"count": huey.result_count()},
        }
    )
