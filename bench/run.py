"""`bench/run.py [names…]`: measures fliqd against bare yardsticks; prints a table, and writes it as JSON."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import creates
import dispatch
import harness
import idle
import lateness
import report
import schedules
import version
import waiting

MEASURES = {
    "creates": creates.measure,
    "dispatch": dispatch.measure,
    "lateness": lateness.measure,
    "schedules": schedules.measure,
    "waiting": waiting.measure,
    "idle": idle.measure,
    "version": version.measure,
}
DIRECTORY = Path("/var/tmp")  # noqa: S108 -- a disk, where /tmp may be memory; mkdtemp makes what is put there


def main() -> int:
    """Measure what is asked for; return 1 if a measurement failed, whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"what to measure: {', '.join(MEASURES)}; default all")
    parser.add_argument("--rounds", type=int, default=None, help="how often each side is measured; default 5")
    parser.add_argument("--quick", action="store_true", help="everything small, one round: does the bench work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go; default in bench/results")
    parser.add_argument("--dir", type=Path, default=DIRECTORY, help="where the stores go: a real disk")
    given = parser.parse_args()
    names = given.names or list(MEASURES)
    if unknown := [name for name in names if name not in MEASURES]:
        parser.error(f"no such measurement: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    rounds = given.rounds or (1 if given.quick else 5)
    bench = harness.Bench(directory=given.dir, rounds=rounds, quick=given.quick)
    machine = report.facts(given.dir)
    rows, failures = _measure(bench, names)
    machine["load_average_after"] = os.getloadavg()
    print(_heading(machine, rounds), report.table(rows), sep="\n\n")
    for failure in failures:
        print(f"\nfailed: {failure}")
    file = given.json or harness.BENCH / "results" / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    figures = {"machine": machine, "rounds": rounds, "quick": given.quick, "failures": failures}
    file.write_text(json.dumps(figures | {"rows": [row.document() for row in rows]}, indent=1), encoding="utf-8")
    print(f"\n{file}")
    return 1 if failures else 0


def _measure(bench: harness.Bench, names: list[str]) -> tuple[list[report.Row], list[str]]:
    """Measure one after the other; one that fails leaves the others standing."""
    rows: list[report.Row] = []
    failures = []
    for name in names:
        bench.say(name)
        try:
            rows += MEASURES[name](bench)
        except (harness.MeasurementError, OSError) as err:
            failures.append(f"{name}: {err}")
            bench.say(f"failed: {name}: {err}")
    return rows, failures


def _heading(machine: dict[str, object], rounds: int) -> str:
    lines = (
        "fliqd {commit}, durability {durability}, SQLite {sqlite} on {filesystem} (fdatasync {fdatasync_ms} ms)",
        "Python {python}, {cores} cores of {cpu}, Linux {kernel}",
        "Load average {load_average[0]:.1f} before, {load_average_after[0]:.1f} after",
        "Medians of {rounds} interleaved rounds (lowest to highest); met: the aim, the gate, or NO",
    )
    return "\n".join(lines).format(**machine, rounds=rounds)


if __name__ == "__main__":
    sys.exit(main())
