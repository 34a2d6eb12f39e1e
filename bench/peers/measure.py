"""The five measurements, the same for all."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import figures
from harness import Bench, MeasurementError, Server, program, sleep_until, wait_until

from peers import trees
from peers.system import System

CLIENTS = 32
NOWHERE = "http://127.0.0.1:9/hook"
DAY_MS = 86_400_000
MINUTE_MS = 60_000
STEP_MS = 20
GIVE_UP_S = 300.0
PATIENCE_S = 100.0  # no recovery that is documented takes longer
HELD = 200


@dataclass(slots=True)
class Figures:
    """What was measured of one system: a list a figure, a value a round."""

    name: str
    client: str = ""
    kill_9: str = ""
    power_cut: str = ""
    in_process: bool = False
    values: dict[str, list[float]] = field(default_factory=dict)
    crash: dict[str, float] = field(default_factory=dict)
    skipped: str = ""
    failed: str = ""

    @property
    def complete(self) -> bool:
        return not (self.skipped or self.failed)

    def add(self, **values: float) -> None:
        """Note the values of a round."""
        for key, value in values.items():
            self.values.setdefault(key, []).append(value)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    bursts: Sequence[int]
    late: int
    idle_s: float
    enqueue_s: float
    settle: bool


FULL = Plan(bursts=(2_000, 10_000), late=500, idle_s=10.0, enqueue_s=4.0, settle=True)
QUICK = Plan(bursts=(200,), late=50, idle_s=2.0, enqueue_s=0.7, settle=False)


def run(bench: Bench, system: System, plan: Plan, found: Figures) -> None:
    """Measure one round of one system, on the state it was made with."""
    with program("sink.py") as sink:
        system.start()
        try:
            _round(bench, system, plan, found, sink)
        finally:
            system.stop()


def _round(bench: Bench, system: System, plan: Plan, found: Figures, sink: Server) -> None:
    counts = [count for count in plan.bursts if count <= system.most] or [system.most]
    if system.only_waits:
        counts = []
    # The first few are for connections to be made and code to be warm; they tell how long a fill takes.
    started = time.monotonic()
    lead_s, done = 2.0, 0
    if not system.to_the_minute:
        system.fill(f"{sink.url}/hook", "warm", 300, _now_ms(), 0)
        each_s = (time.monotonic() - started) / 300
        done = 300
        wait_until("the first", lambda: _arrived(sink) >= done and system.done(done), every_s=0.05, timeout_s=60)
    else:
        each_s = 0.0
    burst: dict[str, float] = {}
    for count in counts:
        done += count
        burst = _burst(system, sink, count, done, lead_s + 1.5 * each_s * count)
        found.add(**{f"{key}_{count}": value for key, value in burst.items()})
        bench.say(f"{system.name}: {count:,} jobs: {burst['rate']:,.0f} /s, {burst['cpu_us']:,.0f} µs of CPU each")
    if system.to_the_minute:
        found.add(late_p50=burst["late_p50"], late_p99=burst["late_p99"])
    else:
        late = _late(system, sink, plan.late, lead_s + 1.5 * each_s * plan.late)
        found.add(late_p50=median(late), late_p99=figures.percentile(late, 0.99))
        bench.say(f"{system.name}: late by p50 {median(late):,.1f}, p99 {figures.percentile(late, 0.99):,.1f} ms")
    system.leave()
    time.sleep(system.settle_s if plan.settle else 1.0)
    found.add(**_idle(system, plan.idle_s))
    bench.say(f"{system.name}: idle {found.values['wakeups'][-1]:.1f} wake-ups/s")
    if not (system.to_the_minute or system.only_waits):
        system.come_back()
        found.add(**_enqueue(system, plan.enqueue_s))
        bench.say(f"{system.name}: {found.values['enqueue_rate'][-1]:,.0f} enqueues/s")


def _enqueue(system: System, seconds: float) -> dict[str, float]:
    """Let the clients create jobs that are due tomorrow."""
    before = trees.cpu_s(system.roots)
    made = system.enqueue(CLIENTS, seconds, NOWHERE, _now_ms() + DAY_MS)
    servers_s = trees.cpu_s(system.roots) - before
    return {
        "enqueue_rate": made.count / made.seconds,
        "enqueue_cpu_us": servers_s / made.count * 1e6,
        "enqueue_client_cpu_us": made.cpu_s / made.count * 1e6,
    }


def _burst(system: System, sink: Server, count: int, done: int, lead_s: float) -> dict[str, float]:
    """Have jobs become due at one instant; return what it takes until the last is recorded."""
    sink.ask("POST", "/~reset")
    due_ms = _due_ms(system, lead_s)
    ids = system.fill(f"{sink.url}/hook", f"burst-{count}-{time.monotonic_ns()}", count, due_ms, 0)
    if _now_ms() > due_ms - 200:
        raise MeasurementError(f"{system.name}: creating {count} jobs took longer than {lead_s:.1f} s")
    sleep_until(due_ms / 1000 - 0.2)
    before = trees.cpu_s(system.roots)
    wait_until("all at the sink", lambda: _arrived(sink) >= count, every_s=0.02, timeout_s=GIVE_UP_S)
    wait_until("all recorded", lambda: system.done(done), every_s=0.005, timeout_s=60)
    ended_ms = time.time() * 1000
    cpu_s = trees.cpu_s(system.roots) - before
    arrived = _hits(sink, ids)
    # From the first request on: how long it takes to notice that jobs are due is lateness, and measured there.
    first_ms = max(due_ms, min(arrived.values()))
    late = [at_ms - due_ms for at_ms in arrived.values()]
    return {
        "rate": count / (ended_ms - first_ms) * 1000,
        "cpu_us": cpu_s / count * 1e6,
        "first_ms": first_ms - due_ms,
        "late_p50": median(late),
        "late_p99": figures.percentile(late, 0.99),
    }


def _late(system: System, sink: Server, count: int, lead_s: float) -> list[float]:
    """Return how many milliseconds each of 50 jobs a second came after its due time."""
    sink.ask("POST", "/~reset")
    start_ms = _due_ms(system, lead_s)
    ids = system.fill(f"{sink.url}/hook", f"late-{time.monotonic_ns()}", count, start_ms, STEP_MS)
    if _now_ms() > start_ms:
        raise MeasurementError(f"{system.name}: creating {count} jobs took longer than {lead_s:.1f} s")
    sleep_until((start_ms + count * STEP_MS) / 1000)
    wait_until("all at the sink", lambda: _arrived(sink) >= count, every_s=0.2, timeout_s=60)
    arrived = _hits(sink, ids)
    return [arrived[delivery_id] - start_ms - STEP_MS * number for number, delivery_id in enumerate(ids)]


def _idle(system: System, seconds: float) -> dict[str, float]:
    """Return what all that must run does while there is nothing to do."""
    before = trees.usage(system.roots)
    time.sleep(seconds)
    after = trees.usage(system.roots)
    return {
        "wakeups": (after.switches - before.switches) / seconds,
        "idle_cpu": (after.cpu_s - before.cpu_s) / seconds * 1000,
        "idle_written": float(after.written - before.written) / seconds,
        "memory_mb": after.memory / 1e6,
        "processes": float(after.processes),
    }


def crash(bench: Bench, system: System, found: Figures) -> None:
    """Kill everything while requests are under way and others are due; see what the next start makes of it.

    The sink takes the first requests and answers none. Then everything is killed and started again, and
    the sink answers; what has had no answer in the end is lost.
    """
    with program("sink.py") as sink:
        sink.ask("POST", "/~hold")
        system.start()
        try:
            due_ms = _due_ms(system, 4.0)
            ids = system.fill(f"{sink.url}/hook", "crash", HELD, due_ms, 0)
            sleep_until(due_ms / 1000)
            wait_until("some under way", lambda: int(sink.ask("GET", "/~held")) > 0, every_s=0.1, timeout_s=70)
            time.sleep(2.0)
            under_way = int(sink.ask("GET", "/~held"))
            system.kill()
            sink.ask("POST", "/~release")
            system.start()
            started = time.monotonic()
            took_s = _recovery_s(sink, len(ids), started)
            answered = sink.ask("GET", "/~hits")
        finally:
            system.kill()
    lost = len(set(ids) - {delivery_id for delivery_id, _ in answered})
    found.crash = {"jobs": len(ids), "under_way": under_way, "lost": lost, "seconds": took_s}
    bench.say(
        f"{system.name}: killed with {under_way} of {len(ids)} under way, {lost} lost, the last after {took_s:.0f} s"
    )


def _recovery_s(sink: Server, count: int, started: float) -> float:
    """Wait until all have arrived, or until none has for long; return when the last one came."""
    last, arrived = started, 0
    while arrived < count and time.monotonic() < last + PATIENCE_S:
        time.sleep(0.1)
        now = _arrived(sink)
        if now > arrived:
            last, arrived = time.monotonic(), now
    return last - started


def _due_ms(system: System, lead_s: float) -> int:
    """Return an instant that far ahead, which for some is a full minute."""
    due_ms = _now_ms() + int(lead_s * 1000)
    return -(-due_ms // MINUTE_MS) * MINUTE_MS if system.to_the_minute else due_ms


def _arrived(sink: Server) -> int:
    return int(sink.ask("GET", "/~count"))


def _hits(sink: Server, ids: Sequence[str]) -> dict[str, float]:
    """Return when each arrived, in milliseconds; raise unless each did, once."""
    hits = [(delivery_id, arrived_ns / 1e6) for delivery_id, arrived_ns in sink.ask("GET", "/~hits")]
    if len(hits) != len(ids) or {delivery_id for delivery_id, _ in hits} != set(ids):
        raise MeasurementError(f"{len(ids)} jobs, {len(hits)} requests for {len(dict(hits).keys() & set(ids))} of them")
    return dict(hits)


def _now_ms() -> int:
    return int(time.time() * 1000)
