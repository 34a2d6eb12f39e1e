"""What tests run against: the whole daemon on a free port, a real HTTP target, and a clock they move."""

import asyncio
import heapq
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy

from fliqd import config as configuration
from fliqd.config import Config
from fliqd.core.times import parse_time
from fliqd.daemon import Daemon

T = TypeVar("T")
PATIENCE_S = 30.0  # how long a test waits for what must happen; long, since it only ends tests that fail


async def until(ask: Callable[[], Awaitable[T | None]], what: str, patience_s: float = PATIENCE_S) -> T:
    """Ask until there is an answer."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        answer = await ask()
        if answer is not None:
            return answer
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what} did not happen within {patience_s} s")


class FakeAlarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def ring(self) -> None:
        if self.callback is not None:
            self.callback()


class FakeClock:
    """Wall time that stands still until it is moved; durations are measured for real."""

    def __init__(self, start: str = "2027-03-01T12:00:00Z") -> None:
        self._now_ms = parse_time(start)
        self._alarms: list[tuple[int, int, FakeAlarm]] = []
        self._order = count()
        self._listeners: list[Callable[[int], None]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return time.monotonic()

    def call_at(self, due_ms: int, callback: Callable[[], None]) -> FakeAlarm:
        alarm = FakeAlarm(callback)
        heapq.heappush(self._alarms, (due_ms, next(self._order), alarm))
        self._ring()
        return alarm

    def on_step(self, listener: Callable[[int], None]) -> None:
        self._listeners.append(listener)

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self._now_ms += round(by.total_seconds() * 1000)
        self._ring()

    def step(self, by: timedelta) -> None:
        """Set the clock: what was long ago seems near, or the other way round."""
        self.advance(by)
        for listener in self._listeners:
            listener(round(by.total_seconds() * 1000))

    def _ring(self) -> None:
        while self._alarms and self._alarms[0][0] <= self._now_ms:
            alarm = heapq.heappop(self._alarms)[2]
            asyncio.get_running_loop().call_soon(alarm.ring)


@dataclass
class Hit:
    """One request as the target saw it."""

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Target:
    """A real HTTP server that notes what it gets and answers as told, 200 unless told."""

    hits: list[Hit] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.hits.append(Hit(request.method, request.raw_path, request.headers, body))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, int):
            return web.Response(status=answer, text="hello")
        if isinstance(answer, web.Response):
            return answer
        response: web.StreamResponse = await answer(request)
        return response

    def hold(self, requests: int = 1) -> asyncio.Event:
        """Answer the next requests only once the event is set."""
        released = asyncio.Event()

        async def answer_then(_request: web.Request) -> web.Response:
            await released.wait()
            return web.Response()

        self.answers += [answer_then] * requests
        return released

    async def received(self, number: int) -> list[Hit]:
        """Wait for that many requests; return them all."""

        async def enough() -> list[Hit] | None:
            return self.hits if len(self.hits) >= number else None

        return await until(enough, f"request {number} at the target")


@asynccontextmanager
async def serve_target(target: Target | None = None) -> AsyncIterator[Target]:
    target = target or Target()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", target.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield target
    finally:
        await runner.cleanup()


@dataclass
class Answer:
    """An answer of the API."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])


