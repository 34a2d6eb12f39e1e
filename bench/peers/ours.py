"""fliqd with its defaults, over its REST API."""

import json
from contextlib import ExitStack

import jobs
from harness import MeasurementError, Server, fliqd, result, start

from peers.system import Enqueued, System


class Fliqd(System):
    """One process, one SQLite file."""

    name = "fliqd"
    client = "its REST API, keep-alive connections"
    kill_9 = "all that was acknowledged; what was under way is sent again at the next start"
    power_cut = "the same: `synchronous=FULL` before the 201"

    _stack: ExitStack
    _daemon: Server | None = None

    @property
    def daemon(self) -> Server:
        if self._daemon is None:
            raise MeasurementError("fliqd is not running")
        return self._daemon

    @property
    def roots(self) -> list[int]:
        return [self.daemon.pid]

    def start(self) -> None:
        self._stack = ExitStack()
        self._daemon = self._stack.enter_context(fliqd(self.state))

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon = None
            self._stack.close()

    def kill(self) -> None:
        self.daemon.process.kill()
        self.stop()

    def leave(self) -> None:
        """Do nothing: its clients come and go with what they ask."""

    def come_back(self) -> None:
        """Do nothing, as in `leave`."""

    def enqueue(self, clients: int, seconds: float, url: str, due_ms: int) -> Enqueued:
        request = jobs.request(self.daemon, "/v1/jobs", json.dumps(jobs.document(url, due_ms)).encode())
        times = ("--seconds", seconds, "--warm-up", 0)
        load = start(
            "load.py", self.daemon.port, "--clients", clients, *times, "--watch", self.daemon.pid, stdin=request
        )
        took = result(load)
        return Enqueued(took["answers"], took["seconds"], took["generator_load"] * took["seconds"])

    def fill(self, url: str, name: str, count: int, due_ms: int, step_ms: int) -> list[str]:
        documents = (jobs.document(url, due_ms + number * step_ms, name) for number in range(count))
        return [job["id"] for job in jobs.create(self.daemon, documents)]

    def done(self, total: int) -> bool:  # noqa: ARG002 -- its status says whether anything is left
        status = self.daemon.ask("GET", "/v1/status")
        return bool(status["in_flight"] == 0 and status["backlog"] == 0)
