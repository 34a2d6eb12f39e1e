"""APScheduler: scheduler, threads and job store in one process, which is also the client."""

import sys
from datetime import datetime

import threads
from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent  # type: ignore[import-not-found]
from apscheduler.executors.pool import ThreadPoolExecutor  # type: ignore[import-not-found]
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # type: ignore[import-not-found]
from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-not-found]
from lines import CONCURRENCY, obey
from sqlalchemy import create_engine, event  # type: ignore[import-not-found]

engine = create_engine(f"sqlite:///{sys.argv[1]}")


def durable(connection: object, _record: object) -> None:
    """Use SQLite's log instead of its rollback journal: as durable, and a third of the syncs."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("pragma journal_mode = wal")
    cursor.execute("pragma synchronous = full")
    cursor.close()


event.listen(engine, "connect", durable)
scheduler = BackgroundScheduler(
    jobstores={"default": SQLAlchemyJobStore(engine=engine)},
    executors={"default": ThreadPoolExecutor(CONCURRENCY)},
    job_defaults={"misfire_grace_time": None},  # else what is a second late is thrown away
    timezone="UTC",
)
executed = 0  # it records nothing of what has run, so this counts its events


def count(_event: JobExecutionEvent) -> None:
    global executed  # noqa: PLW0603
    executed += 1


def add(url: str, delivery_id: str, due: datetime) -> None:
    scheduler.add_job("threads:deliver", "date", run_date=due, args=[url, delivery_id, threads.PAYLOAD])


scheduler.add_listener(count, EVENT_JOB_EXECUTED)
scheduler.start()
obey(
    {
        "enqueue": lambda command: threads.enqueue(command, add),
        "fill": lambda command: threads.fill(command, add),
        "recorded": lambda _: {"count": executed},
    }
)
