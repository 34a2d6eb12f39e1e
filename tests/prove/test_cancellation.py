"""Clients that hang up, and callers that are cancelled, at every point of a write.

Clients send a write of any kind and hang up within the request, before the answer, within it, or take it whole; what
they were told stays true, a request that broke off has done nothing, and a key sent again gives the same job. Callers
within the daemon are cancelled after any number of turns of the loop. Afterwards no task and no open file is left over,
and every lock is free: each kind of write is done once more.
"""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fliqd.api import app as api
from fliqd.api.app import Services, build
from fliqd.core.drafts import JobDraft
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.errors import FliqdError
from fliqd.service.jobs import Asked
from fliqd.service.schedules import AskedSchedule
from tests.prove.proof import Proof
from tests.support import FakeClock, RunningDaemon, until

NOWHERE = "http://127.0.0.1:9/"
AT_ONCE = 8
FILES = ('[[schedules]]\nname = "a"\nevery = "1h"\nurl = "http://127.0.0.1:9/"\n',
         '[[schedules]]\nname = "b"\nevery = "2h"\nurl = "http://127.0.0.1:9/"\n')  # fmt: skip


class Clients:
    """Clients of one daemon, each with one request, and what they were told."""

    def __init__(self, fliqd: RunningDaemon, proof: Proof) -> None:
        self.fliqd = fliqd
        self.chance = proof.chance
        self.made: list[str] = []  # jobs that somebody was told of, to be changed by others
        self.tokens: list[str] = []
        self.told: dict[str, dict[str, Any]] = {}  # by job: what its last acknowledged change made of it
        self.broken_off: set[str] = set()  # keys of requests that were not sent whole
        self.unanswered: set[str] = set()
        self.ends: Counter[str] = Counter()
        self._keys = iter(range(10**9))

    def _request(self) -> tuple[str, str, Any, str]:
        """Return a write: its method, path and body, and the key by which it may be known again."""
        key = f"key-{next(self._keys)}"
        job = {"url": NOWHERE, "delay": "1d", "idempotency_key": key}
        kinds: list[tuple[str, str, Any]] = [
            ("POST", "/v1/jobs", job),
            ("POST", "/v1/jobs/batch", {"jobs": [job, {"url": NOWHERE, "delay": "1d"}]}),
            ("POST", "/v1/schedules", {"name": key, "every": "1h", "url": NOWHERE}),
            ("POST", "/v1/tokens", {"name": key}),
            ("PUT", f"/v1/queues/q{self.chance.randrange(3)}", {"concurrency": self.chance.randrange(1, 9)}),
            ("POST", "/v1/config/reload", {}),
        ]
        if self.made:
            kinds.append(("PATCH", f"/v1/jobs/{self.chance.choice(self.made)}", {"name": key}))
            kinds.append(("DELETE", f"/v1/jobs/{self.made.pop(self.chance.randrange(len(self.made)))}", None))
        if self.tokens:
            kinds.append(("DELETE", f"/v1/tokens/{self.tokens.pop()}", None))
        return *self.chance.choice(kinds), key

    async def one(self) -> None:
        """Send one request, and hang up at some point."""
        method, path, body, key = self._request()
        host, _, port = self.fliqd.url.removeprefix("http://").partition(":")
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.fliqd.token}\r\n"
        sent = f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
        reader, writer = await asyncio.open_connection(host, int(port))
        end = self.chance.choice(["within the request", "before the answer", "within the answer", "after it"])
        self.ends[end] += 1
        if end == "within the request":
            self.broken_off.add(key)
            writer.write(sent[: self.chance.randrange(len(sent))])
            await self._turns()
        else:
            writer.write(sent)
            self.unanswered.add(key)
            if end == "before the answer":
                await self._turns()
            elif end == "within the answer":
                await reader.read(1)
            else:
                status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
                writer.write_eof()  # it closes when it has sent the rest
                await self._take(method, path, status, await self._body(reader, status), key)
        writer.transport.abort()

    async def _body(self, reader: asyncio.StreamReader, status: int) -> Any:
        if status == 204:
            return None
        raw = b""
        while True:  # the answer is JSON: it is whole when it reads as such
            raw += await reader.read(65536)
            try:
                return json.loads(raw)
            except ValueError:
                continue

    async def _turns(self) -> None:
        for _ in range(self.chance.choice([0, 1, 2, 3, 5, 8, 13])):
            await asyncio.sleep(0)

    async def _take(self, method: str, path: str, status: int, body: Any, key: str) -> None:
        """Remember what was acknowledged."""
        self.unanswered.discard(key)
        if status // 100 != 2:
            assert status in (404, 409), body  # what it was about is gone, or has ended
            return
        jobs = [body] if path == "/v1/jobs" else []
        if path == "/v1/jobs/batch":
            jobs = [result["job"] for result in body["results"]]
        for job in jobs:
            self.made.append(job["id"])
            self.told.setdefault(job["id"], {})
        if path == "/v1/tokens":
            self.tokens.append(body["id"])
        if path.startswith("/v1/jobs/job_"):
            changed = {"status": "cancelled"} if method == "DELETE" else {}
            self.told.setdefault(path.rpartition("/")[2], {}).update(changed)


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    """The configuration file, to be exchanged while it is read."""
    file = tmp_path / "fliqd.toml"
    file.write_text(FILES[0])
    return file