class Api:
    """A client of the API as a user writes one."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        await self._session.close()

    async def speak_over(self, connector: aiohttp.BaseConnector) -> None:
        """Reach it by another way than TCP from here."""
        await self._session.close()
        self._session = aiohttp.ClientSession(connector=connector)

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        sent = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        if data is not None:
            sent["Content-Type"] = "application/json"
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        async with self._session.request(
            method, self.url + path, data=data and BytesIO(data), headers=sent | (headers or {})
        ) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, json.loads(raw) if is_json else raw)

    async def create(self, **job: Any) -> dict[str, Any]:
        """Create a job that must be accepted."""
        answer = await self("POST", "/v1/jobs", job)
        assert answer.status == 201, answer.body
        created: dict[str, Any] = answer.body
        return created

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self("GET", f"/v1/jobs/{job_id}")
        assert answer.status == 200, answer.body
        job: dict[str, Any] = answer.body
        return job

    async def executions(self, job_id: str) -> list[dict[str, Any]]:
        answer = await self("GET", f"/v1/jobs/{job_id}/executions")
        assert answer.status == 200, answer.body
        executions: list[dict[str, Any]] = answer.body["executions"]
        return executions

    async def until(self, job_id: str, *statuses: str, executions: int | None = None) -> dict[str, Any]:
        """Wait for a job to come to one of these states, after so many attempts."""

        async def there() -> dict[str, Any] | None:
            job = await self.job(job_id)
            right = job["status"] in statuses and executions in (None, job["executions"])
            return job if right else None

        return await until(there, f"{job_id} in {statuses}")


class RunningDaemon(Api):
    """The whole daemon in this process: only its time is fake."""

    def __init__(self, state_dir: Path, clock: Any, env: dict[str, str]) -> None:
        super().__init__("", None)
        self.state_dir = state_dir
        self.clock = clock
        self._env = {"FLIQD_SERVER__LISTEN": "127.0.0.1:0", "STATE_DIRECTORY": str(state_dir)} | env
        self.daemon: Daemon | None = None

    @property
    def config(self) -> Config:
        """What it starts with: the file `fliqd.toml` beside its state, where a test has written one."""
        file = self.state_dir.with_name("fliqd.toml")
        return configuration.load(str(file) if file.exists() else None, self._env)

    async def start(self) -> None:
        self.daemon = await Daemon.start(self.config, self.clock)
        self.url = self.daemon.urls[0]
        self.token = (self.state_dir / "admin.token").read_text().strip()

    async def stop(self) -> None:
        if self.daemon is not None:
            await self.daemon.stop()
            self.daemon = None


class FliqdProcess(Api):
    """The real program, to be killed."""

    def __init__(self, state_dir: Path, env: dict[str, str] | None = None, *, within: tuple[str, ...] = ()) -> None:
        """Run it `within` a command that takes another to run, if there is one."""
        super().__init__("", None)
        self.state_dir = state_dir
        self._within = within
        self.env = os.environ | {"FLIQD_SERVER__LISTEN": "127.0.0.1:0", "STATE_DIRECTORY": str(state_dir)} | (env or {})
        self.program = ["-m", "fliqd"]  # a test may have another one start it
        self.process: asyncio.subprocess.Process | None = None
        self.log: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def launch(self, *args: str) -> Self:
        """Start it, without waiting for anything."""
        self._ready.clear()
        self.process = await asyncio.create_subprocess_exec(
            *self._within,
            *(sys.executable, *self.program, "serve", *args),
            env=self.env,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def start(self) -> Self:
        """Start it, and wait until it is ready."""
        await self.launch()
        assert await self.is_ready(), self.said
        return self

    async def is_ready(self) -> bool:
        """Wait until it is ready, or has ended."""
        ready = asyncio.create_task(self._ready.wait())
        assert self._reader is not None
        done, _ = await asyncio.wait((ready, self._reader), timeout=PATIENCE_S * 6, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        assert done, self.said
        return ready in done

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode())
            if line.startswith(b"{"):
                event = json.loads(line)
                self.log.append(event)
                if event["event"] == "daemon.ready":
                    self.url = event["listen"][0]
                    self.token = (self.state_dir / "admin.token").read_text().strip()
                    self._ready.set()

    async def kill(self, with_signal: int = signal.SIGKILL) -> int:
        """End it; return its exit code once it and all it said are there."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(with_signal)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        assert self._reader is not None
        code = await asyncio.wait_for(self.process.wait(), PATIENCE_S * 3)
        await self._reader
        return code


@asynccontextmanager
async def process(state_dir: Path, **env: str) -> AsyncIterator[FliqdProcess]:
    fliqd = FliqdProcess(state_dir, env)
    try:
        yield fliqd
    finally:
        if fliqd.process is not None:
            await fliqd.kill()
        await fliqd.close()


def delivery_ids(hits: Iterable[Hit]) -> list[str]:
    return [hit.headers["X-Fliq-Delivery-Id"] for hit in hits]


JOB_ID = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")
