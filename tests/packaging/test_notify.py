"""The service manager is told the truth, on a real datagram socket."""

import os
import signal
import sys
from pathlib import Path

import pytest

from fliqd.notify import Notifier, status_line
from tests.support import Target, process

from .manager import manager


async def test_a_life(tmp_path: Path, target: Target) -> None:
    """Ready once it works, alive, ready again after a reload, and stopping within a time that it names."""
    with manager(tmp_path) as told:
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify.sock"), "WATCHDOG_USEC": "150000"}
        async with process(tmp_path / "state", **env) as fliqd:
            await fliqd.start()
            await told.hears("READY=1")
            assert told.look()[:2] == ["READY=1", "STATUS=no job waits, 0 in flight"]
            assert (await fliqd("GET", "/readyz")).status == 200
            await told.hears("WATCHDOG=1", 3)
            await fliqd.create(url=target.url, delay="1h")
            assert await told.hears("STATUS=next job in") == "STATUS=next job in 59 min, 0 in flight"
            assert fliqd.process is not None
            fliqd.process.send_signal(signal.SIGHUP)
            await told.hears("RELOADING=1")
            assert (await told.hears("MONOTONIC_USEC=")).partition("=")[2].isdecimal()
            await told.hears("READY=1", 2)
            assert await fliqd.kill(signal.SIGTERM) == 0
            assert await told.hears("STOPPING=1")
            assert await told.hears("EXTEND_TIMEOUT_USEC=") == "EXTEND_TIMEOUT_USEC=35000000"


async def test_what_cannot_start_is_never_ready(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "fliqd.db").write_bytes(b"not a database" * 1000)
    with manager(tmp_path) as told:
        async with process(state, NOTIFY_SOCKET=str(tmp_path / "notify.sock")) as fliqd:
            await fliqd.launch()
            assert await fliqd.ended() == 65
        assert told.look() == []


async def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path, target: Target) -> None:
    async with process(tmp_path / "state", NOTIFY_SOCKET=str(tmp_path / "nobody"), WATCHDOG_USEC="150000") as fliqd:
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0)
        await fliqd.until(job["id"], "success")
        assert await fliqd.kill(signal.SIGTERM) == 0
    assert any(event["event"] == "notify.failed" and event["what"] == "READY=1" for event in fliqd.log)


def test_a_name_in_the_abstract_namespace(tmp_path: Path) -> None:
    name = f"fliqd-test-{os.getpid()}"
    with manager(Path("\0")) as told:  # "\0/notify.sock" is such a name too
        Notifier({"NOTIFY_SOCKET": "@/notify.sock"}).ready(name)
        assert told.look() == ["READY=1", f"STATUS={name}"]


@pytest.mark.parametrize(
    ("env", "frozen", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, False, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, False, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}, False, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}, True, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "x"}, True, None),
        ({"WATCHDOG_USEC": "soon"}, False, None),
        ({}, False, None),
    ],
)
def test_whose_watchdog(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], *, frozen: bool, expected: float | None
) -> None:
    if frozen:
        monkeypatch.setattr(sys, "_MEIPASS", "/tmp/_MEI1", raising=False)  # noqa: S108 -- never looked at
    assert Notifier(env).watchdog_s == expected


@pytest.mark.parametrize(
    ("next_due_ms", "line"),
    [
        (None, "no job waits, 3 in flight"),
        (99_000, "next job now, 3 in flight"),
        (100_999, "next job now, 3 in flight"),
        (112_000, "next job in 12 s, 3 in flight"),
        (100_000 + 90 * 60_000, "next job in 1 h, 3 in flight"),
        (100_000 + 90 * 86_400_000, "next job in 90 d, 3 in flight"),
    ],
)
def test_the_status_line(next_due_ms: int | None, line: str) -> None:
    assert status_line(next_due_ms=next_due_ms, now_ms=100_000, in_flight=3, problem=None) == line


def test_a_problem_is_one_line() -> None:
    line = status_line(next_due_ms=None, now_ms=0, in_flight=0, problem="the disk\nis full")
    assert line == "failing: the disk is full"
