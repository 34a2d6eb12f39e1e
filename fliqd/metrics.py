"""The numbers that parts of the daemon keep, in the form that Prometheus reads; imported when it first asks."""

import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from fliqd import __version__, loop
from fliqd.core.histogram import Histogram
from fliqd.core.model import FINAL
from fliqd.core.schedule import MissedReason
from fliqd.engine.tally import Tally
from fliqd.service.events import Events
from fliqd.store.base import Counts, QueueCounts, Store


class Traffic(Protocol):
    """What is under way, as the dispatcher sees it."""

    @property
    def in_flight(self) -> int: ...
    @property
    def backlog(self) -> int: ...


class Window(Protocol):
    """What is due next, as the scheduler sees it."""

    def waiting(self) -> int: ...


class Metrics(Collector):
    """Every metric there is, with its name and what it says. Nothing is kept here but where to look.

    `answers` are those of the API, by status; `limit` is how many attempts may be under way at once.
    """

    def __init__(
        self,
        *,
        store: Store,
        traffic: Traffic,
        window: Window,
        tally: Tally,
        lag: Histogram,
        answers: Mapping[int, int],
        events: Events,
        limit: int,
    ) -> None:
        self._store = store
        self._traffic = traffic
        self._window = window
        self._tally = tally
        self._lag = lag
        self._answers = answers
        self._events = events
        self._limit = limit
        self._queues: Mapping[str, QueueCounts] = {}
        self._counts: Counts | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, queues: Mapping[str, QueueCounts], counts: Counts) -> bytes:
        """Return all metrics as text; what the store was asked for comes along."""
        self._queues, self._counts = queues, counts
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric as it stands."""
        build = GaugeMetricFamily(
            "fliqd_build_info", "What this is; always 1.", labels=("version", "python", "loop", "sqlite")
        )
        build.add_metric((__version__, platform.python_version(), loop.name(), sqlite3.sqlite_version), 1)
        yield build
        yield from self._jobs()
        yield from self._depths()
        yield from self._attempts()
        yield from self._disk()
        yield _histogram(
            "fliqd_loop_lag_seconds", "How late the event loop came back to the watchdog, every 5 s.", self._lag
        )
        answers = [((str(status),), count) for status, count in sorted(self._answers.items())]
        yield _counter(
            "fliqd_api_requests_total", "Requests that the API has answered, by status.", ("status",), answers
        )

        yield _gauge("fliqd_event_readers", "Those who listen to events.", self._events.readers)
        text = "Those who listened to events and were too slow."
        yield _counter("fliqd_event_readers_dropped_total", text, (), [((), self._events.dropped)])

    def _jobs(self) -> Iterator[Metric]:
        counts = self._store.totals
        made = counts.get(("jobs_created", ""), 0)
        yield _counter("fliqd_jobs_created_total", "Jobs that were made.", (), [((), made)])
        ended = [((str(status),), counts.get(("jobs_finished", str(status)), 0)) for status in sorted(FINAL)]
        yield _counter("fliqd_jobs_finished_total", "Jobs that have ended, by how.", ("outcome",), ended)
        missed = [((str(reason),), counts.get(("missed", str(reason)), 0)) for reason in MissedReason]
        text = "Due times of schedules that were not run, by reason."
        yield _counter("fliqd_schedule_missed_total", text, ("reason",), missed)
        yield _gauge("fliqd_backlog_jobs", "Due jobs in memory that wait for a slot.", self._traffic.backlog)
        yield _gauge("fliqd_due_window_jobs", "Jobs in memory that are due next.", self._window.waiting())

    def _depths(self) -> Iterator[Metric]:
        text = "Jobs that have not ended, by queue (those without limits but the default one together) and state."
        jobs = GaugeMetricFamily("fliqd_queue_jobs", text, labels=("queue", "state"))
        for name, depth in self._queues.items():
            jobs.add_metric((name, "waiting"), depth.waiting)
            jobs.add_metric((name, "running"), depth.running)
        yield jobs
        items = GaugeMetricFamily("fliqd_buffer_items", "Items of buffers that have not ended.", labels=("state",))
        if self._counts is not None:
            items.add_metric(("waiting",), self._counts.items_waiting)
            items.add_metric(("running",), self._counts.items_running)
        yield items

    def _attempts(self) -> Iterator[Metric]:
        tally = self._tally
        ended = [((str(outcome), str(code)), count) for (outcome, code), count in tally.attempts.items()]
        text = "Attempts that have ended, by how, and by error code where they failed."
        yield _counter("fliqd_attempts_total", text, ("outcome", "error_code"), ended)
        yield _histogram(
            "fliqd_attempt_lateness_seconds", "How long after their due time attempts began.", tally.lateness
        )
        yield _histogram("fliqd_attempt_duration_seconds", "How long attempts took.", tally.duration)
        yield _gauge("fliqd_attempts_in_flight", "Attempts that are under way.", self._traffic.in_flight)
        yield _gauge("fliqd_attempts_in_flight_limit", "Attempts that may be under way at once.", self._limit)

    def _disk(self) -> Iterator[Metric]:
        store = self._store
        writes = store.writes
        yield _histogram("fliqd_store_commit_rows", "Rows that were written in a transaction.", writes.rows)
        text = "How long transactions took, from their begin to the disk."
        yield _histogram("fliqd_store_commit_seconds", text, writes.took_s)
        text = "How long the first write of each transaction waited, from the call to the disk."
        yield _histogram("fliqd_store_write_wait_seconds", text, writes.waited_s)
        yield _gauge("fliqd_store_waiting_rows", "Rows that wait to be written.", writes.waiting)
        blocked = float(store.blocked is not None)
        yield _gauge("fliqd_store_blocked", "1 while nothing can be written for want of space.", blocked)
        yield _gauge("fliqd_db_bytes", "What the store takes on disk.", store.size_bytes())


def _counter(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], int]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _histogram(name: str, text: str, values: Histogram) -> Metric:
    buckets = [("+Inf" if bound == inf else repr(float(bound)), count) for bound, count in values.cumulative()]
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=values.total)
