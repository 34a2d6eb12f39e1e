"""`python -m peers [names…]`, in bench/: installs the peers, measures all in turns; prints tables, writes JSON."""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import harness
import report

from peers import measure, quiet, tables
from peers.bullmq import BullMQ, BullMQAlways
from peers.crontab import Crontab
from peers.install import NODE, PYTHON, Kit, install
from peers.libraries import APScheduler, Huey
from peers.measure import Figures
from peers.ours import Fliqd
from peers.procrastinate import Procrastinate, ProcrastinateQuick
from peers.system import System

SYSTEMS: dict[str, type[System]] = {
    "fliqd": Fliqd,
    "bullmq": BullMQ,
    "bullmq-always": BullMQAlways,
    "procrastinate": Procrastinate,
    "procrastinate-quick": ProcrastinateQuick,
    "huey": Huey,
    "apscheduler": APScheduler,
    "cron": Crontab,
}
DIRECTORY = Path("/var/tmp")  # noqa: S108 -- a disk, where /tmp may be memory; what is put there is checked
FAILURES = (harness.MeasurementError, OSError, NotImplementedError)


def main() -> int:
    """Measure what is asked for and can be had; return 1 if a measurement failed, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(SYSTEMS)}; default all")
    parser.add_argument("--apt", action="store_true", help="let apt-get install redis-server, cron and curl; as root")
    parser.add_argument("--rounds", type=int, default=None, help="how often each is measured; default 3")
    parser.add_argument("--quick", action="store_true", help="everything small, one round: does the bench work?")
    parser.add_argument(
        "--wait", type=float, default=0, metavar="S", help="wait so long for a quiet machine, each time"
    )
    parser.add_argument("--dir", type=Path, default=DIRECTORY, help="where the stores go: a real disk")
    parser.add_argument(
        "--env", type=Path, default=DIRECTORY / f"fliqd-bench-peers-{os.getuid()}", help="their packages"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go; default in bench/results")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in SYSTEMS]:
        parser.error(f"no such system: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    rounds = given.rounds or (1 if given.quick else 3)
    bench = harness.Bench(directory=given.dir, rounds=rounds, quick=given.quick)
    bench.say(f"packages into {given.env}")
    kit = install(given.env, apt=given.apt)
    machine = report.facts(given.dir) | {"peers": [*PYTHON, *NODE, _redis(kit)]}
    systems = {name: _figures(SYSTEMS[name], kit) for name in given.names or SYSTEMS}
    found = list(systems.values())
    try:
        _measure(bench, kit, systems, given.wait)
    except KeyboardInterrupt:
        bench.say("stopped; what there is")
    document = {"machine": machine, "rounds": rounds, "quick": given.quick, "systems": list(map(asdict, found))}
    print(tables.page(machine, rounds, found))
    file = given.json or harness.BENCH / "results" / f"peers-{time.strftime('%Y%m%dT%H%M%S')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    print(f"\n{file}")
    return 1 if any(system.failed for system in found) else 0


def _measure(bench: harness.Bench, kit: Kit, found: dict[str, Figures], wait_s: float) -> None:
    """Measure one after the other, never two at once; the rounds of all are interleaved."""
    plan = measure.QUICK if bench.quick else measure.FULL
    for name, figures in found.items():
        if figures.skipped:
            bench.say(f"skipped: {name}: {figures.skipped}")
    for number in range(bench.rounds):
        for name, figures in found.items():
            if figures.complete:
                busy = quiet.wait(wait_s)
                bench.say(f"round {number + 1}: {name}, others use {busy:.0%} of the machine")
                figures.add(busy=busy * 100)
                _try(bench, kit, name, figures, plan)
    for name, figures in found.items():
        if figures.complete and not SYSTEMS[name].only_waits:
            _try(bench, kit, name, figures, None)


def _figures(system: type[System], kit: Kit) -> Figures:
    return Figures(
        system.name,
        client=system.client,
        kill_9=system.kill_9,
        power_cut=system.power_cut,
        in_process=system.in_process,
        skipped=kit.why_not(*system.needs),
    )


def _try(bench: harness.Bench, kit: Kit, name: str, figures: Figures, plan: measure.Plan | None) -> None:
    """Measure a round, or without a plan a crash; one that fails leaves the others standing."""
    with bench.state() as state:
        system = SYSTEMS[name](kit, state)
        try:
            if plan is None:
                measure.crash(bench, system, figures)
            else:
                measure.run(bench, system, plan, figures)
        except FAILURES as err:
            figures.failed = str(err)
            bench.say(f"failed: {name}: {err}")


def _redis(kit: Kit) -> str:
    path = kit.commands.get("redis-server")
    return f"redis {report.output(path, '--version').split()[2].removeprefix('v=')}" if path else "no redis"


if __name__ == "__main__":
    sys.exit(main())
