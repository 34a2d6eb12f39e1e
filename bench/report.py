"""What a measurement says: rows, their table, and the facts about the machine that they hold for."""

import importlib.metadata
import importlib.util
import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import harness

LIBRARIES = ("aiohttp", "aiosqlite", "msgspec", "uvloop", "httptools", "structlog", "click")
HEADINGS = ("bar", "fliqd", "bare", "measured", "gate", "aim", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One bar: a figure, what it was made from, and what it should be.

    `measured` is the median of `rounds`, in `unit`; `gate` and `aim` are None where DESIGN sets none.
    """

    bar: str
    fliqd: str
    bare: str = ""
    rounds: list[float]
    unit: str = ""
    gate: float | None = None
    aim: float | None = None
    at_least: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> float:
        return statistics.median(self.rounds)

    @property
    def met(self) -> str:
        for name, bound in (("aim", self.aim), ("gate", self.gate)):
            if bound is not None and (self.measured >= bound if self.at_least else self.measured <= bound):
                return name
        return "" if self.gate is None else "NO"

    def cells(self) -> tuple[str, ...]:
        spread = f" ({_figure(min(self.rounds))} to {_figure(max(self.rounds))})" if len(self.rounds) > 1 else ""
        sign = "≥" if self.at_least else "≤"
        bounds = ["" if bound is None else f"{sign} {_figure(bound)}{self.unit}" for bound in (self.gate, self.aim)]
        return (self.bar, self.fliqd, self.bare, f"{_figure(self.measured)}{self.unit}{spread}", *bounds, self.met)

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"measured": self.measured, "met": self.met}


def ratios(ours: Iterable[float], theirs: Iterable[float], scale: float = 1.0) -> list[float]:
    """Return the ratio of each round, whose two halves were measured one after the other."""
    return [scale * our / their for our, their in zip(ours, theirs, strict=True)]


def middle(values: Sequence[float], unit: str, scale: float = 1.0) -> str:
    """Return the median of what was measured, to be shown beside a ratio."""
    return f"{_figure(statistics.median(values) * scale)}{unit}"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as an aligned table."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def facts(directory: Path) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": output("git", "-C", str(_home()), "describe", "--always", "--dirty", "--abbrev=12"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "pinned": False,
        "load_average": os.getloadavg(),
        "kernel": platform.release(),
        "filesystem": output("stat", "-f", "-c", "%T", str(directory)),
        "directory": str(directory),
        "fdatasync_ms": round(_fdatasync_ms(directory), 3),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "durability": "full (WAL, synchronous=FULL)",
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
    }


def _figure(value: float) -> str:
    """Write a number with three digits that mean something."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == 0 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _home() -> Path:
    """Return where the fliqd that is measured comes from."""
    spec = importlib.util.find_spec("fliqd")
    return Path(spec.origin if spec and spec.origin else __file__).parent


def output(*command: str) -> str:
    """Return what a command prints, in one line."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=harness.BENCH).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fdatasync_ms(directory: Path) -> float:
    """Return what one small durable write costs here: the floor under every commit."""
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(50):
            os.write(file.fileno(), b"x" * 4096)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return statistics.median(took) * 1000
