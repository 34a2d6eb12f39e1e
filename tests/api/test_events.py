"""`GET /v1/events`: what happens is told as it happens, also to those who come back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from fliqd.api import events as events_api
from fliqd.core.events import EventType
from fliqd.service import events as events_service
from tests.support import PATIENCE_S, RunningDaemon, Target, until
from tests.test_docs import ROOT

END = {"type": "end"}


class Stream:
    """What a reader sees: events in order, and comments."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments = 0

    async def next(self) -> dict[str, Any]:
        """Return the next event; END when the stream is over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            async for raw in self.response.content:
                line = raw.decode().removesuffix("\n")
                if not line and "data" in fields:
                    event: dict[str, Any] = json.loads(fields["data"])
                    assert event["type"] == fields["event"]
                    assert event.get("id") == fields.get("id")
                    return event
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
        return END

    async def take(self, number: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(number)]


@asynccontextmanager
async def listen(fliqd: RunningDaemon, query: str = "", last: str | None = None) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {fliqd.token}"} | ({} if last is None else {"Last-Event-ID": last})
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{fliqd.url}/v1/events{query}", headers=headers) as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Request-Id"]
        yield Stream(response)


def hub(fliqd: RunningDaemon) -> events_service.Events:
    assert fliqd.daemon is not None
    return fliqd.daemon._events  # noqa: SLF001 -- to see that nothing is left


async def nobody_reads(fliqd: RunningDaemon) -> bool | None:
    return hub(fliqd).readers == 0 or None


def shown(events: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(event["type"], event["job"]["status"], event["job"]["executions"]) for event in events]


async def test_the_life_of_a_job(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [500, 200]
    async with listen(fliqd) as stream:
        job = await fliqd.create(
            url=target.url, delay=0, max_retries=1, name="n", backoff={"kind": "fixed", "initial": 5}
        )
        told = await stream.take(3)
        fliqd.clock.advance(timedelta(seconds=6))
        told += await stream.take(2)
    assert shown(told) == [
        ("job.created", "scheduled", 0),
        ("job.started", "running", 1),
        ("job.retrying", "scheduled", 1),
        ("job.started", "running", 2),
        ("job.completed", "success", 2),
    ]
    assert [event["id"] for event in told] == sorted(event["id"] for event in told)
    last = told[-1]["job"]
    whole = await fliqd.job(job["id"])
    assert {name: whole[name] for name in last if name not in ("host", "actions")} == {
        name: value for name, value in last.items() if name not in ("host", "actions")
    }
    assert told[2]["job"]["next_attempt_at"] == "2027-03-01T12:00:05.000Z"


async def test_the_other_ends(fliqd: RunningDaemon, target: Target) -> None:
    """Failed, cancelled and expired jobs, a change, and a schedule that missed its times."""
    target.answers = [500]
    async with listen(fliqd) as stream:
        failing = await fliqd.create(url=target.url, delay=0)
        assert shown(await stream.take(3))[-1] == ("job.failed", "failed", 1)
        await fliqd.until(failing["id"], "failed")
        job = await fliqd.create(url=target.url, delay="1h")
        await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"delay": "2h"})
        await fliqd("DELETE", f"/v1/jobs/{job['id']}")
        assert [event["type"] for event in await stream.take(3)] == ["job.created", "job.updated", "job.cancelled"]
        made = await fliqd("POST", "/v1/schedules", {"url": target.url, "every": "1h", "misfire": "skip"})
        fliqd.clock.advance(timedelta(hours=3, minutes=30))
        missed = await stream.next()
    assert missed["type"] == "schedule.missed"
    assert missed["schedule"]["id"] == made.body["id"]
    assert (missed["missed"]["count"], missed["missed"]["reason"]) == (3, "misfire")


@pytest.mark.parametrize(
    ("query", "heard"),
    [
        ("?queue=mail", ["job.created", "job.cancelled"]),
        ("?type=job.cancelled", ["job.cancelled", "job.cancelled"]),
        ("?type=job.cancelled,job.created&queue=mail", ["job.created", "job.cancelled"]),
        ("?schedule_id=sched_x", []),
        ("?job_id=JOB", ["job.updated", "job.cancelled"]),
    ],
)
async def test_filters(fliqd: RunningDaemon, query: str, heard: list[str]) -> None:
    first = await fliqd.create(url="http://a/", delay="1h")
    async with listen(fliqd, query.replace("JOB", first["id"])) as stream, listen(fliqd) as all_of_it:
        second = await fliqd.create(url="http://a/", delay="1h", queue="mail")
        await fliqd("PATCH", f"/v1/jobs/{first['id']}", {"delay": "2h"})
        for job in (first, second):
            await fliqd("DELETE", f"/v1/jobs/{job['id']}")
        await all_of_it.take(4)
        assert [(await stream.next())["type"] for _ in heard] == heard


@pytest.mark.parametrize(
    ("query", "last", "code"),
    [
        ("?type=job.done", None, "invalid_type"),
        ("?kind=job.created", None, "unknown_parameter"),
        ("", "17", "invalid_last_event_id"),
    ],
)
async def test_what_is_refused(fliqd: RunningDaemon, query: str, last: str | None, code: str) -> None:
    answer = await fliqd("GET", f"/v1/events{query}", headers={"Last-Event-ID": last} if last else {})
    assert (answer.status, answer.code) == (400, code)


async def test_one_who_comes_back_has_missed_nothing(fliqd: RunningDaemon) -> None:
    async with listen(fliqd) as stream:
        await fliqd.create(url="http://a/", delay="1h")
        first = await stream.next()
    await until(lambda: nobody_reads(fliqd), "the reader's end")
    meanwhile = [await fliqd.create(url="http://a/", delay="1h") for _ in range(3)]
    async with listen(fliqd, last=first["id"]) as stream:
        then = await fliqd.create(url="http://a/", delay="1h")
        told = await stream.take(4)
    assert [event["job"]["id"] for event in told] == [job["id"] for job in (*meanwhile, then)]


async def test_one_who_has_missed_something_is_told(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart, and when more has happened than is kept."""
    async with listen(fliqd) as stream:
        await fliqd.create(url="http://a/", delay="1h")
        first = await stream.next()
    await fliqd.stop()
    await fliqd.start()
    async with listen(fliqd, last=first["id"]) as stream:
        assert (await stream.next())["type"] == "stream.gap"
    monkeypatch.setattr(events_service, "RING", 3)
    async with listen(fliqd) as stream:
        for _ in range(5):
            await fliqd.create(url="http://a/", delay="1h")
        told = await stream.take(5)
    async with listen(fliqd, last=told[1]["id"]) as stream:
        assert [event.get("id") for event in await stream.take(3)] == [event["id"] for event in told[2:]]
    async with listen(fliqd, last=told[0]["id"]) as stream:
        assert [event["type"] for event in await stream.take(4)] == ["stream.gap", *["job.created"] * 3]