def things() -> tuple[int, int]:
    """Return how many tasks and open files there are."""
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- the count alone


async def left_over(before: tuple[int, int]) -> bool | None:
    now = things()
    return (now[0] <= before[0] and now[1] <= before[1]) or None


async def each_kind_once(fliqd: RunningDaemon) -> None:
    """See that nothing keeps a lock."""
    job = await fliqd.create(url=NOWHERE, delay="1d")
    for method, path, body in (
        ("PATCH", f"/v1/jobs/{job['id']}", {"name": "x"}),
        ("DELETE", f"/v1/jobs/{job['id']}", None),
        ("POST", "/v1/jobs/batch", {"jobs": [{"url": NOWHERE, "delay": "1d"}]}),
        ("POST", "/v1/config/reload", {}),
        ("POST", "/v1/tokens", {"name": "last"}),
        ("POST", "/v1/signing-secret/rotate", {"overlap": "1h"}),
        ("PUT", "/v1/queues/q1", {"concurrency": 3}),
        ("GET", "/v1/jobs", None),
        ("GET", "/v1/stats/jobs", None),
    ):
        answer = await asyncio.wait_for(fliqd(method, path, body), 10)
        assert answer.status // 100 == 2, (method, path, answer.body)


async def test_clients_that_hang_up_lose_no_acknowledgement(
    proof: Proof, two_files: Path, fliqd: RunningDaemon
) -> None:
    await each_kind_once(fliqd)
    await asyncio.sleep(0)
    before = things()
    clients = Clients(fliqd, proof)
    for number in range(proof.times(short=60, long=4_000)):
        two_files.write_text(FILES[number % 2])
        await asyncio.gather(*(clients.one() for _ in range(AT_ONCE)))
    await until(lambda: left_over(before), "the end of every task and the closing of every file")
    for job_id, told in clients.told.items():
        job = await fliqd.job(job_id)
        assert job.items() >= told.items()
    for key in clients.broken_off:
        again = await fliqd("POST", "/v1/jobs", {"url": NOWHERE, "delay": "1d", "idempotency_key": key})
        assert again.status == 201, "half a request has made a job"
    for key in sorted(clients.unanswered):
        twice = [
            await fliqd("POST", "/v1/jobs", {"url": NOWHERE, "delay": "1d", "idempotency_key": key}) for _ in range(2)
        ]
        assert twice[1].status == 200
        assert twice[0].body["id"] == twice[1].body["id"]
    await each_kind_once(fliqd)
    ends = {name.replace(" ", "_"): count for name, count in sorted(clients.ends.items())}
    proof.saw(**ends, acknowledged_jobs=len(clients.told), tasks_left=0, files_left=0)


