"""Ten thousand schedules: how late their runs arrive, spread over a minute and at one instant, and who waits for it."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import figures
import jobs
from harness import Bench, MeasurementError, Server, exchange, fliqd, program, result, sleep_until, start, wait_until
from report import Row, ratios

CLIENTS = 8
PERIOD_S = 60
PROBE_S = 0.02  # between two questions of a client that is there all the time
CONCURRENCY = 256


class Answers(NamedTuple):
    """How many milliseconds a client waited for each answer."""

    status: list[float]
    create: list[float]


def measure(bench: Bench) -> Iterator[Row]:
    """Measure the spread and the instant, each on a daemon of its own."""
    count = 500 if bench.quick else 10_000
    yield from _spread(bench, count)
    yield from _instant(bench, count)


def _spread(bench: Bench, count: int) -> Iterator[Row]:
    """Have one after the other due in each minute; beside them a bare client at the same rate."""
    seconds = 5 if bench.quick else 30
    late, bare_late, busy = [], [], []
    with _running(bench) as (daemon, sink):
        step_ms = PERIOD_S * 1000 / count
        quiet = [_asked(daemon, seconds) for _ in range(bench.rounds)]
        first_ms = _create(bench, daemon, sink, count, step_ms)
        sleep_until(first_ms / 1000 + 1)
        for number in range(bench.rounds):
            sink.ask("POST", "/~reset")
            since_ms = int((time.time() + 3) * 1000)
            bare_step_ms = max(1, round(step_ms))
            steps = ("--count", round(seconds * 1000 / bare_step_ms), "--step-ms", bare_step_ms)
            bare = start(
                "bare_client.py", "timed", f"{sink.url}/hook", *steps, "--start-ms", since_ms, "--loop", daemon.loop,
                stdin=jobs.BODY,
            )  # fmt: skip
            sleep_until(since_ms / 1000)
            busy.append(_asked(daemon, seconds))
            result(bare)
            time.sleep(0.5)
            arrived_ns = dict(sink.ask("GET", "/~hits"))
            due_ms = _due(daemon, since_ms, since_ms + seconds * 1000)
            late.append(_late(due_ms, arrived_ns))
            bares = {name: int(name.removeprefix("bare-")) for name in arrived_ns if name.startswith("bare-")}
            bare_late.append(_late(bares, arrived_ns))
            bench.say(f"spread, round {number + 1}: {len(due_ms)} runs, {_p99s(late[-1], bare_late[-1])}")
    yield Row(
        bar=f"lateness of {count:,} schedules, spread over a minute, p99",
        fliqd=f"{_middle(late)} ms",
        bare=f"{_middle(bare_late)} ms",
        rounds=[_p99(ours) - _p99(theirs) for ours, theirs in zip(late, bare_late, strict=True)],
        unit=" ms",
        gate=8.0,
        aim=3.0,
        details={"late_ms": [_summary(one) for one in late], "bare_ms": [_summary(one) for one in bare_late]},
    )
    yield from _waits("without", busy, quiet)


def _instant(bench: Bench, count: int) -> Iterator[Row]:
    """Have all of them due at once; against as many jobs that were made long before, due at one instant too."""
    ours, theirs, busy, quiet, made = [], [], [], [], []
    with _running(bench) as (daemon, sink):
        at_ms = _create(bench, daemon, sink, count, 0)
        for number in range(bench.rounds):
            cpu = figures.cpu_s(daemon.pid)
            took_s, answers = _burst(daemon, sink, at_ms, count)
            made.append((figures.cpu_s(daemon.pid) - cpu) / count)
            ours.append(took_s)
            busy.append(answers)
            due_ms = int((time.time() + 6) * 1000)
            jobs.create(daemon, (jobs.document(f"{sink.url}/hook", due_ms, "plain") for _ in range(count)))
            took_s, answers = _burst(daemon, sink, due_ms, count)
            theirs.append(took_s)
            quiet.append(answers)
            bench.say(f"instant, round {number + 1}: {ours[-1]:.2f} s against {theirs[-1]:.2f} s of jobs")
            while at_ms / 1000 < time.time() + 1:
                at_ms += PERIOD_S * 1000
    yield Row(
        bar=f"{count:,} schedules due at one instant, until the last run arrives",
        fliqd=f"{sorted(ours)[len(ours) // 2]:.2f} s",
        bare=f"as many jobs {sorted(theirs)[len(theirs) // 2]:.2f} s",
        rounds=ratios(ours, theirs),
        unit=" x",
        details={"fliqd_s": ours, "jobs_s": theirs, "cpu_s_per_run": made},
    )
    yield from _waits("as many jobs", busy, quiet)


def _waits(what: str, busy: list[Answers], quiet: list[Answers]) -> Iterator[Row]:
    for name, field in (("GET /v1/status", "status"), ("POST /v1/jobs", "create")):
        ours, theirs = ([getattr(answers, field) for answers in side] for side in (busy, quiet))
        yield Row(
            bar=f"  meanwhile {name}, p99",
            fliqd=f"{_middle(ours)} ms",
            bare=f"{what} {_middle(theirs)} ms",
            rounds=[_p99(our) - _p99(their) for our, their in zip(ours, theirs, strict=True)],
            unit=" ms",
            details={"ms": [_summary(one) for one in ours], "without_ms": [_summary(one) for one in theirs]},
        )


@contextmanager
def _running(bench: Bench) -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        state = stack.enter_context(bench.state())
        limits = {"dispatch__max_in_flight": CONCURRENCY, "dispatch__max_in_flight_per_host": CONCURRENCY}
        yield stack.enter_context(fliqd(state, **limits)), stack.enter_context(program("sink.py"))


def _create(bench: Bench, daemon: Server, sink: Server, count: int, step_ms: float) -> int:
    """Create schedules of every minute, due one step after the other; return when the first is due."""
    first_ms = int((time.time() + count / 150 + 5) * 1000)
    lines = [daemon.connect() for _ in range(CLIENTS)]

    def post(client: int) -> None:
        for number in range(client, count, CLIENTS):
            at = datetime.fromtimestamp((first_ms + round(number * step_ms)) / 1000, UTC).isoformat("T", "milliseconds")
            asked = {"name": f"s{number}", "every": PERIOD_S, "starts_at": at, "url": f"{sink.url}/hook"}
            body = json.dumps(asked | {"json": jobs.PAYLOAD}).encode()
            exchange(lines[client], "POST", "/v1/schedules", body, daemon.headers())

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(post, range(CLIENTS)))
    for line in lines:
        line.close()
    bench.say(f"{count:,} schedules created, {count / (time.perf_counter() - started):.0f} /s")
    if time.time() * 1000 > first_ms:
        raise MeasurementError("creating the schedules took longer than until the first was due")
    return first_ms


def _burst(daemon: Server, sink: Server, at_ms: int, count: int) -> tuple[float, Answers]:
    """Return how long it takes from an instant until all of its runs have arrived, and how others fare meanwhile."""
    sleep_until(at_ms / 1000 - 1)
    sink.ask("POST", "/~reset")
    asked: dict[str, Answers] = {}
    over = threading.Event()
    probe = threading.Thread(target=lambda: asked.update(meanwhile=_asked(daemon, 120, over)))
    sleep_until(at_ms / 1000 - 0.1)
    probe.start()
    try:
        wait_until(
            "all runs at the sink", lambda: int(sink.ask("GET", "/~count")) >= count, every_s=0.02, timeout_s=PERIOD_S
        )
    finally:
        over.set()
        probe.join()
    last_ns = max(arrived_ns for _, arrived_ns in sink.ask("GET", "/~hits"))
    return last_ns / 1e9 - at_ms / 1000, asked["meanwhile"]


def _asked(daemon: Server, seconds: float, over: threading.Event | None = None) -> Answers:
    """Ask for the status and create jobs, steadily, for so long; return the waits for the answers."""
    ends = time.monotonic() + seconds
    far_ms = int(time.time() * 1000) + jobs.YEAR_MS
    body = json.dumps(jobs.document("http://127.0.0.1:9/hook", far_ms)).encode()

    def ask(method: str, path: str, body: bytes | None) -> list[float]:
        waits = []
        line = daemon.connect()
        while time.monotonic() < ends and not (over is not None and over.is_set()):
            started = time.perf_counter()
            exchange(line, method, path, body, daemon.headers())
            waits.append((time.perf_counter() - started) * 1000)
            time.sleep(PROBE_S)
        line.close()
        return waits

    with ThreadPoolExecutor(2) as pool:
        status, create = pool.submit(ask, "GET", "/v1/status", None), pool.submit(ask, "POST", "/v1/jobs", body)
        return Answers(status.result(), create.result())


def _due(daemon: Server, since_ms: int, until_ms: int) -> dict[str, int]:
    """Return the jobs of schedules that were due then, with their time."""
    found: dict[str, int] = {}
    cursor = ""
    line = daemon.connect()
    while True:
        times = f"scheduled_after={jobs.when(since_ms)}&scheduled_before={jobs.when(until_ms)}"
        page = exchange(line, "GET", f"/v1/jobs?{times}&limit=100{cursor}", None, daemon.headers())
        for job in page["jobs"]:
            if job["schedule_id"] is not None:
                found[job["id"]] = round(datetime.fromisoformat(job["scheduled_at"]).timestamp() * 1000)
        if page["next_cursor"] is None:
            line.close()
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _late(due_ms: dict[str, int], arrived_ns: dict[str, int]) -> list[float]:
    missing = due_ms.keys() - arrived_ns.keys()
    if missing:
        raise MeasurementError(f"{len(missing)} of {len(due_ms)} runs did not arrive, such as {missing.pop()}")
    return [arrived_ns[delivery_id] / 1e6 - due for delivery_id, due in due_ms.items()]


def _p99(values: Iterable[float]) -> float:
    return figures.percentile(list(values), 0.99)


def _p99s(ours: list[float], theirs: list[float]) -> str:
    return f"p99 {_p99(ours):.1f} ms against {_p99(theirs):.1f} ms"


def _middle(rounds: list[list[float]]) -> str:
    return f"{sorted(map(_p99, rounds))[len(rounds) // 2]:.1f}"


def _summary(values: list[float]) -> tuple[float, ...]:
    """Return p50, p99 and the worst."""
    return tuple(round(figures.percentile(values, share), 3) for share in (0.5, 0.99, 1.0))