@pytest.mark.parametrize("env", [{"FLIQD_RETENTION__EVENTS": "1h"}])
async def test_events_that_are_too_old_are_not_kept(fliqd: RunningDaemon) -> None:
    """Who knows the last of them has missed nothing."""
    async with listen(fliqd) as stream:
        for _ in range(2):
            await fliqd.create(url="http://a/", delay="1d")
        old = await stream.take(2)
        fliqd.clock.advance(timedelta(hours=1, seconds=1))
        await fliqd.create(url="http://a/", delay="1d")
        new = await stream.next()
    async with listen(fliqd, last=old[1]["id"]) as stream:
        assert await stream.next() == new
    async with listen(fliqd, last=old[0]["id"]) as stream:
        assert [event["type"] for event in await stream.take(2)] == ["stream.gap", "job.created"]
    fliqd.clock.advance(timedelta(hours=1, seconds=1))
    async with listen(fliqd, last=old[1]["id"]) as stream:
        assert (await stream.next())["type"] == "stream.gap"


async def test_a_slow_reader_is_dropped_and_told(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_service, "MOST_BEHIND", 5)
    async with listen(fliqd) as slow, listen(fliqd, "?type=job.cancelled") as other:
        answer = await fliqd("POST", "/v1/jobs/batch", {"jobs": [{"url": "http://a/", "delay": "1h"}] * 50})
        assert (await slow.next())["type"] == "stream.dropped"
        assert await slow.next() == END
        await fliqd("DELETE", f"/v1/jobs/{answer.body['results'][0]['job']['id']}")
        assert (await other.next())["type"] == "job.cancelled"
    metrics = (await fliqd("GET", "/metrics")).body.decode()
    assert "fliqd_event_readers_dropped_total 1.0" in metrics


