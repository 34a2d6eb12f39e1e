"""One daemon with a clock that can be set, a moody target, and a model of what must be true of them."""

import asyncio
import json
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from fliqd.core.times import format_time, parse_time
from tests.prove.clocked import FORMAT
from tests.prove.ledgers import PATIENCE_S
from tests.support import Answer, FliqdProcess, Target, delivery_ids, process, serve_target, until

ENDS: Final = {"success", "failed", "cancelled"}
MOODS: Final = ("500", "429", "489", "reset", "close", "stall")
SOON: Final = {"kind": "fixed", "initial": 0.05}
LATER: Final = {"kind": "fixed", "initial": "10m"}
HOUR_MS: Final = 3_600_000
# It begins well after today: a clock that is set back to before this fliqd was made counts as not set.
FIRST_AHEAD_MS: Final = 60 * 24 * HOUR_MS


class MoodyTarget(Target):
    """Answers 200, or as its next mood is; notes what it answered to each attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.moods: list[str] = []
        self.answered: dict[tuple[str, int], str] = {}
        self.twice: list[tuple[str, int]] = []
        self.released = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        attempt = (request.headers["X-Fliq-Delivery-Id"], int(request.headers["X-Fliq-Attempt"]))
        if attempt in self.answered:
            self.twice.append(attempt)  # looked at by `look`: what is raised here is no more than a 500 to the daemon
        mood = self.moods.pop(0) if self.moods else "200"
        self.answered[attempt] = "cut" if mood == "stall" else mood
        answer = await super().handle(request)
        match mood:
            case "stall":
                await self.released.wait()
                self.answered[attempt] = "200"
            case "reset" if request.transport is not None:
                request.transport.abort()
            case "close" if request.transport is not None:
                request.transport.close()
            case "429":
                return web.Response(status=429, headers={"Retry-After": "1"})
            case "200":
                return answer
            case _:
                return web.Response(status=int(mood))
        return answer


@dataclass
class Known:
    """A job that was acknowledged."""

    id: str
    asked: dict[str, Any]
    due_ms: int
    end: str | None = None  # the state it was seen to have ended in


@dataclass
class World:
    """What goes on, and what was acknowledged of it."""

    fliqd: FliqdProcess
    target: MoodyTarget
    receiver: Target
    clock_file: Path
    jobs: dict[str, Known] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    items: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)  # of queues: how many may be under way
    held: dict[str, int] = field(default_factory=dict)  # jobs seen to wait in a queue that is paused: their executions
    ahead_ms: int = FIRST_AHEAD_MS
    latest_ms: int = 0
    kills: int = 0
    stops: int = 0

    def now_ms(self) -> int:
        now = time.time_ns() // 1_000_000 + self.ahead_ms
        self.latest_ms = max(self.latest_ms, now)
        return now

    async def ask(self, method: str, path: str, body: Any = None, *, ok: tuple[int, ...]) -> Answer:
        answer = await self.fliqd(method, f"/v1{path}", body)
        assert answer.status in ok, (method, path, body, answer.status, answer.body)
        return answer

    # What a client does

    def job(self, path: str, timing: float, **more: Any) -> dict[str, Any]:
        asked = {"url": self.target.url.removesuffix("/hook") + path, "delay": timing} | more
        if more.pop("hook", False):
            asked["webhook_url"] = self.receiver.url
        asked.pop("hook", None)
        return asked

    async def create(self, asked: dict[str, Any]) -> None:
        if "lives" in asked:
            asked["expires_at"] = format_time(self.now_ms() + round(asked["delay"] * 1000) + asked.pop("lives"))
        earliest_ms = self.now_ms()
        answer = await self.ask("POST", "/jobs", asked, ok=(200, 201))
        self.note(answer.body["id"], asked, earliest_ms, replayed=answer.status == 200)

    def note(self, job_id: str, asked: dict[str, Any], earliest_ms: int, *, replayed: bool = False) -> None:
        key = asked.get("idempotency_key")
        if key is not None:
            assert self.keys.setdefault(key, job_id) == job_id, f"the key {key} has made two jobs"
        assert replayed == (job_id in self.jobs), f"{job_id} was made {'again' if replayed else 'twice'}"
        if not replayed:
            self.jobs[job_id] = Known(job_id, asked, earliest_ms + round(asked["delay"] * 1000))

    async def change(self, known: Known, path: str, timing: float, queue: str) -> None:
        asked = self.job(path, timing) | {"expires_at": None, "queue": queue}
        earliest_ms = self.now_ms()
        if (await self.ask("PATCH", f"/jobs/{known.id}", asked, ok=(200, 409))).status == 200:
            assert known.end is None
            known.asked |= asked
            self.held.pop(known.id, None)
            was_sent = any(delivery == known.id for delivery, _ in self.target.answered)
            due_ms = earliest_ms + round(timing * 1000)
            known.due_ms = min(known.due_ms, due_ms) if was_sent else due_ms

    async def cancel(self, known: Known) -> None:
        if (await self.ask("DELETE", f"/jobs/{known.id}", ok=(204, 409))).status == 204:
            assert known.end is None
            known.end = "cancelled"

    async def run(self, known: Known) -> None:
        if (await self.ask("POST", f"/jobs/{known.id}/run", ok=(200, 409))).status == 200:
            assert known.end is None
            known.due_ms = min(known.due_ms, self.now_ms())

    async def replay(self, known: Known) -> None:
        answer = await self.ask("POST", f"/jobs/{known.id}/replay", ok=(201, 409))
        assert known.end is None or (answer.status == 201) == (known.end == "failed"), (known, answer.body)
        if answer.status == 201:
            asked = {
                name: value for name, value in known.asked.items() if name not in ("idempotency_key", "expires_at")
            }
            self.jobs[answer.body["id"]] = Known(answer.body["id"], asked | {"delay": 0}, 0)

    async def limit(self, queue: str, *, paused: bool) -> None:
        """Pause a queue, or let one at a time go."""
        asked = {"paused": True} if paused else {"concurrency": 1, "paused": False}
        for _ in range(2):  # what was let go just before the first is on disk before the second
            await self.ask("PUT", f"/queues/{queue}", asked, ok=(200,))
        running = await self._everything("/jobs", "jobs", f"status=running&queue={queue}")
        self.limits[queue] = 0 if paused else max(1, len(running))
        for job in [job for job in self.held if self.jobs[job].asked.get("queue") == queue]:
            del self.held[job]

    async def schedule(self, **asked: Any) -> None:
        asked = {"url": self.target.url, "every": "1h"} | asked
        made = (await self.ask("POST", "/schedules", asked, ok=(201,))).body
        self.schedules[made["id"]] = made | {"deleted": False}

    async def change_schedule(self, schedule: str, what: str) -> None:
        known = self.schedules[schedule]
        if what == "delete":
            await self.ask("DELETE", f"/schedules/{schedule}", ok=(404,) if known["deleted"] else (204,))
            known["deleted"] = True
            return
        answer = await self.ask("POST", f"/schedules/{schedule}/{what}", ok=(200, 201, 404))
        assert (answer.status == 404) == known["deleted"], answer.body

    async def buffer(self, name: str) -> None:
        asked = {"name": name, "url": self.target.url, "rate_limit": 1000, "max_retries": 1, "backoff": SOON}
        answer = await self.ask("POST", "/buffers", asked, ok=(201, 409))
        if answer.status == 201:
            self.items[answer.body["id"]] = []

    async def push(self, buffer: str, count: int) -> None:
        first = len(self.items[buffer])
        items = [{"body": str(number), "idempotency_key": str(number)} for number in range(first, first + count)]
        answer = await self.ask("POST", f"/buffers/{buffer}/items", {"items": items}, ok=(200,))
        assert {result["status"] for result in answer.body["results"]} == {201}
        self.items[buffer] += [result["item"]["id"] for result in answer.body["results"]]

    async def storm(self, asked: list[dict[str, Any]]) -> None:
        """Create them all at once, kill the daemon amid that, and ask again for those that had no answer."""
        earliest_ms = self.now_ms()
        made: dict[str, str] = {}

        async def one(job: dict[str, Any]) -> None:
            try:
                answer = await self.fliqd("POST", "/v1/jobs", job)
            except (aiohttp.ClientError, OSError):
                return
            assert answer.status in (201, 503), answer.body
            if answer.status == 201:
                made[job["idempotency_key"]] = answer.body["id"]

        tasks = [asyncio.create_task(one(job)) for job in asked]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await self.kill()
        await asyncio.gather(*tasks)
        for job in asked:
            again = await self.ask("POST", "/jobs", job, ok=(200, 201))
            assert made.get(job["idempotency_key"], again.body["id"]) == again.body["id"], (
                "an acknowledged job was lost"
            )
            self.note(again.body["id"], job, earliest_ms)

    # What befalls it

    async def kill(self) -> None:
        self.kills += 1
        await self.fliqd.kill()
        await self.fliqd.start()

    async def stop(self) -> None:
        self.stops += 1
        assert await self.fliqd.kill(signal.SIGTERM) == 0, self.fliqd.said[-5:]
        await self.fliqd.start()

    async def step(self, by_ms: int, *, while_down: bool = False) -> None:
        """Set the clock, and wait until that was noticed."""
        if while_down:
            await self.fliqd.kill()
            self.kills += 1
        noticed = sum(event["event"] == "clock.set" for event in self.fliqd.log)
        self.now_ms()
        self.ahead_ms += by_ms
        with self.clock_file.open("r+b") as file:  # in place: who has it mapped may look at any moment
            file.write(FORMAT.pack(self.ahead_ms))
        self.now_ms()
        if while_down:
            await self.fliqd.start()
            return
        assert self.fliqd.process is not None
        self.fliqd.process.send_signal(signal.SIGUSR1)

        async def seen() -> bool | None:
            return sum(event["event"] == "clock.set" for event in self.fliqd.log) > noticed or None

        await until(seen, f"the notice of a step by {by_ms} ms", PATIENCE_S)

    async def release(self) -> None:
        """Let the target answer what it has stalled."""
        self.target.released.set()
        await asyncio.sleep(0)
        self.target.released.clear()

    async def rest(self) -> None:
        """Wait a moment, in which what is due and not held leaves."""
        for _ in range(20):
            if await self.idle():
                return
            await asyncio.sleep(0.005)

    # What must be true

    async def look(self) -> None:
        """Check what must be true at any moment."""
        assert self.fliqd.process is not None
        assert self.fliqd.process.returncode is None, self.fliqd.said[-5:]
        assert not self.target.twice, f"these attempts came twice: {self.target.twice}"
        self.now_ms()
        for known in list(self.jobs.values()):
            job = (await self.ask("GET", f"/jobs/{known.id}", ok=(200,))).body
            assert known.end in (None, job["status"]), f"{known} has ended, and is {job['status']} now"
            assert job["status"] != "cancelled" or known.end == "cancelled", f"{known} was never cancelled"
            if job["status"] in ENDS:
                known.end = job["status"]
            hits = [attempt for delivery, attempt in self.target.answered if delivery == known.id]
            assert job["executions"] >= len(hits), f"{job} was sent {hits}"
            if hits:
                assert known.due_ms <= self.latest_ms + 50, f"{known} was sent before its time"
            if self.limits.get(known.asked.get("queue", "default")) == 0:
                before = self.held.get(known.id, job["executions"])
                assert job["executions"] == before, f"{known} was sent though its queue is paused"
                if job["status"] == "scheduled":
                    self.held[known.id] = before
        for queue, limit in self.limits.items():
            running = await self._everything("/jobs", "jobs", f"status=running&queue={queue}")
            assert not limit or len(running) <= limit, f"{len(running)} of {queue} are under way, and {limit} may be"

    async def finish(self) -> int:
        """Let everything come to its end, and check what must be true then; return how many requests were repeated."""
        self.target.moods.clear()
        self.target.released.set()
        self.limits.clear()
        for queue in (await self.ask("GET", "/queues", ok=(200,))).body["queues"]:
            await self.ask("POST", f"/queues/{queue['name']}/resume", ok=(200,))
        for buffer in self.items:
            await self.ask("POST", f"/buffers/{buffer}/resume", ok=(200,))
        for schedule, made in self.schedules.items():
            if not made["deleted"]:
                paused = await self.ask("POST", f"/schedules/{schedule}/pause", ok=(200,))
                made["paused_at"] = paused.body["paused_at"]
        for _ in range(4):  # retries that wait, and what those retries wait for then
            await self.step(3 * 24 * HOUR_MS)
            await until(self.idle, "the end of what is due", PATIENCE_S)
        await self.look()
        repeats = 0
        for known in self.jobs.values():
            repeats += await self._check_end(known)
        for buffer, items in self.items.items():
            for item in items:
                await self._check_attempts(f"/buffers/{buffer}/items/{item}")
            order = [hit for hit in delivery_ids(self.target.hits) if hit in items]
            assert order == sorted(order, key=items.index), "an item left before one ahead of it"
            assert set(order) == set(items)
        for schedule in self.schedules:
            await self._check_schedule(schedule)
        self._check_webhooks()
        return repeats

    async def idle(self) -> bool | None:
        """Tell whether nothing is due or under way any more."""
        now_ms = self.now_ms()
        if await self._everything("/jobs", "jobs", "status=running"):
            return None
        for job in await self._everything("/jobs", "jobs", "status=scheduled"):
            if job["next_attempt_at"] is None or parse_time(job["next_attempt_at"]) <= now_ms:
                return None
        for buffer in self.items:
            stats = (await self.ask("GET", f"/buffers/{buffer}/stats", ok=(200,))).body
            if stats["pending"] or stats["running"]:
                return None
        for status in ("pending", "delivering"):
            if (await self.ask("GET", f"/webhooks/deliveries?status={status}", ok=(200,))).body["deliveries"]:
                return None
        return True

    async def _check_attempts(self, path: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        job = (await self.ask("GET", path, ok=(200,))).body
        history = (await self.ask("GET", f"{path}/executions", ok=(200,))).body["executions"][::-1]
        assert [one["attempt_num"] for one in history] == list(range(1, len(history) + 1))
        for one in history:
            answered = self.target.answered.get((job["id"], one["attempt_num"]))
            match one["status"]:
                case "success":
                    assert answered == "200", (job, one, answered)
                    assert one is history[-1], "it was sent again after its success"
                case "failed":
                    assert answered not in (None, "200"), (job, one, answered)
                case state:
                    assert state == "interrupted", (job, one)
        sent = [attempt for delivery, attempt in self.target.answered if delivery == job["id"]]
        assert set(sent) <= set(range(1, len(history) + 1))
        return job, history

    async def _check_end(self, known: Known) -> int:
        job, history = await self._check_attempts(f"/jobs/{known.id}")
        states = [one["status"] for one in history]
        interrupted = states.count("interrupted")
        assert interrupted <= self.kills + self.stops
        code = (job["last_error"] or "").partition(":")[0]
        match job["status"]:
            case "success":
                assert states[-1] == "success"
            case "cancelled":
                assert known.end == "cancelled"
            case "failed" if code == "expired":
                assert parse_time(known.asked["expires_at"]) <= self.latest_ms, known
            case "failed" if code == "interrupted":
                assert known.asked.get("on_interrupt") == "fail" or interrupted >= 3, (known, history)
            case "failed":
                gave_up = self.target.answered[known.id, len(history)] == "489"
                # The first kept-alive connection that broke is forgiven, unless each attempt was to count.
                free = any("(reused)" in (one["error"] or "") for one in history)
                spent = job["attempts"] == known.asked.get("max_retries", 0) + 1
                assert gave_up or spent, (known, job, history)
                assert 0 <= states.count("failed") - job["attempts"] <= free, (known, job, history)
            case other:
                raise AssertionError(f"{known} is {other} in the end: {job}")
        return interrupted

    async def _check_schedule(self, schedule: str) -> None:
        """Each hour since its first has a job or is missed, never both and never twice."""
        known = self.schedules[schedule]
        first_ms = parse_time(known["next_run_at"])
        ran: set[int] = set()
        missed: set[int] = set()
        for job in await self._everything(f"/schedules/{schedule}/jobs", "jobs"):
            if (due_ms := parse_time(job["scheduled_at"])) >= first_ms and (due_ms - first_ms) % HOUR_MS == 0:
                assert due_ms not in ran, f"{format_time(due_ms)} ran twice"
                ran.add(due_ms)
            assert job["status"] in ENDS, job
            assert job["status"] != "cancelled" or known["deleted"]
        for one in await self._everything(f"/schedules/{schedule}/missed", "missed"):
            covered = set(range(parse_time(one["first_at"]), parse_time(one["last_at"]) + 1, HOUR_MS))
            assert len(covered) == one["count"]
            assert not covered & missed, "missed twice"
            missed |= covered
        assert not ran & missed, "a run that is missed"
        if not known["deleted"]:
            settled = set(range(first_ms, parse_time(known["paused_at"]) + 1, HOUR_MS))
            assert settled <= ran | missed, f"in neither: {[format_time(slot) for slot in settled - ran - missed]}"

    def _check_webhooks(self) -> None:
        told: dict[str, dict[str, str]] = defaultdict(dict)
        for hit in self.receiver.hits:
            event = json.loads(hit.body)
            told[event["job_id"]][hit.headers["webhook-id"]] = event["event"].removeprefix("job.")
        for known in self.jobs.values():
            if "webhook_url" in known.asked:
                end = {"success": "completed"}.get(str(known.end), str(known.end))
                assert list(told[known.id].values()) == [end], (known, told[known.id])

    async def _everything(self, path: str, name: str, where: str = "limit=100") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while cursor is not None:
            page = (await self.ask("GET", f"{path}?{where}{cursor and '&cursor=' + cursor}", ok=(200,))).body
            found += page[name]
            cursor = page["next_cursor"]
        return found


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    """Yield a world whose daemon is ready."""
    folder.mkdir()
    clock_file = folder / "clock"
    clock_file.write_bytes(FORMAT.pack(FIRST_AHEAD_MS))
    target, receiver = MoodyTarget(), Target()
    async with AsyncExitStack() as stack:
        env = {"CLOCK_FILE": str(clock_file), "FLIQD_DISPATCH__SHUTDOWN_GRACE": "0.3"}
        fliqd = await stack.enter_async_context(process(folder / "state", **env))
        await stack.enter_async_context(serve_target(target))
        await stack.enter_async_context(serve_target(receiver))
        stack.callback(target.released.set)
        fliqd.program = ["-m", "tests.prove.clocked"]
        await fliqd.start()
        yield World(fliqd, target, receiver, clock_file)
