"""A daemon that is asked for everything at once, steadily: nothing grows but what it is told to keep.

Batches of jobs, every tenth with a webhook and every fiftieth failing once; twenty schedules, a buffer, readers of
lists, statistics and metrics, clients that hang up, a listener to events; what has ended a minute ago is deleted. The
rate is half of what the daemon bore just before, for three minutes in which jobs were created as others arrived, read
and deleted (`PROVE_SOAK_RATE` sets another), for an hour (`PROVE_SOAK_S` another number of seconds). After the first
third nothing may grow any more, beyond the 15 % that are chance: not memory, not open files or threads, not the WAL,
not the store; nor may half of the requests be twice as late, and a millisecond, as before. Each acknowledged job
arrives once, and each due time of the schedules is there; those of the three minutes before count with them. Lateness
is the machine's too, whence the plain timer beside it.

![Memory, files, store, lateness and waiting jobs over the time of the soak](soak.svg)
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from fliqd.core.times import parse_time
from tests.prove import soak_plot
from tests.prove.proof import Proof
from tests.prove.soak import EVERY_S, Sample, Soak, target
from tests.support import process, until

PLOT = Path(__file__).parents[2] / "docs/soak.svg"
HOUR_S = 3600
KEPT = "60s"
GROWTH = 1.15  # of the last third over the middle one; below it is chance


async def test_nothing_grows_and_nothing_is_lost(proof: Proof, tmp_path: Path) -> None:
    seconds = float(os.environ.get("PROVE_SOAK_S") or proof.times(short=3, long=HOUR_S))
    settings = {"FLIQD_RETENTION__FINISHED_JOBS": KEPT, "FLIQD_RETENTION__MAX_FINISHED_JOBS": "1000000"}
    async with target() as (url, ledger), process(tmp_path / "state", **settings) as fliqd:
        await fliqd.start()
        soak = Soak(fliqd, url, ledger, proof.chance)
        capacity = await soak.capacity(proof.times(short=2, long=180))
        rate = float(os.environ.get("PROVE_SOAK_RATE") or min(capacity / 2, proof.times(short=200, long=100_000)))
        ledger.take_late_ms()
        schedules = await soak.run(seconds, rate)

        async def everything_told() -> bool | None:
            waiting = [(await fliqd("GET", f"/v1/jobs?status={status}&limit=1")).body["jobs"]
                       for status in ("scheduled", "running")]  # fmt: skip
            return not (any(waiting) or ledger.owed) or None

        await until(everything_told, "the end of every job")
        runs = sum([await accounted(soak, schedule) for schedule in schedules])
        assert not ledger.early, "a request that nobody asked for, or one twice"
        assert ledger.scheduled == runs
        told = [event for event in fliqd.log if event["level"] in ("error", "critical")]
        assert not told
    if proof.long:
        PLOT.write_text(soak_plot.draw(soak.document(rate)))
        (tmp_path / "soak.json").write_text(json.dumps(soak.document(rate)))
        assert_flat(soak.samples)
    proof.saw(
        seconds=round(seconds),
        jobs_a_second=round(rate),
        measured_capacity_a_second=round(capacity),
        jobs=ledger.acknowledged,
        runs_of_schedules=ledger.scheduled,
        retries=ledger.retried,
        webhooks=ledger.told,
        clients_that_hung_up=soak.cut_off,
        load_average_at_the_end=f"{os.getloadavg()[2]:.1f}",
        **seen(soak.samples),
    )


async def accounted(soak: Soak, schedule: dict[str, Any]) -> int:
    """Check that each due time has run or is missed; return how many ran."""
    paused = (await soak.fliqd("GET", f"/v1/schedules/{schedule['id']}")).body
    missed = (await soak.fliqd("GET", f"/v1/schedules/{schedule['id']}/missed?limit=100")).body["missed"]
    since_ms = parse_time(paused["paused_at"]) - parse_time(schedule["next_run_at"])
    due = int(since_ms // (EVERY_S * 1000)) + 1
    not_run = sum(one["count"] for one in missed if one["reason"] != "paused")
    run_count: int = paused["run_count"]
    assert run_count + not_run in (due, due + 1), "one may have been made a moment ahead"
    return run_count


def assert_flat(samples: Sequence[Sample]) -> None:
    """Compare the last third with the one before: by then everything that is kept has its size."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]

    def grew(of: Callable[[Sample], float]) -> float:
        return median(map(of, last)) / max(1.0, median(map(of, middle)))

    assert grew(lambda one: one.memory) < GROWTH
    assert grew(lambda one: one.files) < GROWTH
    assert grew(lambda one: one.threads) < GROWTH
    assert median(one.late_p50 for one in last) <= 1.0 + 2 * median(one.late_p50 for one in middle)
    assert max(one.wal for one in last) <= GROWTH * max(one.wal for one in middle)
    assert max(one.db for one in last) <= GROWTH * max(one.db for one in middle)


def seen(samples: Sequence[Sample]) -> dict[str, str]:
    """Return the medians of each third, for the page."""
    third = max(1, len(samples) // 3)
    thirds = [samples[third * number : third * (number + 1)] for number in range(3) if samples[third * number :]]

    def over(of: Callable[[Sample], float], unit: float, digits: int) -> str:
        return " → ".join(f"{median(map(of, part)) / unit:.{digits}f}" for part in thirds)

    return {
        "memory_in_MB": over(lambda one: one.memory, 1e6, 1),
        "open_files": over(lambda one: one.files, 1, 0),
        "WAL_in_MB": over(lambda one: one.wal, 1e6, 1),
        "database_in_MB": over(lambda one: one.db, 1e6, 1),
        "lateness_p50_in_ms": over(lambda one: one.late_p50, 1, 1),
        "lateness_p99_in_ms": over(lambda one: one.late_p99, 1, 1),
        "p99_of_a_plain_timer_in_ms": over(lambda one: one.timer_p99, 1, 1),
    }
