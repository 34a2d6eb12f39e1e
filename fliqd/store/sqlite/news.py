"""Takes down what a transaction does to jobs and schedules, where somebody listens."""

from collections.abc import Iterable

import msgspec

from fliqd.core.buffers import FIRST_ITEM_PK
from fliqd.core.events import EventType, JobNews, MissedNews, News
from fliqd.core.schedule import Missed, Schedule
from fliqd.store.sqlite.writer import Transaction


def tell_jobs(tx: Transaction, kind: EventType, pks: Iterable[int]) -> None:
    """Take down jobs as they stand now, in the transaction that has just changed them; of items nothing is told."""
    if tx.tells:
        found = tx.rows("job_news", {"pks": msgspec.json.encode([pk for pk in pks if pk < FIRST_ITEM_PK]).decode()})
        tx.news += [News(kind, JobNews(*row)) for row in found]


def tell_missed(tx: Transaction, schedule: Schedule, missed: Missed) -> None:
    """Take down due times that were not run."""
    if tx.tells:
        about = MissedNews(schedule.id, schedule.name, schedule.queue, missed)
        tx.news.append(News(EventType.SCHEDULE_MISSED, about))