async def test_one_that_takes_nothing_is_cut_off(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket is full: whatever is sent to it waits."""
    monkeypatch.setattr(events_api, "WRITE_S", 0.05)
    reader, writer = await asyncio.open_connection(*fliqd.url.removeprefix("http://").split(":"), limit=1024)
    writer.write(f"GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {fliqd.token}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    jobs = [{"url": "http://a/", "delay": "1h", "name": "n" * 250}] * 1000

    async def cut_off() -> bool | None:
        await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
        return await nobody_reads(fliqd)

    await until(cut_off, "the end of a reader that reads nothing")
    writer.close()


async def test_silence_is_broken_by_comments(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_api, "HEARTBEAT_S", 0.01)
    async with listen(fliqd, "?type=job.cancelled") as stream:
        job = await fliqd.create(url="http://a/", delay="1h")
        line = b""
        while not line.startswith(b":"):
            line = await asyncio.wait_for(stream.response.content.readline(), PATIENCE_S)
        await fliqd("DELETE", f"/v1/jobs/{job['id']}")
        assert (await stream.next())["type"] == "job.cancelled"


async def test_a_revoked_token_hears_no_more(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_api, "HEARTBEAT_S", 0.01)
    made = (await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})).body
    admin, fliqd.token = fliqd.token, made["token"]
    async with listen(fliqd) as stream:
        fliqd.token = admin
        await fliqd("DELETE", f"/v1/tokens/{made['id']}")
        assert (await stream.next())["type"] == "stream.end"
        assert await stream.next() == END


async def test_a_revoked_token_hears_none_of_what_happens_then(fliqd: RunningDaemon) -> None:
    """However much that is: there may never be a silence."""
    made = (await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})).body
    admin, fliqd.token = fliqd.token, made["token"]
    async with listen(fliqd) as stream:
        fliqd.token = admin
        await fliqd.create(url="http://a/", delay="1h")
        assert (await stream.next())["type"] == "job.created"
        await fliqd("DELETE", f"/v1/tokens/{made['id']}")
        await fliqd.create(url="http://a/", delay="1h")
        assert [event["type"] for event in await stream.take(2)] == ["stream.end", "end"]


async def test_a_stop_ends_streams_after_the_last_events(fliqd: RunningDaemon, target: Target) -> None:
    released = target.hold()
    async with listen(fliqd, "?type=job.completed") as stream:
        await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        stopping = asyncio.create_task(fliqd.stop())
        released.set()
        assert [event["type"] for event in await stream.take(3)] == ["job.completed", "stream.end", "end"]
        await stopping


async def test_nothing_is_collected_while_nobody_listens(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_service, "KEPT_S", 0.0)
    assert fliqd.daemon is not None
    writer = fliqd.daemon._store._writer  # noqa: SLF001 -- what it costs
    assert not writer.tells
    async with listen(fliqd):
        assert writer.tells
        assert hub(fliqd).readers == 1

    async def quiet() -> bool | None:
        return not writer.tells or None

    await until(quiet, "the end of collecting")
    await fliqd.create(url="http://a/", delay="1h")
    assert hub(fliqd).readers == 0


async def test_only_so_many_may_listen(fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_service, "MOST_READERS", 1)
    async with listen(fliqd):
        assert (await fliqd("GET", "/v1/events")).code == "busy"


async def test_head_is_not_taken(fliqd: RunningDaemon) -> None:
    """It would have no end."""
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {fliqd.token}"}
        async with session.head(f"{fliqd.url}/v1/events", headers=headers) as response:
            assert response.status == 405


def test_the_page_names_every_event() -> None:
    text = (ROOT / "docs/reference/api.md").read_text()
    told = [*EventType, "stream.gap", *(kind for kind, _ in events_api.TOLD.values())]
    assert [kind for kind in told if f"`{kind}`" not in text] == []


async def test_items_of_buffers_are_no_jobs(fliqd: RunningDaemon, target: Target) -> None:
    """Neither to those who listen, nor in the numbers of jobs; their executions are counted apart."""
    buffer = (await fliqd("POST", "/v1/buffers", {"name": "b", "url": target.url})).body
    async with listen(fliqd) as stream:
        for _ in range(2):
            await fliqd("POST", f"/v1/buffers/{buffer['id']}/items", {"body": "a"})

        async def through() -> bool | None:
            return (await fliqd("GET", f"/v1/buffers/{buffer['id']}/stats")).body["completed"] == 2 or None

        await until(through, "the end of the items")
        job = await fliqd.create(url=target.url, delay=0)
        events = await stream.take(3)
    assert {event["job"]["id"] for event in events} == {job["id"]}
    usage = (await fliqd("GET", "/v1/stats/usage?days=1")).body
    assert (usage["total_job_executions"], usage["total_buffer_executions"]) == (1, 2)
    metrics = (await fliqd("GET", "/metrics")).body.decode()
    assert "fliqd_jobs_created_total 1.0" in metrics
    assert 'fliqd_jobs_finished_total{outcome="success"} 1.0' in metrics
