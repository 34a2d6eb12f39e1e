"""What a system is to the bench: processes that can be started and killed, and a client that gives it jobs."""

import json
import os
import shutil
import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from harness import BENCH, MeasurementError, wait_until

from peers import trees
from peers.install import Kit

PROGRAMS = BENCH / "hosts"
ANSWER_S = 600.0
STOP_S = 20.0
NOBODY = "nobody"  # whom a database runs as that refuses to run as root


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What clients did in the time they were given."""

    count: int
    seconds: float
    cpu_s: float  # the clients' own


class System(ABC):
    """One of those that are compared, on a state directory that outlives its processes."""

    name: ClassVar[str]
    needs: ClassVar[Sequence[str]] = ()
    client: ClassVar[str]  # what enqueues
    kill_9: ClassVar[str]  # what is kept, by its own documents
    power_cut: ClassVar[str]
    settle_s: ClassVar[float] = 3.0  # until it is as idle as it gets
    most: ClassVar[int] = 10_000  # jobs at one instant
    to_the_minute: ClassVar[bool] = False
    in_process: ClassVar[bool] = False  # the client is one of what must run
    only_waits: ClassVar[bool] = False  # differs from another in how it waits, and in nothing else

    def __init__(self, kit: Kit, state: Path) -> None:
        self.kit = kit
        self.state = state

    @abstractmethod
    def start(self) -> None:
        """Start all that must run, and the client; the state may be that of an earlier start."""

    @abstractmethod
    def stop(self) -> None:
        """End everything."""

    @property
    @abstractmethod
    def roots(self) -> list[int]:
        """The processes that must run, without those they fork and without the client."""

    @abstractmethod
    def enqueue(self, clients: int, seconds: float, url: str, due_ms: int) -> Enqueued:
        """Have clients create jobs one by one, each after the other is acknowledged."""

    @abstractmethod
    def fill(self, url: str, name: str, count: int, due_ms: int, step_ms: int) -> list[str]:
        """Create jobs by the quickest way there is; return their delivery ids, in the order of their times."""

    @abstractmethod
    def done(self, total: int) -> bool:
        """Tell whether `total` jobs have been recorded as done; asked once the sink has had them all."""

    @abstractmethod
    def kill(self) -> None:
        """End everything by SIGKILL."""

    @abstractmethod
    def leave(self) -> None:
        """End the client and its connections, so that what must run is alone."""

    @abstractmethod
    def come_back(self) -> None:
        """Start the client again."""


class Program:
    """A process that obeys a line at a time."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.command = list(map(str, command))
        self._log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | (env or {}),
            )
        self._read()  # that it is ready

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Send a command; return its answer."""
        if self.process.stdin is None:
            raise MeasurementError("no input to write")
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        if self.process.stdout is None:
            raise MeasurementError("no output to read")
        watchdog = threading.Timer(ANSWER_S, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line:
            complaint = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise MeasurementError(f"{' '.join(self.command)} ended: {complaint}")
        return dict(json.loads(line))


@dataclass(slots=True)
class Processes:
    """The processes of one system, in the order they were started."""

    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    def end(self, first: signal.Signals, last: int | None = None) -> None:
        """End them, or that many of them, the last first; kill what takes too long."""
        for _ in range(len(self.started) if last is None else last):
            process = self.started.pop()
            if process.poll() is None:
                process.send_signal(first)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                trees.kill([process.pid])
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def kill(self) -> None:
        """End them and all they forked as a crash does."""
        trees.kill([process.pid for process in self.started])
        self.end(signal.SIGKILL)


class Peer(System):
    """A system whose parts are programs of the bench, and perhaps a database."""

    def __init__(self, kit: Kit, state: Path) -> None:
        super().__init__(kit, state)
        self._processes = Processes()
        self._roots: list[int] = []
        self._client: Program | None = None
        self._again: tuple[Sequence[str | Path], Mapping[str, str] | None] = ((), None)

    @property
    def roots(self) -> list[int]:
        return self._roots

    @property
    def driver(self) -> Program:
        if self._client is None:
            raise MeasurementError(f"{self.name} is not running")
        return self._client

    def start(self) -> None:
        try:
            self.launch()
        except BaseException:
            self.kill()
            raise

    @abstractmethod
    def launch(self) -> None:
        """Start the parts with `part` and `server`, the client with `connect`."""

    def stop(self) -> None:
        self._processes.end(signal.SIGTERM)
        self._roots, self._client = [], None

    def kill(self) -> None:
        self._processes.kill()
        self._roots, self._client = [], None

    def part(self, *command: str | Path, env: Mapping[str, str] | None = None) -> Program:
        """Start a program that must run."""
        program = Program(command, self.state / "log", env)
        self._processes.started.append(program.process)
        self._roots.append(program.pid)
        return program

    def server(self, *command: str | Path, user: str | None = None, grace: float = 60.0, ready: Sequence[str]) -> None:
        """Start a database; it is ready once the command `ready` says so."""
        with (self.state / "log").open("ab") as log:
            process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, cwd="/"
            )
        self._processes.started.append(process)
        self._roots.append(process.pid)
        wait_until(f"{command[0]} answers", lambda: self.run(*ready) == 0, every_s=0.05, timeout_s=grace)

    def connect(self, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Start the client, which is not counted."""
        self._client = Program(command, self.state / "log", env)
        self._processes.started.append(self._client.process)
        self._again = (command, env)

    def leave(self) -> None:
        if self._client is not None and self._client.pid not in self._roots:
            self._processes.end(signal.SIGTERM, last=1)
            self._client = None

    def come_back(self) -> None:
        if self._client is None and self._again[0]:
            self.connect(*self._again[0], env=self._again[1])

    def run(self, *command: str | Path, user: str | None = None) -> int:
        """Run a command to its end; return its exit code."""
        with (self.state / "log").open("ab") as log:
            code = subprocess.run(
                list(map(str, command)), check=False, stdout=log, stderr=log, user=user, cwd="/", timeout=120
            )
        return code.returncode

    def enqueue(self, clients: int, seconds: float, url: str, due_ms: int) -> Enqueued:
        return Enqueued(**self.driver.ask("enqueue", clients=clients, seconds=seconds, url=url, due_ms=due_ms))

    def fill(self, url: str, name: str, count: int, due_ms: int, step_ms: int) -> list[str]:
        self.driver.ask("fill", url=url, name=name, count=count, due_ms=due_ms, step_ms=step_ms)
        return [f"{name}-{number}" for number in range(count)]

    def done(self, total: int) -> bool:
        return int(self.driver.ask("recorded")["count"]) >= total


def owned(path: Path, user: str) -> Path:
    """Make a directory that belongs to `user`, when we are root."""
    path.mkdir(exist_ok=True)
    if os.getuid() == 0:
        shutil.chown(path, user)
    return path
