"""Doing nothing: wake-ups, bytes written and memory, with no jobs and with jobs an hour ahead."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import figures
import jobs
from harness import Bench, Server, fliqd, program
from report import Row, middle, ratios

MB = 1e6
AHEAD_S = 3600
WAITING = 1000
POLLS = re.compile(r"(\d+)(?:\s+\d+)?\s+epoll_p?wait2?$", re.MULTILINE)


class Rest(NamedTuple):
    """What a process did while it had nothing to do."""

    wakeups_per_s: float
    written: int


def measure(bench: Bench) -> Iterator[Row]:
    """Watch two daemons and a bare server over the same seconds."""
    seconds = 2.0 if bench.quick else 20.0
    with ExitStack() as stack:
        empty = stack.enter_context(fliqd(stack.enter_context(bench.state())))
        waiting = stack.enter_context(fliqd(stack.enter_context(bench.state())))
        bare = stack.enter_context(program("bare_server.py", "--loop", empty.loop))
        bare.ask("GET", "/readyz")
        later_ms = int((time.time() + AHEAD_S) * 1000)
        jobs.create(waiting, (jobs.document("http://127.0.0.1:9/hook", later_ms) for _ in range(WAITING)))
        time.sleep(2.0)
        bench.say(f"idle, for {seconds:g} s")
        rests = _watch([empty, waiting], seconds)
        polls = [_polls(server, min(seconds, 10.0)) for server in (empty, waiting)]
        ours, theirs = [], []
        for number in range(bench.rounds):
            ours.append(_idle_memory(bench))
            theirs.append(_idle_memory_bare(empty.loop))
            bench.say(f"idle memory, round {number + 1}: {ours[-1] / MB:.1f} MB against {theirs[-1] / MB:.1f} MB")
    for name, rest, per_s in zip(("none", f"{WAITING:,} an hour ahead"), rests, polls, strict=True):
        yield Row(
            bar=f"idle, jobs: {name}: wake-ups a second",
            fliqd="" if per_s is None else f"epoll {per_s:.2f} /s",
            rounds=[rest.wakeups_per_s],
            unit=" /s",
            gate=2.0,
            aim=0.0,
        )
        yield Row(bar=f"  bytes written in {seconds:g} s", fliqd="", rounds=[float(rest.written)], gate=0.0, aim=0.0)
    yield Row(
        bar="idle: resident memory",
        fliqd=middle(ours, " MB", 1 / MB),
        bare=middle(theirs, " MB", 1 / MB),
        rounds=ratios(ours, theirs),
        unit=" x",
        gate=1.4,
        aim=1.2,
    )


def _watch(servers: list[Server], seconds: float) -> list[Rest]:
    before = [(figures.switches(server.pid), figures.written(server.pid)) for server in servers]
    time.sleep(seconds)
    return [
        Rest((figures.switches(server.pid) - switches) / seconds, figures.written(server.pid) - written)
        for server, (switches, written) in zip(servers, before, strict=True)
    ]


def _polls(server: Server, seconds: float) -> float | None:
    """Return how often a second the event loop came back from waiting; None without strace, or where it may not."""
    if shutil.which("strace") is None:
        return None
    command = ["strace", "-f", "-c", "-U", "calls,errors,name", "-p", str(server.pid)]
    command += ["-e", "trace=epoll_wait,epoll_pwait,epoll_pwait2"]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    tracer.send_signal(signal.SIGINT)
    _, counts = tracer.communicate(timeout=10)
    if "attached" not in counts:
        return None
    # Attaching and letting go each cut a wait short, which starts again.
    return max(0, sum(int(calls) for calls in POLLS.findall(counts)) - 1) / seconds


def _idle_memory(bench: Bench) -> float:
    with bench.state() as state, fliqd(state) as daemon:
        return _settled(daemon)


def _idle_memory_bare(loop: str) -> float:
    with program("bare_server.py", "--loop", loop) as bare:
        bare.ask("GET", "/readyz")
        return _settled(bare)


def _settled(server: Server) -> float:
    time.sleep(1.0)
    return float(figures.memory(server.pid).rss)
