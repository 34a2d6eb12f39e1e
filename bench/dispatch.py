"""Ten thousand jobs due at once: claimed, delivered and recorded, against a bare client that only delivers."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import figures
import jobs
from harness import Bench, MeasurementError, Server, fliqd, program, result, sleep_until, start, wait_until
from report import Row, middle, ratios

CONCURRENCY = 256
LEAD_S = 6.0  # for the creates to be over when the jobs are due
QUICK_LEAD_S = 2.0


class Took(NamedTuple):
    """What a burst took."""

    seconds: float
    cpu_s: float


def measure(bench: Bench) -> Iterator[Row]:
    """Let the daemon and the bare client fill the same sink in turns."""
    count, lead_s = (1000, QUICK_LEAD_S) if bench.quick else (10_000, LEAD_S)
    ours, theirs = [], []
    with ExitStack() as stack:
        state = stack.enter_context(bench.state())
        limits = {"dispatch__max_in_flight": CONCURRENCY, "dispatch__max_in_flight_per_host": CONCURRENCY}
        daemon = stack.enter_context(fliqd(state, **limits))
        sink = stack.enter_context(program("sink.py"))
        burst(daemon, sink, 500, "warm", lead_s)
        for number in range(bench.rounds):
            ours.append(burst(daemon, sink, count, f"burst-{number}", lead_s))
            theirs.append(_bare(sink, count, daemon.loop))
            both = f"{ours[-1].seconds:.2f} s against {theirs[-1].seconds:.2f} s"
            bench.say(f"dispatch, round {number + 1}: {count:,} in {both}")
    yield Row(
        bar=f"{count:,} jobs due at once",
        fliqd=middle([count / took.seconds for took in ours], " /s"),
        bare=middle([count / took.seconds for took in theirs], " /s"),
        rounds=ratios([took.seconds for took in theirs], [took.seconds for took in ours], 100.0),
        unit=" %",
        gate=130.0,
        aim=300.0,
        at_least=True,
        details={"fliqd": ours, "bare": theirs},
    )
    yield Row(
        bar="  its CPU per job",
        fliqd=middle([took.cpu_s / count for took in ours], " µs", 1e6),
        bare=middle([took.cpu_s / count for took in theirs], " µs", 1e6),
        rounds=ratios([took.cpu_s for took in ours], [took.cpu_s for took in theirs]),
        unit=" x",
        gate=0.7,
        aim=0.35,
    )


def burst(daemon: Server, sink: Server, count: int, name: str, lead_s: float) -> Took:
    """Have `count` jobs become due at one instant; return what it takes until the last is recorded."""
    sink.ask("POST", "/~reset")
    due_s = round(time.time() + lead_s, 3)
    due_ms = round(due_s * 1000)
    made = jobs.create(daemon, (jobs.document(f"{sink.url}/hook", due_ms, name) for _ in range(count)))
    if time.time() > due_s - 0.5:
        raise MeasurementError(f"creating {count} jobs took longer than {lead_s:g} s")
    sleep_until(due_s - 0.4)
    cpu = figures.cpu_s(daemon.pid)
    sleep_until(due_s)
    # The daemon is not asked before the sink has everything, so that the questions cost it nothing.
    wait_until("all of them at the sink", lambda: _arrived(sink) >= count, every_s=0.02, timeout_s=180)
    wait_until("no attempt open", lambda: _idle(daemon), every_s=0.005, timeout_s=60)
    took = Took(time.time() - due_s, figures.cpu_s(daemon.pid) - cpu)
    _verify(daemon, sink, {job["id"] for job in made}, name)
    return took


def _arrived(sink: Server) -> int:
    return int(sink.ask("GET", "/~count"))


def _idle(daemon: Server) -> bool:
    status = daemon.ask("GET", "/v1/status")
    return bool(status["in_flight"] == 0 and status["backlog"] == 0)


def _verify(daemon: Server, sink: Server, made: set[str], name: str) -> None:
    """Check that each job arrived once and that the daemon says so."""
    arrived = [delivery_id for delivery_id, _ in sink.ask("GET", "/~hits")]
    if len(arrived) != len(made) or set(arrived) != made:
        raise MeasurementError(f"{len(made)} jobs, {len(arrived)} requests for {len(made & set(arrived))} of them")
    recorded = 0
    cursor = ""
    while True:
        page = daemon.ask("GET", f"/v1/jobs?name={name}&status=success&limit=100{cursor}")
        recorded += len(page["jobs"])
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    if recorded != len(made):
        raise MeasurementError(f"{len(made)} jobs, {recorded} recorded as a success")


def _bare(sink: Server, count: int, loop: str) -> Took:
    arguments = ("burst", f"{sink.url}/hook", "--count", count, "--concurrency", CONCURRENCY, "--loop", loop)
    took = result(start("bare_client.py", *arguments, stdin=jobs.BODY))
    return Took(took["seconds"], took["cpu_s"])