async def test_callers_that_are_cancelled_lose_no_acknowledgement(
    proof: Proof, two_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Services] = []

    def keep(services: Services, *more: Any, **settings: Any) -> Any:
        built.append(services)
        return build(services, *more, **settings)

    monkeypatch.setattr(api, "build", keep)
    fliqd = RunningDaemon(tmp_path / "state", FakeClock(), {})
    await fliqd.start()
    await each_kind_once(fliqd)
    callers = Callers(built[0], proof)
    before = things()
    for number in range(proof.times(short=100, long=6_000)):
        two_files.write_text(FILES[number % 2])
        await callers.some(AT_ONCE)
    await until(lambda: left_over(before), "the end of every task and the closing of every file")
    await callers.check()
    await each_kind_once(fliqd)
    await fliqd.stop()
    await fliqd.start()  # what was in memory is gone
    callers.services = built[1]
    await callers.check()
    await fliqd.stop()
    await fliqd.close()
    proof.saw(calls=callers.calls, cancelled=callers.cancelled, acknowledged=len(callers.told), tasks_left=0)


class Callers:
    """Callers of the services, cancelled at some point, and what came back to those that were not."""

    def __init__(self, services: Services, proof: Proof) -> None:
        self.services = services
        self.chance = proof.chance
        self.told: dict[str, str | None] = {}  # by job: its status, as far as somebody knows
        self.tokens: set[str] = set()
        self.revoked: set[str] = set()
        self.schedules: set[str] = set()
        self.calls = self.cancelled = 0

    async def some(self, count: int) -> None:
        tasks = [asyncio.create_task(self._one()) for _ in range(count)]
        for task in self.chance.sample(tasks, count * 3 // 4):
            for _ in range(self.chance.choice([0, 0, 1, 1, 2, 3, 5, 8])):
                await asyncio.sleep(0 if self.chance.random() < 0.9 else 0.001)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self.calls += count
        self.cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, FliqdError):
                raise result

    async def _one(self) -> None:
        services, some = self.services, self.chance.random()
        asked = Asked(JobDraft(url=NOWHERE, delay="1d"))
        if some < 0.3:
            made = await services.jobs.create(asked)
            self.told[made.job.id] = None
        elif some < 0.45:
            for one in await services.jobs.create_many([asked, asked]):
                assert not isinstance(one, FliqdError)
                self.told[one.job.id] = None
        elif some < 0.6 and self.told:
            job_id = self.chance.choice(list(self.told))
            await services.jobs.update(job_id, Asked(JobDraft(name="changed")))
        elif some < 0.7 and self.told:
            job_id = self.chance.choice(list(self.told))
            await services.jobs.cancel(job_id)
            self.told[job_id] = "cancelled"
        elif some < 0.8:
            schedule = await services.schedules.create(AskedSchedule(ScheduleDraft(url=NOWHERE, every="1h")))
            self.schedules.add(schedule.id)
        elif some < 0.85:
            await services.reloading.reload()
        elif some < 0.9:
            await services.signing.rotate(3_600_000)
        else:
            await self._token()

    async def _token(self) -> None:
        assert self.services.tokens is not None
        if not self.tokens or self.chance.random() < 0.5:
            _, text = await self.services.tokens.create("some", ("read",))
            self.tokens.add(text)
        else:
            text = self.tokens.pop()
            self.revoked.add(text)  # from here on it is refused or not; told of it, it is refused
            try:
                await self.services.tokens.revoke(self.services.tokens.who(text).id)
            except asyncio.CancelledError:
                self.revoked.discard(text)
                raise

    async def check(self) -> None:
        """See that whatever came back to a caller is so."""
        for job_id, status in self.told.items():
            job = await self.services.jobs.get(job_id)
            assert status in (None, job.status)
        for schedule_id in self.schedules:
            await self.services.schedules.get(schedule_id)
        assert self.services.tokens is not None
        for text in self.tokens:
            self.services.tokens.who(text)
        for text in self.revoked:
            with pytest.raises(FliqdError):
                self.services.tokens.who(text)
