"""The tables of the comparison, in Markdown."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from peers.measure import Figures

Cell = Callable[[Figures], str]


def page(machine: dict[str, Any], rounds: int, found: Sequence[Figures]) -> str:
    """Return everything: what it holds for, the figures, the crash, and who was left out."""
    measured = [system for system in found if system.values]
    counts = sorted({int(key.removeprefix("rate_")) for system in measured for key in system.values if "rate_" in key})
    left_out = [f"{system.name}: {system.skipped or system.failed}" for system in found if not system.complete]
    return "\n\n".join([
        _head(machine, rounds, measured),
        _table(measured, _work(counts)),
        _table(measured, WAITING),
        _table([system for system in measured if system.crash], CRASH),
        *left_out,
    ])  # fmt: skip


def figure(value: float) -> str:
    """Write a number with two or three digits that mean something."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == round(value) else f"{value:.1f}" if size >= 1 else f"{value:.2f}"


def _head(machine: dict[str, Any], rounds: int, measured: Sequence[Figures]) -> str:
    busy = [share for system in measured for share in system.values["busy"]] or [0.0]
    return (
        "{time:.10}, commit {commit}: {cores} cores of {cpu}, Linux {kernel}, Python {python}, {filesystem} (fdatasync "
        "{fdatasync_ms} ms), {least:.0f} to {most:.0f} % of it busy with other work when a round began; "
        "medians of {rounds} rounds, lowest to highest in brackets.\nVersions: {versions}."
    ).format(**machine, rounds=rounds, versions=", ".join(machine["peers"]), least=min(busy), most=max(busy))


def _work(counts: Sequence[int]) -> dict[str, Cell]:
    columns: dict[str, Cell] = {"enqueues/s": _spread("enqueue_rate"), "CPU each, server + client": _enqueue_cpu}
    for count in counts:
        columns[f"{count:,} due at once, jobs/s"] = _spread(f"rate_{count}")
        columns["CPU each" + " " * len(columns)] = _spread(f"cpu_us_{count}", " µs")
    return columns


def _spread(key: str, unit: str = "") -> Cell:
    """Return what writes the median of the rounds, and the least and the most of them."""

    def cell(system: Figures) -> str:
        values = system.values.get(key)
        if not values:
            return ""
        spread = f" ({figure(min(values))} to {figure(max(values))})" if len(values) > 1 else ""
        return f"{figure(median(values))}{unit}{spread}"

    return cell


def _middle(key: str) -> Cell:
    def cell(system: Figures) -> str:
        values = system.values.get(key)
        return figure(median(values)) if values else ""

    return cell


def _enqueue_cpu(system: Figures) -> str:
    both = [_middle(key)(system) for key in ("enqueue_cpu_us", "enqueue_client_cpu_us")]
    if not all(both):
        return ""
    return f"{both[0]} µs, client in it" if system.in_process else f"{both[0]} + {both[1]} µs"


def _seen(system: Figures) -> str:
    crash = system.crash
    took = f"; the last came {crash['seconds']:.0f} s after the start" if crash["lost"] == 0 else ""
    return f"{crash['lost']:.0f} of {crash['jobs']:.0f} lost, {crash['under_way']:.0f} were under way{took}"


WAITING: dict[str, Cell] = {
    "late, p50": _spread("late_p50", " ms"),
    "p99": _spread("late_p99", " ms"),
    "idle: wake-ups/s": _spread("wakeups"),
    "CPU": _middle("idle_cpu"),
    "written": _middle("idle_written"),
    "memory": _middle("memory_mb"),
    "processes": _middle("processes"),
}
CRASH: dict[str, Cell] = {
    "enqueued by": lambda system: system.client,
    "`kill -9` keeps": lambda system: system.kill_9,
    "seen": _seen,
    "a power cut keeps": lambda system: system.power_cut,
}


def _table(found: Sequence[Figures], columns: dict[str, Cell]) -> str:
    lines = [["", *(title.strip() for title in columns)], ["---"] * (len(columns) + 1)]
    rows = [[system.name, *(cell(system) for cell in columns.values())] for system in found]
    lines += [row for row in rows if any(row[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
