"""A million jobs that wait, spread over a year: what they cost in memory, and at the start."""

import time
from collections.abc import Iterator
from pathlib import Path

import figures
import jobs
from harness import Bench, fliqd
from report import Row, middle

MB = 1e6
SETTLE_S = 2.0
HOUR_MS = 3_600_000


def measure(bench: Bench) -> Iterator[Row]:
    """Fill one store, leave another empty, and start a daemon on each in turns."""
    count, settle_s = (5_000, 0.5) if bench.quick else (1_000_000, SETTLE_S)
    with bench.state() as full, bench.state() as empty:
        filled = _fill(bench, full, count, settle_s)
        with fliqd(empty):
            pass  # makes the store, so that both starts find one
        ours, theirs = [], []
        for number in range(bench.rounds):
            ours.append(_start(full, settle_s))
            theirs.append(_start(empty, settle_s))
            bench.say(f"start, round {number + 1}: {ours[-1][0]:.3f} s against {theirs[-1][0]:.3f} s")
    start_s, rss = ([one[field] for one in ours] for field in (0, 1))
    idle_start_s, idle_rss = ([one[field] for one in theirs] for field in (0, 1))
    yield Row(
        bar=f"memory: {count:,} jobs wait, after a start",
        fliqd=middle(rss, " MB", 1 / MB),
        bare=f"idle {middle(idle_rss, ' MB', 1 / MB)}",
        rounds=[(our - their) / MB for our, their in zip(rss, idle_rss, strict=True)],
        unit=" MB",
        gate=30.0,
        aim=20.0,
    )
    yield Row(
        bar="  just after they were created",
        fliqd=middle([filled], " MB", 1 / MB),
        bare=f"idle {middle(idle_rss, ' MB', 1 / MB)}",
        rounds=[(filled - their) / MB for their in idle_rss],
        unit=" MB",
        gate=30.0,
        aim=20.0,
    )
    yield Row(
        bar=f"ready with {count:,} jobs",
        fliqd=middle(start_s, " ms", 1000),
        bare=f"none {middle(idle_start_s, ' ms', 1000)}",
        rounds=[(our - their) * 1000 for our, their in zip(start_s, idle_start_s, strict=True)],
        unit=" ms",
        gate=150.0,
        aim=50.0,
    )


def _fill(bench: Bench, state: Path, count: int, settle_s: float) -> int:
    """Create the jobs; return the daemon's resident memory afterwards."""
    start_ms = int(time.time() * 1000) + HOUR_MS
    step_ms = jobs.YEAR_MS / count
    # A prime stride over the year: neighbours in the store are not neighbours in time.
    due = (start_ms + int(number * 7919 % count * step_ms) for number in range(count))
    documents = (jobs.document("http://127.0.0.1:9/hook", due_ms) for due_ms in due)
    with fliqd(state) as daemon:
        for made in jobs.fill(daemon, documents):
            bench.say(f"{made:,} jobs wait")
        time.sleep(settle_s)
        return figures.memory(daemon.pid).rss


def _start(state: Path, settle_s: float) -> tuple[float, int]:
    """Start a daemon; return the seconds until it is ready, and its resident memory once it has settled."""
    with fliqd(state) as daemon:
        time.sleep(settle_s)
        return daemon.ready_s, figures.memory(daemon.pid).rss
