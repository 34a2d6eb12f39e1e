"""What the service manager is told, in the protocol of sd_notify(3): ready, alive, reloading, stopping."""

import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Final

import structlog

log = structlog.get_logger()

SEND_S: Final = 1.0  # a manager whose queue is full holds us up no longer than this
_STEPS: Final = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000))


class Notifier:
    """Tells a service manager how the daemon is; where there is none, says nothing.

    `watchdog_s` is how long that manager waits for a `beat` before it ends the process, None if it does not.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # @: the abstract namespace
        watched = env.get("WATCHDOG_USEC", "").isdecimal() and is_meant(env.get("WATCHDOG_PID"))
        self.watchdog_s = int(env["WATCHDOG_USEC"]) / 1e6 if watched else None
        self._status: str | None = None  # None: it has not been ready yet

    def ready(self, status: str) -> None:
        """Say that the daemon works, for the first time or again after a reload."""
        self._status = status
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it, whatever came of it."""
        # The time lets the manager of Type=notify-reload tell this from a reload that it has not asked for yet.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, within_s: float) -> None:
        """Say that the daemon ends by itself, and how long that may take."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(within_s * 1e6)}", "STATUS=finishing what is under way")

    def beat(self, status: str) -> None:
        """Prove life, which makes it ready the first time. The status goes along when it has changed."""
        if self._status is None:
            self.ready(status)
        lines = ["WATCHDOG=1"] if self.watchdog_s is not None else []
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if lines:
            self._send(*lines)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(SEND_S)
                sock.connect(self._address)
                sock.sendall("\n".join(lines).encode("utf-8", "replace"))
        except OSError as err:
            # Whoever asked for this will act as if we were dead: its log should find the reason in ours.
            log.warning("notify.failed", what=lines[0], error=str(err))


def is_meant(pid: str | None) -> bool:
    """Whether what the service manager left in the environment is for this process; None: for whoever reads it.

    A frozen program in one file is two processes: the manager knows the first, which unpacks, and we are its child.
    """
    ours = {os.getpid()} | ({os.getppid()} if hasattr(sys, "_MEIPASS") else set())
    return not pid or (pid.isdecimal() and int(pid) in ours)


def status_line(*, next_due_ms: int | None, now_ms: int, in_flight: int, problem: str | None) -> str:
    """Say in one line how it goes: `next job in 12 s, 3 in flight`; the largest unit alone, since it is stale soon."""
    if problem is not None:
        return f"failing: {' '.join(problem.split())}"
    return f"{_next_job(next_due_ms, now_ms)}, {in_flight} in flight"


def _next_job(due_ms: int | None, now_ms: int) -> str:
    if due_ms is None:
        return "no job waits"
    wait_ms = due_ms - now_ms
    unit, size = next((step for step in _STEPS if wait_ms >= step[1]), _STEPS[-1])
    return f"next job in {wait_ms // size} {unit}" if wait_ms >= size else "next job now"
