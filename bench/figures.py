"""What the kernel knows about a process: CPU time, memory, wake-ups, bytes written."""

import time
from dataclasses import dataclass
from pathlib import Path

KIB = 1024


def cpu_s(pid: int) -> float:
    """Return the user and system seconds of a process and all its threads, ended ones too.

    The process's CPU clock counts nanoseconds, /proc/<pid>/stat only ticks of 10 ms. The number of
    another's clock is made as in clock_getcpuclockid(3): the pid's complement over CPUCLOCK_SCHED.
    """
    return time.clock_gettime(~pid << 3 | 2)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process keeps in memory, in bytes; `own` is what ends with it."""

    rss: int
    pss: int
    own: int


def memory(pid: int) -> Memory:
    """Read the sums over all mappings."""
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, value, *_ = line.split()
        kib[name] = int(value)
    own = kib["Private_Clean:"] + kib["Private_Dirty:"]
    return Memory(rss=kib["Rss:"] * KIB, pss=kib["Pss:"] * KIB, own=own * KIB)


def switches(pid: int) -> int:
    """Return how often the threads of a process went to sleep, which is how often they were woken."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                count += int(line.split()[1])
    return count


def written(pid: int) -> int:
    """Return the bytes that a process has caused to be sent to a disk."""
    for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise LookupError(f"/proc/{pid}/io has no write_bytes")


def on_uvloop(pid: int) -> bool:
    """Return whether a process has loaded uvloop."""
    return "uvloop" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
