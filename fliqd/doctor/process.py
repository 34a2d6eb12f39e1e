"""The daemon's process: what it may open, and what it may not do."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fliqd.doctor.finding import Finding, Subject, note, ok, warning, wrong

PROC: Final = Path("/proc")
SPARE_FILES: Final = 64 + 32  # the store, logs and listeners; and the fewest clients that are let in


def process(subject: Subject) -> Iterator[Finding]:
    yield _files(subject)
    if subject.pid is not None:
        yield from hardening(PROC / str(subject.pid))


def _files(subject: Subject) -> Finding:
    """Judge the limit that counts: the daemon raises its soft one to the hard one."""
    needed = 2 * subject.config.settings.dispatch.max_in_flight + SPARE_FILES
    limit = _limit(subject.pid)
    if limit < needed:
        return wrong(
            "open files",
            f"at most {limit} files may be open, and dispatch.max_in_flight asks for {needed}",
            "set LimitNOFILE= in the unit (or `ulimit -Hn`) higher, or dispatch.max_in_flight lower",
        )
    return ok("open files", f"at most {limit}, of which {needed} are needed")


def _limit(pid: int | None) -> int:
    try:
        limits = (PROC / str(pid) / "limits").read_text(encoding="ascii")
    except OSError:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    found = re.search(r"^Max open files\s+\S+\s+(\d+)", limits, re.MULTILINE)
    return int(found[1]) if found else resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def hardening(proc: Path) -> Iterator[Finding]:
    """Look at what a running daemon is kept from, as the kernel sees it."""
    try:
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
        groups = (proc / "cgroup").read_text()
    except OSError:
        yield note("hardening", "the daemon's process cannot be looked at from here")
        return
    unit = re.search(r"([^/\n]+\.service)", groups)
    where = unit[1] if unit and os.getpid() != int(proc.name) else "the daemon"
    lacks = []
    if status.get("Uid", "").split()[:1] == ["0"]:
        lacks.append("runs as root")
    elif int(status.get("CapEff", "0"), 16):
        lacks.append("has capabilities")
    if status.get("NoNewPrivs") == "0":
        lacks.append("may gain privileges")
    if status.get("Seccomp") == "0":
        lacks.append("may make every system call")
    if lacks:
        do = "use the unit that comes with fliqd, or take its hardening over"
        if unit:
            do += f"; see `systemd-analyze security {unit[1]}`"
        yield warning("hardening", f"{where} {', '.join(lacks)}", do)
    else:
        yield ok("hardening", f"{where} has no privileges, can gain none, and makes few system calls")
