"""A client that uses all of the API while things break, and what must be true of all that it was told."""

import asyncio
import functools
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from fliqd.core.times import parse_time
from tests.support import Answer, FliqdProcess, Hit, Target, delivery_ids, process, serve_target, until

FINAL: Final = {"success", "failed", "cancelled"}
SOON: Final = {"kind": "fixed", "initial": 0.05}
PATIENCE_S: Final = 90.0  # for what several daemons do at once, beside whatever else the machine does
EVENTS: Final = ["started", "retrying", "completed", "failed", "cancelled"]


class NotingTarget(Target):
    """Says of each request when it came."""

    came: Callable[[web.Request], None] = staticmethod(lambda _request: None)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.came(request)
        return await super().handle(request)


class FickleTarget(NotingTarget):
    """Answers as the path says: /ok, /flaky (500 the first time it sees a job), /never (489)."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        first = request.headers["X-Fliq-Delivery-Id"] not in delivery_ids(self.hits)
        answer = await super().handle(request)
        if request.path == "/never":
            return web.Response(status=489)
        return web.Response(status=500) if request.path == "/flaky" and first else answer


@asynccontextmanager
async def a_client(state: Path, **env: str) -> AsyncIterator["Client"]:
    """Yield a client of a daemon that is not started yet, with a target and a receiver of webhooks."""
    target, receiver = FickleTarget(), NotingTarget()
    async with process(state, **env) as fliqd, serve_target(target), serve_target(receiver):
        yield Client(fliqd, target, receiver)


class Client:
    """Asks until it has an answer, whatever becomes of the daemon meanwhile, and keeps the ledger of what it was told.

    When the daemon is gone, `on_end` judges how it went, and it is started again.
    """

    def __init__(self, fliqd: FliqdProcess, target: NotingTarget, receiver: NotingTarget) -> None:
        self.fliqd = fliqd
        self.target = target
        self.receiver = receiver
        self.on_end: Callable[[int], None] = self._must_not_end
        self.ends: list[int] = []  # exit codes
        self.refused: list[Answer] = []  # what was answered with a 503
        self.on_refused: Callable[[Answer], None] = lambda _answer: None
        self.told: dict[str, str] = {}  # the status in which each acknowledged job must end
        self.listening: dict[str, list[str]] = {}  # the webhook events that a job asked for
        self.items: dict[str, list[str]] = defaultdict(list)  # of each buffer, in order
        self.schedules: list[str] = []
        self.tokens: list[str] = []
        self.doubts = 0  # requests whose answer was lost, and which may have been done twice
        self.acknowledged = 0
        self.facts: list[tuple[int, str, str]] = []  # what was acknowledged, with `now` at that moment
        self.now: Callable[[], int] = lambda: 0
        target.came = functools.partial(self._came, "attempt")
        receiver.came = functools.partial(self._came, "webhook")

    def _must_not_end(self, code: int) -> None:
        raise AssertionError(f"it ended with {code}: {self.fliqd.said[-5:]}")

    async def revive(self) -> None:
        """Judge how the daemon ended, and start it again, until it stays."""
        while True:
            self.ends.append(await self.fliqd.ended())
            self.on_end(self.ends[-1])
            await self.fliqd.launch()
            if await self.fliqd.is_ready():
                return

    async def start(self) -> None:
        """Start the daemon, again if need be."""
        await self.fliqd.launch()
        if not await self.fliqd.is_ready():
            await self.revive()

    @property
    def host(self) -> str:
        return self.target.url.removesuffix("/hook")

    async def ask(self, method: str, path: str, body: Any = None, *, doubtful: bool = False) -> Answer:
        """Ask until there is an answer that is no 503."""
        while True:
            try:
                answer = await self.fliqd(method, path, body)
            except (aiohttp.ClientError, OSError):
                self.doubts += doubtful
                await self.revive()
                continue
            if answer.status != 503:
                assert answer.status < 500, answer.body
                self.acknowledged += 1
                return answer
            assert int(answer.headers["Retry-After"]) > 0
            self.refused.append(answer)
            self.on_refused(answer)
            await asyncio.sleep(0.02)

    async def create(self, key: str, ends: str = "success", **job: Any) -> str:
        asked = {"url": f"{self.host}/ok", "delay": 0, "idempotency_key": key} | job
        answer = await self.ask("POST", "/v1/jobs", asked)
        assert answer.status in (200, 201), answer.body
        return self._note(answer.body["id"], ends, asked)

    def _came(self, what: str, request: web.Request) -> None:
        headers = request.headers
        self.know(what, f"{headers['X-Fliq-Delivery-Id']} {headers['X-Fliq-Attempt']}")

    def know(self, what: str, which: str) -> None:
        """Note a fact that no crash from now on may undo."""
        self.facts.append((self.now(), what, which))

    def _note(self, job_id: str, ends: str, asked: dict[str, Any]) -> str:
        self.told[job_id] = ends
        self.know("job", job_id)
        if "webhook_url" in asked:
            self.listening[job_id] = asked.get("webhook_events", ["completed", "failed", "cancelled"])
        return job_id

    async def named(self, kind: str, name: str, **fields: Any) -> str:
        """Make something that has a name; find it where the answer to that was lost."""
        answer = await self.ask("POST", f"/v1/{kind}", {"name": name} | fields)
        if answer.status == 409:
            assert answer.code == "name_taken"
            answer = await self.ask("GET", f"/v1/{kind}?name={name}")
            made = answer.body[kind][0]
        else:
            assert answer.status == 201, answer.body
            made = answer.body
        self.know(kind, made["id"])
        return str(made["id"])

    # What it does

    async def use_all(self, name: str) -> None:
        """Make one of each, change some, cancel some; nothing waits for anything to be delivered."""
        schedule = await self.named(
            "schedules", f"every-{name}", url=f"{self.host}/ok", every="1s", max_runs=1, misfire="all"
        )
        self.schedules.append(schedule)
        await self._jobs(name)
        await self._items(name)
        answer = await self.ask("POST", f"/v1/schedules/{schedule}/run", doubtful=True)
        assert answer.status == 201, answer.body
        self._note(answer.body["id"], "success", {})
        answer = await self.ask("POST", "/v1/tokens", {"name": name, "scopes": ["read"]}, doubtful=True)
        self.tokens.append(answer.body["token"])
        self.know("token", answer.body["id"])
        answer = await self.ask("POST", "/v1/signing-secret/rotate", {"overlap": "1h"}, doubtful=True)
        self.know("secret", answer.body["secret"])

    async def _jobs(self, name: str) -> None:
        hook = {"webhook_url": self.receiver.url}
        jobs = [
            {"url": f"{self.host}/ok", "delay": 0, "idempotency_key": f"{name} batch {number}", **hook}
            for number in range(4)
        ]
        for job, result in zip(
            jobs, (await self.ask("POST", "/v1/jobs/batch", {"jobs": jobs})).body["results"], strict=True
        ):
            assert result["status"] in (200, 201), result
            self._note(result["job"]["id"], "success", job)
        await self.create(
            f"{name} flaky", url=f"{self.host}/flaky", max_retries=2, backoff=SOON, webhook_events=EVENTS, **hook
        )
        hopeless = await self.create(
            f"{name} never", "failed", url=f"{self.host}/never", max_retries=3, backoff=SOON, **hook
        )
        await self.create(f"{name} later", "scheduled", delay="1h", tags=["later", name])
        cancelled = await self.create(f"{name} cancelled", "cancelled", delay="1h", **hook)
        assert (await self.ask("DELETE", f"/v1/jobs/{cancelled}")).status in (204, 409)
        self.know("cancelled", cancelled)
        pulled = await self.create(f"{name} now", delay="1h")
        changed = await self.ask(
            "PATCH", f"/v1/jobs/{pulled}", {"url": f"{self.host}/flaky", "max_retries": 1, "backoff": SOON}
        )
        assert changed.status == 200, changed.body
        self.know("changed", pulled)
        assert (await self.ask("POST", f"/v1/jobs/{pulled}/run")).status in (200, 409)
        queue = f"q-{name}"
        await self.ask("PUT", f"/v1/queues/{queue}", {"paused": True, "concurrency": 1})
        await self.create(f"{name} queued", queue=queue)
        await self.ask("POST", f"/v1/queues/{queue}/resume")
        await self.fliqd_until(hopeless, "failed")
        replay = await self.ask("POST", f"/v1/jobs/{hopeless}/replay", doubtful=True)
        self._note(replay.body["id"], "failed", hook)

    async def _items(self, name: str) -> None:
        buffer = await self.named("buffers", f"buf-{name}", url=f"{self.host}/ok", rate_limit=1000)
        bodies = [f"{name} {number}" for number in range(6)]
        items = [{"body": body, "idempotency_key": body} for body in bodies]
        results = (await self.ask("POST", f"/v1/buffers/{buffer}/items", {"items": items[:4]})).body["results"]
        assert {result["status"] for result in results} <= {200, 201}
        made = [result["item"] for result in results]
        made += [(await self.ask("POST", f"/v1/buffers/{buffer}/items", item)).body for item in items[4:]]
        for item in made:
            self.know("job", item["id"])
            self.items[buffer].append(item["id"])

    async def fliqd_until(self, job_id: str, status: str) -> None:
        async def there() -> bool | None:
            return (await self.ask("GET", f"/v1/jobs/{job_id}")).body["status"] == status or None

        await until(there, f"{job_id} {status}", PATIENCE_S)

    # What must be true

    async def check(self) -> int:
        """Wait until all is done, and hold both ledgers against each other; return how many requests came again."""
        while True:
            try:
                await until(self._is_all_done, "the end of everything", PATIENCE_S)
                return await self._compare()
            except (aiohttp.ClientError, OSError):
                await self.revive()  # what it was to die of came only now

    async def _compare(self) -> int:
        hits: dict[str, list[Hit]] = defaultdict(list)
        for hit in self.target.hits:
            hits[hit.headers["X-Fliq-Delivery-Id"]].append(hit)
        repeats = 0
        for job_id, status in self.told.items():
            job = await self.fliqd.job(job_id)
            assert job["status"] == status, f"{job_id} was to be {status}: {job}"
            repeats += await self._check_attempts(job, f"/v1/jobs/{job_id}", hits[job_id])
        for job_id in set(hits) - set(self.told):
            if job_id.startswith("job_"):
                await self._check_attempts(await self.fliqd.job(job_id), f"/v1/jobs/{job_id}", hits[job_id])
        for buffer, items in self.items.items():
            for item in items:
                shown = (await self.fliqd("GET", f"/v1/buffers/{buffer}/items/{item}")).body
                assert shown["status"] == "completed", shown
                repeats += await self._check_attempts(shown, f"/v1/buffers/{buffer}/items/{item}", hits[item])
            order = [hit for hit in delivery_ids(self.target.hits) if hit in items]
            assert [item for nth, item in enumerate(order) if item not in order[:nth]] == items, (
                "the order was not kept"
            )
            assert order == sorted(order, key=items.index), "an item came after one behind it"
        for schedule in self.schedules:
            await self._check_schedule(schedule)
        self._check_webhooks()
        for token in self.tokens:
            authorized = await self.fliqd("GET", "/v1/jobs?limit=1", headers={"Authorization": f"Bearer {token}"})
            assert authorized.status == 200, authorized.body
        known = set(self.told) | set(await self._jobs_of_schedules())
        unknown = {job["id"] for job in await self.everything("/v1/jobs", "jobs")} - known
        assert len(unknown) <= self.doubts, f"jobs that nobody asked for: {unknown}"
        return repeats

    async def _check_attempts(self, job: dict[str, Any], path: str, hits: list[Hit]) -> int:
        """Check one job's attempts against what its target saw; return how many requests a crash repeated."""
        history = (await self.fliqd("GET", f"{path}/executions")).body["executions"][::-1]
        assert [one["attempt_num"] for one in history] == list(range(1, len(history) + 1))
        states = [one["status"] for one in history]
        assert "running" not in states or job["status"] == "running"
        attempts = [int(hit.headers["X-Fliq-Attempt"]) for hit in hits]
        assert len(set(attempts)) == len(attempts), f"one attempt of {job['id']} was sent twice: {attempts}"
        assert set(attempts) <= set(range(1, len(history) + 1)), (
            f"a request that is in no history: {attempts}, {history}"
        )
        assert set(attempts) >= {one["attempt_num"] for one in history if one["status_code"] is not None}
        if job["status"] in ("success", "completed"):
            assert states[-1] == "success", history
            assert "success" not in states[:-1], "it was sent again after its success"
        if job["status"] in ("cancelled", "scheduled"):
            assert not hits
        return sum(states[attempt - 1] == "interrupted" for attempt in attempts)

    async def _check_schedule(self, schedule: str) -> None:
        """Its one due time has a job or is missed; and no other job has a due time."""
        shown = (await self.fliqd("GET", f"/v1/schedules/{schedule}")).body
        assert shown["status"] == "ended", shown
        jobs = await self.everything(f"/v1/schedules/{schedule}/jobs", "jobs")
        first_ms = parse_time(shown["created_at"]) + 1000
        slots = [job for job in jobs if parse_time(job["scheduled_at"]) == first_ms]
        if len(slots) > 1:  # one that was run by hand in the very millisecond is due when it was made
            slots = [job for job in slots if job["created_at"] != job["scheduled_at"]]
        missed = (await self.fliqd("GET", f"/v1/schedules/{schedule}/missed")).body["missed"]
        assert len(slots) + sum(one["count"] for one in missed) == 1, (shown, jobs, missed)
        assert {job["status"] for job in jobs} == {"success"}

    def _check_webhooks(self) -> None:
        seen: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)  # by job and delivery, as they first came
        again: Counter[str] = Counter()
        for hit in self.receiver.hits:
            event = json.loads(hit.body)
            seen[event["job_id"]].setdefault(hit.headers["webhook-id"], event)
            again[hit.headers["webhook-id"]] += 1
        assert all(times <= 1 + len(self.ends) for times in again.values()), again
        for job_id, wanted in self.listening.items():
            events = [event["event"].removeprefix("job.") for event in seen[job_id].values()]
            end = {"success": "completed"}.get(self.told[job_id], self.told[job_id])
            assert events[-1:] == [end], f"{job_id} told {events}, and not that it has {end}"
            assert events.count(end) == 1, f"{job_id} ended more than once: {events}"
            assert set(events) <= set(wanted)
            numbers = [event["attempt_num"] for event in seen[job_id].values()]
            assert numbers == sorted(numbers), f"{job_id} told of its attempts in the order {numbers}"

    async def _is_all_done(self) -> bool | None:
        for job_id, status in self.told.items():
            if status in FINAL and (await self.fliqd.job(job_id))["status"] not in FINAL:
                return None
        for path in (
            "jobs?status=running",
            *(f"webhooks/deliveries?status={one}" for one in ("pending", "delivering")),
        ):
            body = (await self.fliqd("GET", f"/v1/{path}&limit=1")).body
            if any(body[name] for name in ("jobs", "deliveries") if name in body):
                return None
        for buffer in self.items:
            stats = (await self.fliqd("GET", f"/v1/buffers/{buffer}/stats")).body
            if stats["pending"] or stats["running"]:
                return None
        for schedule in self.schedules:
            if (await self.fliqd("GET", f"/v1/schedules/{schedule}")).body["status"] != "ended":
                return None
        jobs = [job for one in self.schedules for job in await self.everything(f"/v1/schedules/{one}/jobs", "jobs")]
        return all(job["status"] in FINAL for job in jobs) or None

    async def _jobs_of_schedules(self) -> list[str]:
        jobs = [job for one in self.schedules for job in await self.everything(f"/v1/schedules/{one}/jobs", "jobs")]
        return [job["id"] for job in jobs]

    async def everything(self, path: str, name: str) -> list[dict[str, Any]]:
        """Return a list of any length, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while cursor is not None:
            page = (await self.fliqd("GET", f"{path}?limit=100{cursor and '&cursor=' + cursor}")).body
            found += page[name]
            cursor = page["next_cursor"]
        return found
