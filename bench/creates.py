"""Creating jobs: one by one from many clients, and by the batch, against a bare server's requests."""

import json
import time
from collections.abc import Iterator
from typing import Any

import jobs
from harness import Bench, Server, fliqd, program, result, start
from report import Row, middle, ratios

CLIENTS = {128: (55.0, 75.0), 32: (45.0, 60.0)}  # clients: (gate, aim) in percent
BATCH_CLIENTS = 2
Measured = dict[str, Any]


def measure(bench: Bench) -> Iterator[Row]:
    """Load both servers in turns, each with the same generator."""
    seconds = 0.7 if bench.quick else 4.0
    far_ms = int(time.time() * 1000) + jobs.YEAR_MS
    document = jobs.document("http://127.0.0.1:9/hook", far_ms)
    single = json.dumps(document).encode()
    batch = jobs.batch([document] * jobs.BATCH)
    with bench.state() as state, fliqd(state) as daemon:
        answer_bytes = len(json.dumps(daemon.ask("POST", "/v1/jobs", single), separators=(",", ":")))
        with program("bare_server.py", "--answer-bytes", answer_bytes, "--loop", daemon.loop) as bare:
            for clients, (gate, aim) in CLIENTS.items():
                ours, theirs = [], []
                for number in range(bench.rounds):
                    ours.append(load(daemon, "/v1/jobs", single, clients, seconds))
                    theirs.append(load(bare, "/v1/jobs", single, clients, seconds))
                    bench.say(f"creates, {clients} clients, round {number + 1}: {_rates(ours, theirs)}")
                yield from _rows(f"creates, {clients} clients", ours, theirs, gate, aim)
            ours, theirs = [], []
            for number in range(bench.rounds):
                ours.append(load(daemon, "/v1/jobs/batch", batch, BATCH_CLIENTS, seconds, status=200))
                ours[-1]["answers"] *= jobs.BATCH
                theirs.append(load(bare, "/v1/jobs", single, 128, seconds))
                bench.say(f"batch creates, round {number + 1}: {_rates(ours, theirs)}")
            yield from _rows(f"batch creates, {BATCH_CLIENTS} clients", ours, theirs, 100.0, 300.0)


def load(server: Server, path: str, body: bytes, clients: int, seconds: float, *, status: int = 201) -> Measured:
    """Load a server; return how many answers there were, the time they took, and the server's CPU time."""
    arguments = ("--clients", clients, "--seconds", seconds, "--status", status, "--watch", server.pid)
    measured = result(start("load.py", server.port, *arguments, stdin=jobs.request(server, path, body)))
    time.sleep(0.1)  # for the last answers to find their connections closed
    return measured


def _rows(bar: str, ours: list[Measured], theirs: list[Measured], gate: float, aim: float) -> Iterator[Row]:
    our_rates, their_rates = _rate(ours), _rate(theirs)
    yield Row(
        bar=bar,
        fliqd=middle(our_rates, " /s"),
        bare=middle(their_rates, " /s"),
        rounds=ratios(our_rates, their_rates, 100.0),
        unit=" %",
        gate=gate,
        aim=aim,
        at_least=True,
        details={"fliqd": ours, "bare": theirs},
    )
    our_cpu, their_cpu = _cpu_each(ours), _cpu_each(theirs)
    yield Row(
        bar="  its CPU each",
        fliqd=middle(our_cpu, " µs", 1e6),
        bare=middle(their_cpu, " µs", 1e6),
        rounds=ratios(our_cpu, their_cpu),
        unit=" x",
    )


def _rate(measured: list[Measured]) -> list[float]:
    return [one["answers"] / one["seconds"] for one in measured]


def _cpu_each(measured: list[Measured]) -> list[float]:
    return [one["cpu_s"] / max(1, one["answers"]) for one in measured]


def _rates(ours: list[Measured], theirs: list[Measured]) -> str:
    return f"{_rate(ours)[-1]:,.0f} /s against {_rate(theirs)[-1]:,.0f} /s"
