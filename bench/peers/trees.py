"""What whole process trees cost: a worker with its threads, a database with the processes it forks."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import figures

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over all processes of the trees."""

    cpu_s: float
    switches: int
    written: int
    memory: int  # proportional: what processes share is counted once
    processes: int


def members(roots: Iterable[int]) -> list[int]:
    """Return the processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            children.setdefault(int(_fields(stat)[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    rest = list(roots)
    while rest:
        pid = rest.pop()
        found.append(pid)
        rest += children.get(pid, [])
    return found


def cpu_s(roots: Iterable[int]) -> float:
    """Return the seconds of CPU of the trees, of what has ended in them too."""
    total = 0.0
    for pid in members(roots):
        with suppress(OSError):
            total += figures.cpu_s(pid) + _reaped_s(pid)
    return total


def usage(roots: Iterable[int]) -> Usage:
    """Return all the sums."""
    roots = list(roots)
    pids = members(roots)
    return Usage(
        cpu_s=cpu_s(roots),
        switches=sum(figures.switches(pid) for pid in pids),
        written=sum(figures.written(pid) for pid in pids),
        memory=sum(figures.memory(pid).pss for pid in pids),
        processes=len(pids),
    )


def kill(roots: Iterable[int]) -> None:
    """End all of them as a crash does, at once and without a word."""
    for pid in members(roots):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _fields(stat: Path) -> list[str]:
    """Return the fields of a stat file from the state on, which is after a name that may hold anything."""
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _reaped_s(pid: int) -> float:
    """Return the seconds of a process's children that have ended, which no clock of its own counts."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return (int(fields[13]) + int(fields[14])) / TICKS_PER_S
