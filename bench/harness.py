"""Starts the processes of a measurement, talks to them, and sees that they end."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import figures

BENCH = Path(__file__).resolve().parent
START_S = 120.0
STOP_S = 60.0


class MeasurementError(Exception):
    """The measurement itself failed; whatever it would have said is not known."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every row is given: where to keep stores, how often to measure, and whether to hurry."""

    directory: Path
    rounds: int
    quick: bool

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    @contextmanager
    def state(self) -> Iterator[Path]:
        """Make a state directory for one daemon, removed afterwards."""
        path = Path(tempfile.mkdtemp(prefix="fliqd-bench-", dir=self.directory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(slots=True)
class Server:
    """A process that listens on loopback and answers JSON."""

    process: subprocess.Popen[str]
    url: str
    token: str = ""
    ready_s: float = 0.0  # from the start of the process to its first 200 of /readyz
    last_lines: list[str] = field(default_factory=list)
    _connection: http.client.HTTPConnection | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def loop(self) -> str:
        return "uvloop" if figures.on_uvloop(self.pid) else "asyncio"

    def headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Send a request over a kept connection; return the JSON of its answer; raise unless that is a 2xx."""
        if self._connection is None:
            self._connection = self.connect()
        try:
            return exchange(self._connection, method, path, body, self.headers())
        except (http.client.HTTPException, OSError) as err:
            self._connection.close()
            self._connection = None
            raise MeasurementError(f"{method} {self.url}{path}: {err!r}; its last lines: {self.last_lines}") from err

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> Any:
    """Send a request; return the JSON of its answer."""
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    if answer.status // 100 != 2:
        raise MeasurementError(f"{method} {path} was answered {answer.status}: {content[:500]!r}")
    return json.loads(content) if content else None


@contextmanager
def fliqd(state: Path, **settings: object) -> Iterator[Server]:
    """Run the daemon on a state directory; settings are named as in the environment: `store__durability="full"`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLIQD_", "XDG_"))}
    env |= {"STATE_DIRECTORY": str(state), "HOME": str(state), "FLIQD_LOG__FORMAT": "json"}
    env |= {"FLIQD_SERVER__LISTEN": "127.0.0.1:0"}
    env |= {f"FLIQD_{name.upper()}": str(value) for name, value in settings.items()}

    def ready(line: str) -> str | None:
        event = json.loads(line) if line.startswith("{") else {}
        return str(event["listen"][0]) if event.get("event") == "daemon.ready" else None

    started = time.perf_counter()
    with _running([sys.executable, "-m", "fliqd", "serve"], env=env, cwd=state, ready=ready) as server:
        server.token = (state / "admin.token").read_text(encoding="ascii").strip()
        server.ask("GET", "/readyz")
        server.ready_s = time.perf_counter() - started
        yield server


@contextmanager
def program(name: str, *arguments: object) -> Iterator[Server]:
    """Run a server of the bench; its first line is `{"url": …}`."""
    command = [sys.executable, str(BENCH / name), *map(str, arguments)]
    with _running(command, env=os.environ, cwd=BENCH, ready=lambda line: str(json.loads(line)["url"])) as server:
        yield server


def start(name: str, *arguments: object, stdin: bytes = b"") -> subprocess.Popen[bytes]:
    """Start a program of the bench that measures by itself and prints its result as JSON."""
    command = [sys.executable, str(BENCH / name), *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=BENCH)
    if process.stdin is None:
        raise MeasurementError(f"{name} has no stdin")
    process.stdin.write(stdin)
    process.stdin.close()
    process.stdin = None
    return process


def result(process: subprocess.Popen[bytes], timeout_s: float = 300.0) -> dict[str, Any]:
    """Wait for a started program; return what it printed."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as err:
        raise MeasurementError(f"{process.args!r} did not end in {timeout_s:g} s") from err
    finally:
        _end(process, signal.SIGKILL)
    if process.returncode:
        raise MeasurementError(f"{process.args!r} failed with {process.returncode}")
    return dict(json.loads(output))


def wait_until(what: str, condition: Callable[[], bool], *, every_s: float, timeout_s: float) -> None:
    """Ask until the condition holds; raise MeasurementError when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise MeasurementError(f"{what}: not within {timeout_s:g} s")
        time.sleep(every_s)


def sleep_until(wall_s: float) -> None:
    """Sleep until the wall clock shows `wall_s` seconds since the epoch."""
    time.sleep(max(0.0, wall_s - time.time()))


@contextmanager
def _running(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, ready: Callable[[str], str | None]
) -> Iterator[Server]:
    """Run a server until the block ends; `ready` finds its URL in a line that it wrote."""
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        if process.stdout is None:
            raise MeasurementError("no output to read")
        server = Server(process, "")
        watchdog = threading.Timer(START_S, process.kill)
        watchdog.start()
        for line in process.stdout:
            server.last_lines = [*server.last_lines[-9:], line.rstrip()]
            url = ready(line)
            if url is not None:
                server.url = url
                break
        watchdog.cancel()
        if not server.url:
            raise MeasurementError(f"{' '.join(command)} did not start: {server.last_lines}")
        threading.Thread(target=_drain, args=(process.stdout, server), daemon=True).start()
        yield server
    finally:
        _end(process, signal.SIGTERM)


def _drain(stream: IO[str], server: Server) -> None:
    """Keep reading what a server says, so that it never blocks on saying it."""
    for line in stream:
        server.last_lines = [*server.last_lines[-9:], line.rstrip()]


def _end(process: subprocess.Popen[Any], first: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(first)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
