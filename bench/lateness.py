"""How late a request arrives at 50 jobs a second, against `call_at` in a bare process at the same time."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import figures
import jobs
from harness import Bench, MeasurementError, Server, fliqd, program, result, sleep_until, start
from report import Row

STEP_MS = 20
LEAD_S = 3.0
QUICK_LEAD_S = 1.5
LOAD_CLIENTS = 32


def measure(bench: Bench) -> Iterator[Row]:
    """Measure alone, then while other clients create flat out."""
    yield _row(bench, "lateness at 50 jobs/s, p99", gate=8.0, aim=3.0, loaded=False)
    yield _row(bench, f"  while {LOAD_CLIENTS} clients create", gate=20.0, aim=8.0, loaded=True)


def _row(bench: Bench, bar: str, *, gate: float, aim: float, loaded: bool) -> Row:
    count, lead_s = (50, QUICK_LEAD_S) if bench.quick else (500, LEAD_S)
    ours, theirs = [], []
    with ExitStack() as stack:
        state = stack.enter_context(bench.state())
        daemon = stack.enter_context(fliqd(state))
        sink = stack.enter_context(program("sink.py"))
        for number in range(bench.rounds):
            late, bare_late = _round(daemon, sink, count, lead_s, loaded=loaded)
            ours.append(late)
            theirs.append(bare_late)
            bench.say(f"{bar.strip()}, round {number + 1}: {_shown(late)} against {_shown(bare_late)}")
    return Row(
        bar=bar,
        fliqd=_shown_all(ours),
        bare=_shown_all(theirs),
        rounds=[_p99(late) - _p99(bare_late) for late, bare_late in zip(ours, theirs, strict=True)],
        unit=" ms",
        gate=gate,
        aim=aim,
        details={"fliqd_p50_p99_ms": _points(ours), "bare_p50_p99_ms": _points(theirs)},
    )


def _round(daemon: Server, sink: Server, count: int, lead_s: float, *, loaded: bool) -> tuple[list[float], list[float]]:
    """Return how many milliseconds each request came after its due time: fliqd's, and the bare process's.

    Both are sent to the same sink in the same seconds, the bare ones half a step after ours.
    """
    sink.ask("POST", "/~reset")
    start_ms = int((time.time() + lead_s) * 1000)
    end_s = (start_ms + count * STEP_MS) / 1000
    url = f"{sink.url}/hook"
    made = jobs.create(daemon, (jobs.document(url, start_ms + STEP_MS * number) for number in range(count)))
    due_ms = {job["id"]: start_ms + STEP_MS * number for number, job in enumerate(made)}
    bare_due_ms = {f"bare-{due + STEP_MS // 2}": due + STEP_MS // 2 for due in due_ms.values()}
    schedule = ("--count", count, "--start-ms", start_ms + STEP_MS // 2, "--step-ms", STEP_MS, "--loop", daemon.loop)
    bare = start("bare_client.py", "timed", url, *schedule, stdin=jobs.BODY)
    load = _load(daemon, end_s - time.time()) if loaded else None
    sleep_until(end_s)
    if load is not None:
        result(load)
    result(bare)
    time.sleep(0.5)
    arrived_ns = dict(sink.ask("GET", "/~hits"))
    return _late(due_ms, arrived_ns), _late(bare_due_ms, arrived_ns)


def _load(daemon: Server, seconds: float) -> subprocess.Popen[bytes]:
    far_ms = int(time.time() * 1000) + jobs.YEAR_MS
    body = json.dumps(jobs.document("http://127.0.0.1:9/hook", far_ms)).encode()
    arguments = ("--clients", LOAD_CLIENTS, "--seconds", seconds, "--warm-up", 0, "--watch", daemon.pid)
    return start("load.py", daemon.port, *arguments, stdin=jobs.request(daemon, "/v1/jobs", body))


def _late(due_ms: dict[str, int], arrived_ns: dict[str, int]) -> list[float]:
    missing = due_ms.keys() - arrived_ns.keys()
    if missing:
        raise MeasurementError(f"{len(missing)} of {len(due_ms)} requests did not arrive, such as {missing.pop()}")
    return [arrived_ns[delivery_id] / 1e6 - due for delivery_id, due in due_ms.items()]


def _p99(late: list[float]) -> float:
    return figures.percentile(late, 0.99)


def _points(rounds: list[list[float]]) -> list[tuple[float, float]]:
    return [(round(median(late), 3), round(_p99(late), 3)) for late in rounds]


def _shown(late: list[float]) -> str:
    return f"p50 {median(late):.1f}, p99 {_p99(late):.1f} ms"


def _shown_all(rounds: list[list[float]]) -> str:
    return f"p50 {median(map(median, rounds)):.1f}, p99 {median(map(_p99, rounds)):.1f} ms"
