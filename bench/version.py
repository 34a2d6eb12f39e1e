"""`fliqd --version` against `python -c pass`: what a command costs before it does anything."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from harness import Bench, MeasurementError
from report import Row, middle, ratios

FLIQD = (str(Path(sys.executable).with_name("fliqd")), "--version")
BARE = (sys.executable, "-c", "pass")


def measure(bench: Bench) -> Iterator[Row]:
    """Run both in turns, many times a round."""
    times = 5 if bench.quick else 20
    ours, theirs = [], []
    for number in range(bench.rounds):
        runs = [(_run(FLIQD), _run(BARE)) for _ in range(times)]
        ours.append(tuple(median(run[0][what] for run in runs) for what in (0, 1)))
        theirs.append(tuple(median(run[1][what] for run in runs) for what in (0, 1)))
        bench.say(f"--version, round {number + 1}: {ours[-1][0] * 1e3:.1f} ms against {theirs[-1][0] * 1e3:.1f} ms")
    for bar, what, gate, aim in (("fliqd --version: CPU time", 0, 1.6, 1.4), ("  wall time", 1, None, None)):
        our, their = [one[what] for one in ours], [one[what] for one in theirs]
        yield Row(
            bar=bar,
            fliqd=middle(our, " ms", 1e3),
            bare=middle(their, " ms", 1e3),
            rounds=ratios(our, their),
            unit=" x",
            gate=gate,
            aim=aim,
        )


def _run(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; return its CPU time and its wall time in seconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise MeasurementError(f"{command} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, wall
