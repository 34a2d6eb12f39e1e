"""The load of the soak: everything a daemon is asked to do, at once and steadily, and how it bears it."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from fliqd.core.times import format_time
from tests.prove.soak_target import Connection, Ledger
from tests.support import FliqdProcess

TURN_S: Final = 0.25  # between two batches
EVERY_S: Final = 2.0  # between two runs of a schedule
SCHEDULES: Final = 20
ITEMS: Final = 5  # a second, of a buffer
OUTSTANDING: Final = 2000  # jobs that wait while the capacity is measured: more than a claim takes
SAMPLES: Final = 240  # of a whole soak, at most one a second


@dataclass(frozen=True)
class Sample:
    """How the daemon stood at one moment. Sizes in bytes; lateness in ms, of the requests since the sample before."""

    at_s: float
    memory: int
    files: int
    threads: int
    wal: int
    db: int
    late_p50: float
    late_p99: float
    timer_p99: float  # how late a plain timer of the load's own process was meanwhile: what the machine adds
    arrived: int
    live: int  # acknowledged jobs that had not arrived


@dataclass
class Soak:
    """A soak under way: the daemon, its target, and what has been seen."""

    fliqd: FliqdProcess
    url: str
    ledger: Ledger
    chance: random.Random
    samples: list[Sample] = field(default_factory=list)
    timer_late_ms: list[float] = field(default_factory=list)
    reads: int = 0
    cut_off: int = 0
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    jobs: Iterator[int] = field(default_factory=itertools.count)

    @property
    def pid(self) -> int:
        assert self.fliqd.process is not None
        return self.fliqd.process.pid

    async def create(self, count: int, *, within_s: float) -> None:
        """Create jobs that come due within so many seconds; every tenth is told of, every fiftieth fails once."""
        now_ms = time.time() * 1000
        documents = []
        for number in itertools.islice(self.jobs, count):
            at_ms = round(now_ms + self.chance.uniform(0.3, 1) * within_s * 1000)
            job: dict[str, Any] = {"url": f"{self.url}/ok", "scheduled_at": format_time(at_ms), "json": {"n": number}}
            if number % 10 == 0:
                job |= {"webhook_url": f"{self.url}/told", "idempotency_key": f"soak-{number}"}
            if number % 50 == 1:
                job |= {"url": f"{self.url}/flaky", "max_retries": 1, "backoff": {"kind": "fixed", "initial": 1}}
            documents.append(job)
        await self._whole(self._create(documents))

    async def _create(self, documents: list[dict[str, Any]]) -> None:
        answer = await self.fliqd("POST", "/v1/jobs/batch", {"jobs": documents})
        assert answer.status == 200, answer.body
        for result in answer.body["results"]:
            assert result["status"] == 201, result
            self.ledger.acknowledge(result["job"]["id"])

    async def create_steadily(self, rate: float) -> None:
        """Create `rate` jobs a second, for ever."""
        began, made = time.monotonic(), 0
        while True:
            owed = int((time.monotonic() - began) * rate) - made
            if owed > 0:
                await self.create(min(owed, 1000), within_s=4.0)
                made += min(owed, 1000)
            await asyncio.sleep(TURN_S)

    async def push_items(self) -> None:
        """Push items into a buffer, for ever."""
        answer = await self.fliqd("POST", "/v1/buffers", {"name": "soak", "url": f"{self.url}/item", "rate_limit": 50})
        assert answer.status == 201, answer.body
        while True:
            for number in itertools.islice(self.jobs, ITEMS):
                await self._whole(self._push(f"/v1/buffers/{answer.body['id']}/items", number))
            await asyncio.sleep(1.0)

    async def _push(self, path: str, number: int) -> None:
        pushed = await self.fliqd("POST", path, {"json": number})
        assert pushed.status == 201, pushed.body
        self.ledger.acknowledge(pushed.body["id"])

    async def read(self) -> None:
        """Read what an operator's tools read, for ever; every fourth reader hangs up before the answer."""
        paths = ("/v1/jobs?limit=100", "/v1/stats/jobs?days=1", "/metrics", "/v1/status", "/v1/jobs?status=failed")
        for path in itertools.cycle(paths):
            await self.fliqd("GET", path)
            self.reads += 1
            if self.reads % 4 == 0:
                await self._hang_up()
            await asyncio.sleep(0.5)

    async def _hang_up(self) -> None:
        host, _, port = self.fliqd.url.removeprefix("http://").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /v1/jobs?limit=100 HTTP/1.1\r\nHost: {host}\r\n".encode())
        writer.write(f"Authorization: Bearer {self.fliqd.token}\r\n\r\n".encode())
        await asyncio.sleep(self.chance.choice((0, 0.001, 0.01)))
        writer.transport.abort()
        self.cut_off += 1

    async def listen(self) -> None:
        """Listen to events, for ever."""
        headers = {"Authorization": f"Bearer {self.fliqd.token}"}
        async with aiohttp.ClientSession(headers=headers, read_bufsize=2**20) as http:
            while True:  # one that falls behind is dropped, and comes back
                async with http.get(f"{self.fliqd.url}/v1/events", timeout=aiohttp.ClientTimeout()) as stream:
                    async for _ in stream.content.iter_any():
                        pass

    async def tick(self) -> None:
        """Be a plain timer beside it: 50 times a second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.02
            rung = asyncio.Event()
            loop.call_at(due, rung.set)
            await rung.wait()
            self.timer_late_ms.append((loop.time() - due) * 1000)

    async def sample(self, every_s: float) -> None:
        """Look how the daemon stands, for ever."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(every_s)
            late = sorted(self.ledger.take_late_ms()) or [0.0]
            ticks, self.timer_late_ms = sorted(self.timer_late_ms) or [0.0], []
            kept = _kept(self.pid)
            store = self.fliqd.state_dir / "fliqd.db"
            self.samples.append(
                Sample(
                    at_s=round(time.monotonic() - began, 1),
                    memory=kept["RssAnon:"] * 1024,
                    files=len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
                    threads=kept["Threads:"],
                    wal=store.with_name("fliqd.db-wal").stat().st_size,
                    db=store.stat().st_size,
                    late_p50=round(late[len(late) // 2], 2),
                    late_p99=round(late[len(late) * 99 // 100], 2),
                    timer_p99=round(ticks[len(ticks) * 99 // 100], 2),
                    arrived=self.ledger.arrived + self.ledger.scheduled,
                    live=len(self.ledger.owed),
                )
            )

    async def capacity(self, seconds: float) -> float:
        """Return how many jobs a second it bears when jobs are created as others arrive, read and deleted beside it.

        Counted over the second half, when what is kept has its size.
        """
        counts: list[tuple[float, int]] = []

        async def watch() -> None:
            for _ in range(2):
                await asyncio.sleep(seconds / 2)
                counts.append((time.monotonic(), self.ledger.arrived))

        await self._beside(watch(), self.create_closely(), self.read(), self.listen())
        (began, before), (ended, after) = counts
        return (after - before) / (ended - began)

    async def create_closely(self) -> None:
        """Create jobs that are due at once, as many as have arrived, for ever."""
        while True:
            while len(self.ledger.owed) < OUTSTANDING:
                await self.create(500, within_s=0.0)
            await asyncio.sleep(0.01)

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that is done to its end even where the caller is cancelled: what was asked for stays known."""
        task = asyncio.create_task(work)
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        await asyncio.shield(task)

    async def _beside(self, until_over: Coroutine[Any, Any, None], *works: Coroutine[Any, Any, None]) -> None:
        """Let works that never end go on until the first is over; raise what ends one of them."""
        tasks = [asyncio.create_task(work) for work in (until_over, *works)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await asyncio.gather(*self.under_way)
        for task in done:
            task.result()

    async def run(self, seconds: float, rate: float) -> list[dict[str, Any]]:
        """Load it at so many jobs a second; return the schedules that ran meanwhile, paused now."""
        schedules = [await self._schedule(number) for number in range(SCHEDULES)]
        works = (self.create_steadily(rate), self.push_items(), self.read(), self.listen(), self.tick())
        await self._beside(asyncio.sleep(seconds), *works, self.sample(max(1.0, seconds / SAMPLES)))
        for schedule in schedules:
            paused = await self.fliqd("POST", f"/v1/schedules/{schedule['id']}/pause")
            assert paused.status == 200, paused.body
        return schedules

    async def _schedule(self, number: int) -> dict[str, Any]:
        asked = {"name": f"soak-{number}", "every": EVERY_S, "url": f"{self.url}/ok", "overlap": "allow"}
        answer = await self.fliqd("POST", "/v1/schedules", asked)
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.body
        return made

    def document(self, rate: float) -> dict[str, Any]:
        """Return what was seen, for the plot."""
        return {"rate": rate, "samples": [asdict(sample) for sample in self.samples]}


@asynccontextmanager
async def target() -> AsyncIterator[tuple[str, Ledger]]:
    """Serve the target; yield its URL and its ledger."""
    ledger = Ledger()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(ledger), "127.0.0.1", 0, backlog=1024)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ledger
    finally:
        server.close()


def _kept(pid: int) -> dict[str, int]:
    """Return the KiB of memory of its own that a process has, and how many threads."""
    lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return {line[0]: int(line[1]) for line in lines if line[0] in ("RssAnon:", "Threads:")}
