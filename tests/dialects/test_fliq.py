"""A client of Fliq works unchanged at `/fliq` as its library has it, at `/fliq/v1` as its pages show it."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator  # type: ignore[import-untyped]

from fliqd.core.times import format_time, parse_time
from fliqd.dialects.fliq.operations import OPERATIONS, document
from fliqd.dialects.fliq.voice import LIBRARY, PAGES, Voice
from tests.support import Answer, FakeClock, Hit, RunningDaemon, Target, process, until

NOW = "2027-03-01T12:00:00Z"  # by the clock of these tests
LATER = "2027-04-01T09:00:00Z"
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,2}[1-9]|\.[1-9])?Z")


class Fliq:
    """A client of one voice, who holds each answer against its document."""

    def __init__(self, fliqd: RunningDaemon, voice: Voice) -> None:
        self.fliqd = fliqd
        self.voice = voice
        self.document = document(voice)
        self.seen: set[tuple[str, str]] = set()

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        answer = await self.fliqd(method, f"/{self.voice.name}{path}", body, **more)
        told = self._told(method, path, answer.status)
        if "application/json" in told.get("content", {}):
            schema = told["content"]["application/json"]["schema"]
            jsonschema.validate(
                answer.body,
                {**schema, "components": self.document["components"]},
                format_checker=Draft202012Validator.FORMAT_CHECKER,
            )
        else:
            assert answer.body == b""
        return answer

    def _told(self, method: str, path: str, status: int) -> dict[str, Any]:
        parts = path.partition("?")[0].split("/")
        for template, calls in self.document["paths"].items():
            wanted = template.removeprefix(f"/{self.voice.name}").split("/")
            fits = len(wanted) == len(parts) and all(
                one.startswith("{") or one == other for one, other in zip(wanted, parts, strict=True)
            )
            if fits and method.lower() in calls:
                self.seen.add((method, "/".join(wanted)))
                told: dict[str, Any] = calls[method.lower()]["responses"][str(status)]
                if "$ref" in told:
                    told = self.document["components"]["responses"][str(status)]
                return told
        # Of what is no call the answer is an error all the same.
        shared: dict[str, Any] = self.document["components"]["responses"][str(status)]
        return shared

    async def create(self, **job: Any) -> dict[str, Any]:
        answer = await self("POST", "/jobs", job)
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.body
        return made

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self("GET", f"/jobs/{job_id}")
        assert answer.status == 200, answer.body
        job: dict[str, Any] = answer.body
        return job

    async def until(self, job_id: str, status: str) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            job = await self.job(job_id)
            return job if job["status"] == status else None

        return await until(there, f"{job_id} {status}")

    async def all(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """Go through the pages of a list."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            asked = "&".join(f"{name}={value}" for name, value in query.items())
            answer = await self("GET", f"{path}?{asked}{cursor}")
            assert answer.status == 200, answer.body
            found += answer.body[key]
            if answer.body["next_cursor"] is None:
                return found
            cursor = f"&cursor={answer.body['next_cursor']}"


@pytest.fixture
def library(fliqd: RunningDaemon) -> Fliq:
    return Fliq(fliqd, LIBRARY)


@pytest.fixture
def pages(fliqd: RunningDaemon) -> Fliq:
    return Fliq(fliqd, PAGES)


@pytest.fixture(params=[LIBRARY, PAGES], ids=["library", "pages"])
def either(fliqd: RunningDaemon, request: pytest.FixtureRequest) -> Fliq:
    return Fliq(fliqd, request.param)


# The pages, field by field


async def test_a_job_of_the_pages(pages: Fliq) -> None:
    """The sample of "Create a job": what is asked comes back, status and times as they are written there."""
    asked = {
        "url": "https://yourapp.com/api/charge",
        "http_method": "POST",
        "scheduled_at": LATER,
        "headers": {"X-Plan": "growth"},
        "body": '{"amount": 5}',
        "max_retries": 3,
        "idempotency_key": "charge-1",
        "webhook_url": "https://yourapp.com/told",
        "webhook_headers": {"X-Key": "k"},
    }
    made = await pages.create(**asked)
    assert asked.items() <= made.items()
    assert (made["status"], made["created_at"]) == ("scheduled", NOW)
    assert made["method"] == "POST"
    assert await pages.job(made["id"]) == made


async def test_what_a_job_need_not_say(library: Fliq) -> None:
    """Defaults are those of the pages, and what there is not is null, as the library's types have it."""
    made = await library.create(url="https://yourapp.com/x", scheduled_at=LATER)
    assert made == {
        "id": made["id"],
        "user_id": made["user_id"],
        "url": "https://yourapp.com/x",
        "method": "POST",
        "http_method": "POST",
        "headers": {},
        "body": None,
        "status": "pending",
        "scheduled_at": LATER,
        "started_at": None,
        "completed_at": None,
        "attempts": 0,
        "retry_count": 0,
        "max_retries": 0,
        "timeout_seconds": 30,
        "backoff": "exponential",
        "idempotency_key": None,
        "webhook_url": None,
        "webhook_headers": None,
        "replay_of": None,
        "schedule_id": None,
        "last_error": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    assert uuid.UUID(made["user_id"]).version == 4


async def test_a_schedule_of_the_pages(pages: Fliq) -> None:
    """The sample of "Create a schedule", and the fields of the library beside it."""
    asked = {"url": "https://yourapp.com/api/digest", "cron": "0 8 * * 1-5"}
    made = (await pages("POST", "/schedules", asked)).body
    assert asked.items() <= made.items()
    assert (made["status"], made["created_at"], made["next_run_at"]) == ("active", NOW, "2027-03-02T08:00:00Z")
    assert (made["paused"], made["cron_expr"], made["method"]) == (False, "0 8 * * 1-5", "POST")
    assert made["name"]
    assert (await pages("GET", "/schedules?limit=50")).body == {"schedules": [made], "next_cursor": None}
    assert (await pages("DELETE", f"/schedules/{made['id']}")).status == 204
    assert (await pages("GET", f"/schedules/{made['id']}")).status == 404


async def test_executions_of_the_pages(pages: Fliq, target: Target) -> None:
    made = await pages.create(url=target.url, scheduled_at=NOW)
    ended = await pages.until(made["id"], "success")
    assert (ended["attempts"], ended["started_at"]) == (1, NOW)
    assert TIME.fullmatch(ended["completed_at"])
    [execution] = (await pages("GET", f"/jobs/{made['id']}/executions")).body["executions"]
    assert execution == {
        "id": execution["id"],
        "attempt_num": 1,
        "status": "success",
        "status_code": 200,
        "duration_ms": execution["duration_ms"],
        "executed_at": NOW,
    }
    assert execution["duration_ms"] >= 0


async def test_a_replay_of_the_pages(pages: Fliq, target: Target) -> None:
    """The clone says `pending` in the sample, though a job says `scheduled`; the failed one stays as it was."""
    target.answers.append(500)
    failed = await pages.create(url=target.url, scheduled_at=NOW, body="b", idempotency_key="k")
    before = await pages.until(failed["id"], "failed")
    again = await pages("POST", f"/jobs/{failed['id']}/replay")
    assert again.status == 201
    assert (again.body["status"], again.body["replay_of"]) == ("pending", failed["id"])
    assert (again.body["scheduled_at"], again.body["created_at"]) == (NOW, NOW)
    done = await pages.until(again.body["id"], "success")
    assert (done["attempts"], done["body"]) == (1, "b")
    assert await pages.job(failed["id"]) == before
    assert (await pages("POST", f"/jobs/{done['id']}/replay")).status == 409


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_the_webhook_of_the_pages(pages: Fliq, target: Target, status: str) -> None:
    """The payload, and its `event`; nothing is left out, and it is signed."""
    told = target.url.replace("/hook", "/told")
    target.answers.append(503 if status == "failed" else 200)
    at = LATER if status == "cancelled" else NOW
    made = await pages.create(url=target.url, scheduled_at=at, webhook_url=told, webhook_headers={"X-Key": "k"})
    if status == "cancelled":
        assert (await pages("DELETE", f"/jobs/{made['id']}")).status == 204

    async def webhook() -> Hit | None:
        return next((hit for hit in target.hits if hit.path == "/told"), None)

    hit = await until(webhook, "the webhook")
    assert (hit.method, hit.headers["Content-Type"], hit.headers["X-Key"]) == ("POST", "application/json", "k")
    error = hit.json["last_error"]
    assert hit.json == {
        "event": f"job.{status}",
        "job_id": made["id"],
        "status": status,
        "status_code": {"completed": 200, "failed": 503, "cancelled": None}[status],
        "last_error": error,
        "completed_at": hit.json["completed_at"],
        "attempt_num": 0 if status == "cancelled" else 1,
    }
    assert (error is not None) == (status == "failed")
    assert hit.json["completed_at"].startswith("2027-03-01T12:00:")
    assert await signed(pages, hit, told)

    async def delivered() -> dict[str, Any] | None:
        [row] = (await pages("GET", "/webhooks/deliveries")).body["deliveries"]
        found: dict[str, Any] = row
        return found if found["status"] == "delivered" else None

    row = await until(delivered, "the delivery")
    assert (row["job_id"], row["event"], row["url"]) == (made["id"], f"job.{status}", told)
    assert (row["attempts"], row["max_attempts"], row["next_retry_at"]) == (1, 10, None)
    assert row["status_code"] == 200
    assert TIME.fullmatch(row["delivered_at"])


async def test_channels_of_the_pages(pages: Fliq) -> None:
    asked = {"type": "slack", "target": "https://hooks.slack.com/services/a/b", "name": "on-call"}
    made = await pages("POST", "/alerts", asked)
    assert made.status == 201
    assert made.body == {
        **asked,
        "id": made.body["id"],
        "enabled": True,
        "verified": True,
        "created_at": NOW,
        "updated_at": NOW,
    }
    one = f"/alerts/{made.body['id']}"
    assert (await pages("GET", one)).body == made.body
    assert (await pages("PATCH", one, {"enabled": False})).status == 204
    assert (await pages("GET", "/alerts")).body == {"channels": [made.body | {"enabled": False}]}
    assert (await pages("DELETE", one)).status == 204
    assert (await pages("GET", one)).status == 404
    assert (await pages("GET", "/alerts")).body == {"channels": []}


async def test_a_channel_is_a_webhook_or_slack(library: Fliq) -> None:
    for kind in ("email", "ntfy", "discord", "", None, 5):
        answer = await library("POST", "/alerts", {"type": kind, "target": "https://a.example/"})
        assert (answer.status, answer.body["code"]) == (400, "invalid_type"), kind


async def test_a_channel_is_only_enabled_or_disabled(library: Fliq) -> None:
    made = (await library("POST", "/alerts", {"type": "webhook", "target": "https://a.example/"})).body
    for body in ({}, {"enabled": None}, {"enabled": "no"}, {"name": "x"}):
        answer = await library("PATCH", f"/alerts/{made['id']}", body)
        assert (answer.status, answer.body["code"]) == (400, "invalid_enabled"), body


async def test_channels_are_told_of_jobs_that_fail(library: Fliq, target: Target) -> None:
    """In the fields of the pages; the job's target and its error are among them."""
    base = target.url.removesuffix("/hook")
    for kind in ("webhook", "slack"):
        await library("POST", "/alerts", {"type": kind, "target": f"{base}/{kind}"})
    target.answers.append(500)
    made = await library.create(url=target.url, scheduled_at=NOW, method="PUT")
    told = {hit.path: hit.json for hit in await target.received(3) if hit.path != "/hook"}
    alert = told["/webhook"]
    assert {"event": "failure", "resource_type": "job", "resource_id": made["id"]}.items() <= alert.items()
    assert {"url": target.url, "method": "PUT", "status_code": 500, "attempts": 1}.items() <= alert.items()
    assert alert["failed_at"].endswith("Z")
    assert "500" in alert["last_error"]
    assert list(told["/slack"]) == ["text"]


async def test_statistics_of_the_pages(pages: Fliq, target: Target) -> None:
    assert (await pages("GET", "/stats/usage")).body["buckets"] == []
    target.answers.append(404)
    for _ in range(2):
        made = await pages.create(url=target.url, scheduled_at=NOW)
        await until_ended(pages, made["id"])
    stats = (await pages("GET", "/stats/jobs?days=30")).body
    assert stats == {
        "total_executions": 2,
        "succeeded": 1,
        "failed": 1,
        "success_rate": 0.5,
        "avg_duration_ms": stats["avg_duration_ms"],
        "p95_duration_ms": stats["p95_duration_ms"],
        "since_days": 30,
    }
    assert (await pages("GET", "/stats/usage?days=7")).body == {
        "buckets": [{"date": "2027-03-01", "job_executions": 2, "buffer_executions": 0}],
        "total_job_executions": 2,
        "total_buffer_executions": 0,
        "balance": 1_000_000_000,
        "plan": "paid",
        "since_days": 7,
    }


async def test_days_are_put_right(library: Fliq) -> None:
    for days, since in (("", 30), ("?days=0", 1), ("?days=400", 365), ("?days=365", 365)):
        for path in ("/stats/jobs", "/stats/usage"):
            assert (await library("GET", path + days)).body["since_days"] == since
    for days in ("x", "-1", "1.5", "%00"):
        assert (await library("GET", f"/stats/jobs?days={days}")).status == 400


# The client library


async def test_the_job_of_the_library(library: Fliq, target: Target) -> None:
    """`jobs.create` as its readme shows it, then `listAttempts`: a bare array, with the field names of its types."""
    made = await library.create(
        url=target.url,
        method="PUT",
        body='{"hello":"world"}',
        scheduled_at="2027-03-01T12:01:00.000Z",
        max_retries=3,
        timeout_seconds=10,
        backoff="linear",
        idempotency_key=str(uuid.uuid4()),
    )
    assert (made["method"], made["http_method"], made["status"]) == ("PUT", "PUT", "pending")
    assert (made["scheduled_at"], made["timeout_seconds"], made["backoff"]) == ("2027-03-01T12:01:00Z", 10, "linear")
    assert (await library("GET", f"/jobs/{made['id']}/attempts")).body == []
    clock(library).advance(timedelta(minutes=1))
    await library.until(made["id"], "completed")
    [attempt] = (await library("GET", f"/jobs/{made['id']}/attempts")).body
    assert attempt == {
        "id": attempt["id"],
        "job_id": made["id"],
        "attempt_num": 1,
        "worker_id": "fliqd",
        "started_at": "2027-03-01T12:01:00Z",
        "completed_at": attempt["completed_at"],
        "status_code": 200,
        "error": None,
        "duration_ms": attempt["duration_ms"],
    }
    assert TIME.fullmatch(attempt["completed_at"])
    [hit] = target.hits
    assert (hit.method, hit.body) == ("PUT", b'{"hello":"world"}')


async def test_attempts_come_newest_first(library: Fliq, target: Target) -> None:
    target.answers += [500, web.Response(status=429, headers={"Retry-After": "90"})]
    made = await library.create(url=target.url, scheduled_at=NOW, max_retries=2, backoff="linear")
    path = f"/jobs/{made['id']}/attempts"
    for number, wait_s in ((1, 30), (2, 90)):  # a 429 costs a retry, and has it wait as long as it says
        await waits_again(library, made["id"], number)
        job = await library.job(made["id"])
        assert (job["attempts"], job["retry_count"], job["status"]) == (number, number, "pending")
        next_ms = parse_time((await library.fliqd.job(made["id"]))["next_attempt_at"])
        assert next_ms - parse_time((await library("GET", path)).body[0]["started_at"]) >= wait_s * 1000
        clock(library).advance(timedelta(minutes=2))
    await library.until(made["id"], "completed")
    attempts = (await library("GET", path)).body
    assert [one["attempt_num"] for one in attempts] == [3, 2, 1]
    assert [one["status_code"] for one in attempts] == [200, 429, 500]
    job = await library.job(made["id"])
    assert (job["attempts"], job["retry_count"]) == (3, 2)


async def test_the_schedule_of_the_library(library: Fliq, target: Target) -> None:
    made = await library(
        "POST",
        "/schedules",
        {"name": "digest", "cron_expr": "0 * * * *", "url": target.url, "method": "GET", "headers": {"A": "b"}},
    )
    assert made.status == 201
    schedule = made.body
    assert schedule == {
        "id": schedule["id"],
        "user_id": (await library.create(url=target.url, scheduled_at=LATER))["user_id"],
        "name": "digest",
        "cron": "0 * * * *",
        "cron_expr": "0 * * * *",
        "url": target.url,
        "method": "GET",
        "http_method": "GET",
        "headers": {"A": "b"},
        "body": None,
        "status": "active",
        "paused": False,
        "max_retries": 0,
        "timeout_seconds": 30,
        "backoff": "exponential",
        "next_run_at": "2027-03-01T13:00:00Z",
        "last_run_at": None,
        "webhook_url": None,
        "webhook_headers": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    again = await library("POST", "/schedules", {"name": "digest", "cron_expr": "0 * * * *", "url": target.url})
    assert again.status == 409
    clock(library).advance(timedelta(hours=1))
    [hit] = await target.received(1)
    jobs = f"/schedules/{schedule['id']}/jobs"
    [job] = (await library("GET", jobs)).body["jobs"]
    assert (job["schedule_id"], job["idempotency_key"]) == (schedule["id"], f"sched:{schedule['id']}:1803906000")
    assert hit.headers["X-Fliq-Delivery-Id"] == job["id"]
    await library.until(job["id"], "completed")
    assert len((await library("GET", f"{jobs}?status=completed&limit=5")).body["jobs"]) == 1
    assert (await library("GET", f"{jobs}?status=failed")).body == {"jobs": [], "next_cursor": None}
    assert (await library("GET", f"/schedules/{schedule['id']}")).body["last_run_at"] == "2027-03-01T13:00:00Z"


@pytest.mark.parametrize("kind", ["schedules", "buffers"])
async def test_pause_and_resume(library: Fliq, target: Target, kind: str) -> None:
    """Both answer 204, and 409 when it is so already."""
    asked = {"name": "n", "url": target.url} | ({"cron_expr": "0 0 * * *"} if kind == "schedules" else {})
    one = f"/{kind}/{(await library('POST', f'/{kind}', asked)).body['id']}"
    noun = kind.removesuffix("s").capitalize()
    for call, paused, text in (
        ("pause", True, f"{noun} is already paused"),
        ("resume", False, f"{noun} is not paused"),
    ):
        assert (await library("POST", f"{one}/{call}")).status == 204
        shown = (await library("GET", one)).body
        assert shown["paused"] is paused
        assert shown.get("status") in (None, "paused" if paused else "active")
        refused = await library("POST", f"{one}/{call}")
        assert (refused.status, refused.body["error"]) == (409, text)
    for call in ("pause", "resume"):
        assert (await library("POST", f"{one[:-4]}0000/{call}")).status == 404


async def test_a_buffer_and_its_items(library: Fliq, target: Target) -> None:
    made = await library(
        "POST", "/buffers", {"name": "partner", "url": target.url, "rate_limit": 5, "headers": {"A": "b", "X": "1"}}
    )
    assert made.status == 201
    buffer = made.body
    assert buffer == {
        "id": buffer["id"],
        "name": "partner",
        "url": target.url,
        "method": "POST",
        "http_method": "POST",
        "timeout_seconds": 30,
        "rate_limit": 5,
        "max_retries": 3,
        "backoff": "exponential",
        "paused": False,
        "webhook_url": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    one = f"/buffers/{buffer['id']}"
    assert (await library("POST", f"{one}/pause")).status == 204
    first = await library("POST", f"{one}/items", {"body": "1", "headers": {"A": "c"}, "idempotency_key": "k"})
    assert first.status == 201
    assert first.body == {
        "id": first.body["id"],
        "buffer_id": buffer["id"],
        "status": "pending",
        "status_code": None,
        "retry_count": 0,
        "max_retries": 3,
        "last_error": None,
        "replay_of": None,
        "created_at": NOW,
        "completed_at": None,
    }
    same = await library("POST", f"{one}/items", {"body": "2", "idempotency_key": "k"})
    assert (same.status, same.body) == (200, first.body)
    second = (await library("POST", f"{one}/items", {"body": "2"})).body
    stats = {"pending": 2, "running": 0, "completed": 0, "failed": 0, "total": 2, "success_rate": 0}
    assert (await library("GET", f"{one}/stats")).body == stats
    assert (await library("POST", f"{one}/resume")).status == 204
    hits = await target.received(2)
    assert [hit.body for hit in hits] == [b"1", b"2"]
    assert [(hit.headers["A"], hit.headers["X"]) for hit in hits] == [("c", "1"), ("b", "1")]
    assert [hit.headers["X-Fliq-Delivery-Id"] for hit in hits] == [first.body["id"], second["id"]]
    assert all(UUID4.fullmatch(hit.headers["X-Request-ID"]) for hit in hits)

    async def drained() -> Any:
        counted = (await library("GET", f"{one}/stats")).body
        return counted if counted["completed"] == 2 else None

    assert (await until(drained, "the items"))["success_rate"] == 1
    item = (await library("GET", f"{one}/items/{second['id']}")).body
    assert (item["status"], item["status_code"]) == ("completed", 200)
    assert TIME.fullmatch(item["completed_at"])
    assert [one["id"] for one in await library.all(f"{one}/items", "items", limit=1)] == [
        second["id"],
        first.body["id"],
    ]
    assert (await library("GET", f"{one}/items?status=cancelled")).status == 400
    assert (await library("POST", f"{one}/items/{second['id']}/replay")).status == 409
    assert (await library("GET", "/buffers")).body["buffers"][0]["id"] == buffer["id"]
    assert (await library("DELETE", one)).status == 204
    assert (await library("GET", one)).status == 404


async def test_an_item_is_replayed_at_the_tail(library: Fliq, target: Target) -> None:
    target.answers.append(500)
    one = await a_buffer(library, target, max_retries=0)
    item = (await library("POST", f"{one}/items", {"body": "1"})).body

    async def failed() -> Any:
        shown = (await library("GET", f"{one}/items/{item['id']}")).body
        return shown if shown["status"] == "failed" else None

    assert (await until(failed, "the item's failure"))["status_code"] == 500
    again = await library("POST", f"{one}/items/{item['id']}/replay")
    assert (again.status, again.body["replay_of"], again.body["status"]) == (201, item["id"], "pending")
    await target.received(2)


async def test_a_429_of_a_buffer_costs_no_retry(library: Fliq, target: Target) -> None:
    target.answers.append(web.Response(status=429, headers={"Retry-After": "7"}))
    one = await a_buffer(library, target, max_retries=1)
    item = (await library("POST", f"{one}/items", {"body": "1"})).body
    await target.received(1)

    async def waits() -> Any:
        shown = (await library("GET", f"{one}/items/{item['id']}")).body
        return shown if shown["status_code"] == 429 else None

    shown = await until(waits, "the item's wait")
    assert (shown["status"], shown["retry_count"]) == ("pending", 0)
    clock(library).advance(timedelta(seconds=8))
    await target.received(2)


async def test_credits_never_fall(either: Fliq) -> None:
    """There are none; but what asks for them finds that there are enough."""
    balance = (await either("GET", "/billing/balance")).body
    assert balance["balance"] == balance["daily_limit"] == 1_000_000_000
    assert balance["plan"] in ("free", "paid")
    assert (await either("GET", "/billing/transactions?limit=5")).body == {"transactions": [], "next_cursor": None}
    assert (await either("GET", "/billing/transactions?limit=0")).status == 400
    paid = await either("POST", "/billing/checkout", {"credits": 100_000})
    assert paid.body == {"url": f"{either.fliqd.url}/{either.voice.name}/billing/balance"}
    assert (await either("POST", "/billing/checkout", {"credits": 0})).status == 400


async def test_tokens(library: Fliq) -> None:
    """A bare array; a new one shows its text once, and works."""
    made = await library("POST", "/tokens", {"name": "ci"})
    assert made.status == 201
    token = made.body.pop("token")
    assert re.fullmatch(r"fliq_sk_[0-9a-f]{64}", token)
    assert made.body == {
        "id": made.body["id"],
        "name": "ci",
        "prefix": token[:16],
        "last_used_at": None,
        "created_at": NOW,
    }
    assert (await library("GET", "/tokens")).body[-1] == made.body
    as_ci = {"Authorization": f"Bearer {token}"}
    assert (await library("GET", "/jobs", headers=as_ci)).status == 200
    assert (await library("GET", "/tokens", headers=as_ci)).status == 403  # it may do what jobs need, and no more
    assert (await library("DELETE", f"/tokens/{made.body['id']}")).status == 204
    assert (await library("DELETE", f"/tokens/{made.body['id']}")).status == 404
    assert (await library("GET", "/jobs", headers=as_ci)).status == 401
    for name in ("", "n" * 257, None, 5):
        assert (await library("POST", "/tokens", {"name": name})).body["code"] == "invalid_name"


async def test_health_needs_no_token(either: Fliq) -> None:
    either.fliqd.token = None
    health = (await either("GET", "/health")).body
    assert (health["status"], health["time"]) == ("ok", NOW)


async def test_the_signing_secret(library: Fliq, target: Target) -> None:
    """It is there from the start, and replaced at once."""
    first = (await library("GET", "/signing-secret")).body
    assert first["secret"].startswith("whsec_")
    rotated = (await library("POST", "/signing-secret/rotate")).body
    assert rotated["secret"] != first["secret"]
    assert (await library("GET", "/signing-secret")).body == rotated
    await library.create(url=target.url, scheduled_at=NOW, body="x")
    [hit] = await target.received(1)
    assert hit.headers["X-Fliq-Signature"] == signature(rotated["secret"], hit, target.url)


# What a target receives


async def test_what_a_target_receives(either: Fliq, target: Target) -> None:
    """The user's headers, Fliq's that nobody can override, and no content type of its own."""
    target.answers.append(500)
    url = f"{target.url}?b=%20&a=1"
    made = await either.create(
        url=url,
        scheduled_at=NOW,
        method="PATCH",
        body="raw ü",
        max_retries=1,
        headers={"X-Mine": "m", "X-Fliq-Delivery-Id": "forged", "x-request-id": "forged", "Content-Length": "1"},
    )
    assert made["headers"] == {"X-Mine": "m", "x-request-id": "forged"}
    await waits_again(either, made["id"], 1)
    clock(either).advance(timedelta(minutes=1))
    first, second = await target.received(2)
    for hit in (first, second):
        assert (hit.method, hit.path, hit.body) == ("PATCH", "/hook?b=%20&a=1", "raw ü".encode())
        assert (hit.headers["X-Mine"], hit.headers["X-Fliq-Delivery-Id"]) == ("m", made["id"])
        assert hit.headers.getall("X-Request-ID") == [hit.headers["X-Request-ID"]]
        assert UUID4.fullmatch(hit.headers["X-Request-ID"])
        assert "Content-Type" not in hit.headers
        assert await signed(either, hit, url)
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert int(second.headers["X-Fliq-Timestamp"]) - int(first.headers["X-Fliq-Timestamp"]) == 60


async def test_a_replay_has_a_delivery_id_of_its_own(library: Fliq, target: Target) -> None:
    target.answers.append(500)
    made = await library.create(url=target.url, scheduled_at=NOW)
    await library.until(made["id"], "failed")
    again = (await library("POST", f"/jobs/{made['id']}/replay")).body
    assert [hit.headers["X-Fliq-Delivery-Id"] for hit in await target.received(2)] == [made["id"], again["id"]]


VECTORS = [
    (
        "whsec_test_secret",
        1767225600,
        "POST",
        "https://hooks.example.com/fliq",
        b'{"job_id":"job_1","status":"completed"}',
        "v1=df2c9ce0c11b246021b3caf16a9e5236b57e351c99e2acded56b23b7ed1a3ad7",
    ),
    (
        "whsec_test_secret",
        1767225600,
        "GET",
        "https://hooks.example.com/ping",
        b"",
        "v1=d41023833201a6f602125f6fee6bd89d73d0182bbfcaf47b6bc35f901b3d1dbc",
    ),
    (
        "whsec_test-secret-123",
        1774094400,
        "POST",
        "https://example.com/webhook",
        b'{"key":"value"}',
        "v1=632da81c97d6bed1844c0406decb039b6276aea77aaeabe29d4dc3ad3d1b736a",
    ),
]


@pytest.mark.parametrize(("secret", "seconds", "method", "url", "body", "expected"), VECTORS)
def test_the_signature_that_these_tests_check(
    secret: str, seconds: int, method: str, url: str, body: bytes, expected: str
) -> None:
    assert sign(secret, seconds, method, url, body) == expected


# Keys


@pytest.mark.parametrize("other", [LIBRARY, PAGES], ids=["library", "pages"])
async def test_a_key_names_the_first_job_for_good(library: Fliq, target: Target, other: Voice) -> None:
    """A repeat answers with it, whatever else it asks for, in either voice, and when it has ended long since."""
    made = await library.create(url=target.url, scheduled_at=NOW, idempotency_key="k")
    await library.until(made["id"], "completed")
    clock(library).advance(timedelta(days=3))
    repeat = {"url": "http://elsewhere.example/", "scheduled_at": "2027-03-05T00:00:00Z", "idempotency_key": "k"}
    again = await Fliq(library.fliqd, other)("POST", "/jobs", repeat)
    assert (again.status, again.body["id"], again.body["url"]) == (200, made["id"], target.url)
    native = await library.fliqd.create(url=target.url, delay="1h", idempotency_key="k")
    assert native["id"] != made["id"]
    assert len(target.hits) == 1


async def test_a_key_names_its_job_when_its_time_has_passed(either: Fliq, target: Target) -> None:
    """The same request again, an hour after the time it names; with a key that is new, it is too late."""
    asked = {"url": target.url, "scheduled_at": NOW, "idempotency_key": "k"}
    made = await either.create(**asked)
    await until_ended(either, made["id"])
    clock(either).advance(timedelta(hours=1))
    again = await either("POST", "/jobs", asked)
    assert (again.status, again.body["id"]) == (200, made["id"])
    assert (await either("POST", "/jobs", asked | {"idempotency_key": "other"})).status == 400
    assert (await either("POST", "/jobs", asked | {"max_retries": 50})).status == 400
    assert len(target.hits) == 1


async def test_keys_at_the_same_time_make_one_job(library: Fliq) -> None:
    asked = {"url": "http://a.example/", "scheduled_at": LATER, "idempotency_key": "k"}
    answers = await asyncio.gather(*(library("POST", "/jobs", asked) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    assert len({answer.body["id"] for answer in answers}) == 1


# Times


async def test_now_is_up_to_a_minute_ago(library: Fliq, target: Target) -> None:
    for at in ("2027-03-01T12:00:00Z", "2027-03-01T11:59:00Z", "2027-03-01T13:59:30+02:00"):
        made = await library.create(url=target.url, scheduled_at=at)
        await library.until(made["id"], "completed")


async def test_a_time_that_has_passed(either: Fliq) -> None:
    """The error of the pages, to the letter."""
    answer = await either("POST", "/jobs", {"url": "http://a.example/", "scheduled_at": "2027-03-01T11:58:59Z"})
    said = {"code": "invalid_scheduled_at", "message": "scheduled_at must be in the future"}
    assert answer.status == 400
    assert answer.body == ({"error": said} if either.voice is PAGES else {"error": said["message"], **said})


async def test_a_time_that_is_none(library: Fliq) -> None:
    for at in (None, "", "tomorrow", "2027-04-01", "2027-04-01T09:00:00", 1803906000, "2027-13-01T00:00:00Z"):
        answer = await library("POST", "/jobs", {"url": "http://a.example/", "scheduled_at": at})
        assert (answer.status, answer.body["code"]) == (400, "invalid_scheduled_at"), at


async def test_times_have_a_fraction_only_where_there_is_one(library: Fliq) -> None:
    for at, shown in (("2027-04-01T09:00:00.120Z", "2027-04-01T09:00:00.12Z"), ("2027-04-01T11:00:00+02:00", LATER)):
        made = await library.create(url="http://a.example/", scheduled_at=at)
        assert made["scheduled_at"] == shown
        assert TIME.fullmatch(made["scheduled_at"])


# Lists


async def test_jobs_come_by_their_time_the_last_due_first(library: Fliq) -> None:
    """In pages of any size each comes once, those of one instant the last made first, though rows come and go."""
    times = ["2027-03-03T00:00:00Z", "2027-03-05T00:00:00Z", *["2027-03-04T00:00:00Z"] * 4, "2027-03-02T00:00:00Z"]
    made = [await library.create(url="http://a.example/", scheduled_at=at) for at in times]
    wanted = [made[1], made[5], made[4], made[3], made[2], made[0], made[6]]
    for limit in (1, 2, 3, 7, 100):
        assert await library.all("/jobs", "jobs", limit=limit) == wanted
    first = (await library("GET", "/jobs?limit=3")).body
    await library.create(url="http://a.example/", scheduled_at="2027-03-04T00:00:00Z")
    rest = (await library("GET", f"/jobs?limit=3&cursor={first['next_cursor']}")).body
    assert first["jobs"] + rest["jobs"] == wanted[:6]


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("pending", 1),
        ("scheduled", 1),
        ("running", 1),
        ("completed", 1),
        ("success", 1),
        ("failed", 1),
        ("cancelled", 1),
    ],
)
async def test_a_list_is_of_one_state_by_any_word_for_it(either: Fliq, target: Target, word: str, number: int) -> None:
    held = target.hold()
    running = await either.create(url=target.url, scheduled_at=NOW)
    await target.received(1)
    target.answers += [200, 500]
    done = await either.create(url=f"{target.url}/2", scheduled_at=NOW)
    await until_ended(either, done["id"])
    failed = await either.create(url=f"{target.url}/3", scheduled_at=NOW)
    await until_ended(either, failed["id"])
    waits = await either.create(url=target.url, scheduled_at=LATER)
    cancelled = await either.create(url=target.url, scheduled_at=LATER)
    assert (await either("DELETE", f"/jobs/{cancelled['id']}")).status == 204
    of = {"pending": waits, "scheduled": waits, "completed": done, "success": done, "running": running,
          "failed": failed, "cancelled": cancelled}  # fmt: skip
    [found] = (await either("GET", f"/jobs?status={word}")).body["jobs"]
    assert found["id"] == of[word]["id"]
    twins = {"pending": "scheduled", "completed": "success"}
    words = (
        (word, {v: k for k, v in twins.items()}.get(word, word))
        if either.voice is LIBRARY
        else (word, twins.get(word, word))
    )
    assert found["status"] == words[1]
    held.set()
    await until_ended(either, running["id"])


async def test_a_list_that_cannot_be(either: Fliq) -> None:
    for query in (
        "limit=0", "limit=101", "limit=x", "limit=-1", "cursor=x", "cursor=%FF", "cursor=" + "A" * 3000,
        "status=nonsense", "status=awaiting_approval", "status=%00", "status=PENDING",
    ):  # fmt: skip
        answer = await either("GET", f"/jobs?{query}")
        assert answer.status == 400, query
        if query.startswith("status") and either.voice is LIBRARY:
            assert answer.body["error"] == "Invalid status value"


async def test_a_cursor_that_is_none_of_ours(library: Fliq) -> None:
    for place in ("[1]", "{}", '["a", 1]', "[-1, 2]", "[1, -2]", f"[{10**30}, 1]", "[" * 2500):
        cursor = base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()
        assert (await library("GET", f"/jobs?cursor={cursor}")).status == 400, place


async def test_what_is_unknown_is_ignored(either: Fliq) -> None:
    made = await either.create(url="http://a.example/", scheduled_at=LATER, delay="5s", queue=7, nonsense=[])
    assert made["scheduled_at"] == LATER
    assert (await either("GET", "/jobs?nonsense=1&limit=5&limit=7")).status == 200


@pytest.mark.parametrize("path", ["/schedules", "/buffers"])
async def test_pages_of_others(library: Fliq, path: str) -> None:
    made = []
    for number in range(5):
        asked = {"name": f"n{number}", "url": "http://a.example/", "cron": "@daily"}
        made.append((await library("POST", path, asked)).body)
    for limit in (1, 2, 5, 100):
        assert await library.all(path, path[1:], limit=limit) == made[::-1]


# Cancelling


async def test_a_job_is_cancelled_while_it_waits(either: Fliq, target: Target) -> None:
    target.answers.append(500)
    retries = await either.create(url=target.url, scheduled_at=NOW, max_retries=1)
    await waits_again(either, retries["id"], 1)
    assert (await either("DELETE", f"/jobs/{retries['id']}")).status == 204
    cancelled = await either.job(retries["id"])
    assert (cancelled["status"], cancelled["completed_at"]) == ("cancelled", NOW)
    refused = await either("DELETE", f"/jobs/{retries['id']}")
    assert refused.status == 409
    if either.voice is LIBRARY:
        assert refused.body["error"] == "Job cannot be cancelled in its current state"


async def test_a_running_job_cannot_be_cancelled(library: Fliq, target: Target) -> None:
    held = target.hold()
    made = await library.create(url=target.url, scheduled_at=NOW)
    await target.received(1)
    assert (await library("DELETE", f"/jobs/{made['id']}")).status == 409
    [attempt] = (await library("GET", f"/jobs/{made['id']}/attempts")).body
    assert (attempt["completed_at"], attempt["duration_ms"], attempt["status_code"]) == (None, None, None)
    [execution] = (await library("GET", f"/jobs/{made['id']}/executions")).body["executions"]
    assert execution["status"] == "running"
    held.set()
    await library.until(made["id"], "completed")


# Cron, in the fields of either name

EXPRESSIONS = [
    ("0 8 * * 7", "0 8 * * 7", "2027-03-07T08:00:00Z"),
    ("0 8 * * SUN", "0 8 * * SUN", "2027-03-07T08:00:00Z"),
    ("@daily", "@daily", "2027-03-02T00:00:00Z"),
    ("@every 1h30m", "@every 1h30m0s", "2027-03-01T13:30:00Z"),
    ("@every 90s", "@every 1m30s", "2027-03-01T12:01:30Z"),
    ("@every 1.9s", "@every 1s", "2027-03-01T12:00:01Z"),
    ("@every 500ms", "@every 1s", "2027-03-01T12:00:01Z"),
    ("CRON_TZ=Asia/Tokyo 30 4 * * *", "CRON_TZ=Asia/Tokyo 30 4 * * *", "2027-03-01T19:30:00Z"),
    ("TZ=Europe/Berlin @hourly", "CRON_TZ=Europe/Berlin @hourly", "2027-03-01T13:00:00Z"),
    ("TZ=UTC 0 0 1 * *", "0 0 1 * *", "2027-04-01T00:00:00Z"),
    ("  */15 * * * *  ", "*/15 * * * *", "2027-03-01T12:15:00Z"),
]
NO_EXPRESSIONS = [
    "61 * * * *", "* * * *", "@every", "@every x", "@every 1d", "@fortnightly", "CRON_TZ=Mars/Base 0 0 * * *",
    "CRON_TZ=UTC", "0 0 30 2 *", "@every 0.0.1s", "",
]  # fmt: skip


@pytest.mark.parametrize("field", ["cron", "cron_expr"])
async def test_cron_expressions(library: Fliq, field: str) -> None:
    """What is shown may be asked for, and means the same."""
    for asked, shown, next_run in EXPRESSIONS:
        for expression in (asked, shown):
            made = await library("POST", "/schedules", {"url": "http://a.example/", field: expression})
            assert made.status == 201, made.body
            assert (made.body["cron"], made.body["cron_expr"], made.body["next_run_at"]) == (shown, shown, next_run)


@pytest.mark.parametrize("field", ["cron", "cron_expr"])
async def test_an_expression_that_is_none(library: Fliq, field: str) -> None:
    for expression in NO_EXPRESSIONS:
        answer = await library("POST", "/schedules", {"url": "http://a.example/", field: expression})
        assert (answer.status, answer.body["error"]) == (400, "Invalid cron expression"), expression
        assert answer.body["code"] == f"invalid_{field}"
        assert answer.body["message"].startswith(field)
    for nothing in ({}, {field: None}):
        answer = await library("POST", "/schedules", {"url": "http://a.example/"} | nothing)
        assert answer.status == 400
        assert re.match("cron(_expr)? is required", answer.body["error"])


async def test_runs_of_a_schedule_do_not_wait_for_each_other(library: Fliq, target: Target) -> None:
    held = target.hold(2)
    await library("POST", "/schedules", {"url": target.url, "cron": "* * * * *"})
    for number in (1, 2):
        clock(library).advance(timedelta(minutes=1))
        await target.received(number)
    held.set()


# Errors


async def test_what_is_not_there(either: Fliq) -> None:
    for method, path, status in (
        ("GET", "/jobs/job_nonsense", 404), ("GET", "/jobs/a%2Fb", 404), ("GET", "/jobs/%00", 404),
        ("DELETE", "/schedules/x", 404), ("GET", "/buffers/x/items/y", 404), ("GET", "/alerts/x", 404),
        ("DELETE", "/tokens/x", 404), ("GET", "/nowhere", 404), ("GET", "/alerts/verify?token=x", 404),
        ("GET", "", 404), ("GET", "/", 404), ("PATCH", "/jobs/x", 405), ("PUT", "/schedules", 405),
    ):  # fmt: skip
        answer = await either(method, path)
        assert answer.status == status, path
        said = answer.body["error"] if either.voice is PAGES else answer.body
        assert said["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
        assert ("Allow" in answer.headers) == (status == 405)


async def test_the_shape_of_errors(library: Fliq, pages: Fliq) -> None:
    """A text for the library, with the code beside it; the object of the pages below `/v1`, and nothing else in it."""
    asked = {"http_method": "POST", "scheduled_at": LATER}
    said = {"code": "invalid_url", "message": "url is required"}
    assert (await library("POST", "/jobs", asked)).body == {"error": "url is required", **said}
    assert (await pages("POST", "/jobs", asked)).body == {"error": said}


async def test_without_a_token(either: Fliq) -> None:
    either.fliqd.token = None
    for headers in ({}, {"Authorization": "Bearer fliq_sk_" + "0" * 64}, {"Authorization": "Token x"}):
        answer = await either("GET", "/jobs", headers=headers)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        if either.voice is LIBRARY:
            assert answer.body["error"] == "Unauthorized"


@pytest.mark.parametrize("path", ["/jobs", "/nowhere", "/health", "/jobs/job_x"])
async def test_headers_of_every_answer(either: Fliq, path: str) -> None:
    answer = await either("GET", path, headers={"X-Request-ID": "mine-1"})
    assert answer.headers["X-Request-ID"] == "mine-1"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert (await either("GET", path)).headers["X-Request-ID"]


async def test_a_field_that_is_wrong(either: Fliq) -> None:
    """It is named as it came, whichever of its names that is."""
    for field, value in (
        ("url", "ftp://a.example/"), ("url", 5), ("url", "http://a.example/" + "x" * 2048), ("url", None),
        ("method", "TRACE"), ("method", "post"), ("http_method", "HEAD"), ("http_method", 1),
        ("headers", {"A": 1}), ("headers", []), ("headers", {"a b": "c"}), ("headers", {"A": "b\r\nC: d"}),
        ("body", {"a": 1}), ("max_retries", 21), ("max_retries", -1), ("max_retries", "3"),
        ("timeout_seconds", 0), ("timeout_seconds", 3601), ("timeout_seconds", "30"), ("backoff", "random"),
        ("idempotency_key", "k" * 257), ("idempotency_key", 5), ("webhook_url", "nonsense"), ("webhook_headers", 5),
    ):  # fmt: skip
        answer = await either("POST", "/jobs", {"url": "http://a.example/", "scheduled_at": LATER, field: value})
        assert answer.status == 400, (field, value)
        said = answer.body["error"] if either.voice is PAGES else answer.body
        assert said["code"] == f"invalid_{field}"
        assert said["message"].startswith(field)


async def test_all_that_is_wrong_is_said_at_once(library: Fliq) -> None:
    answer = await library("POST", "/jobs", {"method": "X", "max_retries": 50, "webhook_url": "x"})
    assert answer.body["code"] == "invalid_url"
    for name in ("url is required", "method: ", "max_retries: ", "scheduled_at is required", "webhook_url: "):
        assert name in answer.body["error"]


@pytest.mark.parametrize("path", ["/jobs", "/schedules", "/buffers", "/alerts", "/tokens", "/billing/checkout"])
async def test_what_is_no_document(library: Fliq, path: str) -> None:
    for data in (
        b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"url": "\\ud800"}', b'{"url": "a\\u0000b"}', b"NaN",
        b'{"a": ' * 5000, b"[" * 100_000, b'{"url": 1e999}', b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b', "url": 1}',
    ):  # fmt: skip
        assert (await library("POST", path, data=data)).status == 400, data[:40]


async def test_a_body_that_cannot_be_taken(either: Fliq) -> None:
    too_large = json.dumps({"url": "http://a.example/", "scheduled_at": LATER, "body": "x" * 2**20}).encode()
    assert (await either("POST", "/jobs", data=too_large)).status == 413
    for kind in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}):
        assert (await either("POST", "/jobs", data=b"{}", headers=kind)).status == 415


async def test_what_fails_within_is_not_explained(either: Fliq, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = either.fliqd.daemon
    assert daemon is not None
    monkeypatch.setattr(type(daemon._store), "job", None)  # noqa: SLF001 -- a bug to meet
    answer = await either("GET", "/jobs/job_01hx0000000000000000000000")
    assert answer.status == 500
    said = answer.body["error"] if either.voice is PAGES else answer.body
    assert said["code"] == "internal"
    assert "NoneType" not in said["message"]


async def test_no_write_while_it_stops(either: Fliq) -> None:
    daemon = either.fliqd.daemon
    assert daemon is not None
    daemon._stopping = True  # noqa: SLF001 -- as it is for the moment of a shutdown
    answer = await either("POST", "/jobs", {"url": "http://a.example/", "scheduled_at": LATER})
    daemon._stopping = False  # noqa: SLF001
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0


# Who may see what


async def test_a_reader_sees_no_secrets(either: Fliq) -> None:
    secret = {"Authorization": "Bearer s3cret", "X-Plain": "p"}
    asked = {
        "url": "http://a.example/",
        "headers": secret,
        "webhook_url": "http://b.example/",
        "webhook_headers": {"K": "s3cret"},
    }
    job = await either.create(scheduled_at=LATER, **asked)
    schedule = (await either("POST", "/schedules", asked | {"cron": "@daily"})).body
    channel = (await either("POST", "/alerts", {"type": "slack", "target": "https://hooks.example/s3cret"})).body
    assert "s3cret" in str(job)
    made = (await either.fliqd("POST", "/v1/tokens", {"name": "r", "scopes": ["read"]})).body
    as_reader = {"Authorization": f"Bearer {made['token']}"}
    for path in (
        "/jobs", f"/jobs/{job['id']}", "/schedules", f"/schedules/{schedule['id']}", "/alerts",
        f"/alerts/{channel['id']}", "/buffers", "/webhooks/deliveries",
    ):  # fmt: skip
        answer = await either("GET", path, headers=as_reader)
        assert answer.status == 200
        assert "s3cret" not in str(answer.body)
    assert "'X-Plain': 'p'" in str((await either("GET", f"/jobs/{job['id']}", headers=as_reader)).body)
    for path in ("/tokens", "/signing-secret"):
        assert (await either("GET", path, headers=as_reader)).status == 403
    assert (await either("DELETE", f"/jobs/{job['id']}", headers=as_reader)).status == 403


# The same jobs, through every API


async def test_a_job_of_fliq_is_one_of_v1(either: Fliq, target: Target) -> None:
    made = await either.create(url=target.url, scheduled_at=LATER, method="PUT", body="b", max_retries=2)
    native = await either.fliqd.job(made["id"])
    assert (native["http_method"], native["body"], native["max_retries"]) == ("PUT", "b", 2)
    assert (native["status"], native["scheduled_at"]) == ("scheduled", "2027-04-01T09:00:00.000Z")
    assert (await either.fliqd("DELETE", f"/v1/jobs/{made['id']}")).status == 204
    assert (await either.job(made["id"]))["status"] == "cancelled"


async def test_a_job_of_v1_is_one_of_fliq(either: Fliq, target: Target) -> None:
    native = await either.fliqd.create(
        url=target.url, delay="1h", json={"a": 1}, query={"q": "1"}, timeout_seconds=1.5, requires_approval=True,
        backoff={"kind": "table", "delays": [1, 2]}, name="n", max_retries=99,
    )  # fmt: skip
    shown = await either.job(native["id"])
    assert (shown["body"], shown["timeout_seconds"], shown["backoff"]) == ('{"a": 1}', 1.5, "table")
    assert shown["status"] == ("pending" if either.voice is LIBRARY else "scheduled")  # for somebody, but it waits
    assert (await either("DELETE", f"/jobs/{native['id']}")).status == 204
    assert (await either("GET", "/jobs")).body["jobs"][0]["id"] == native["id"]


async def test_what_waits_for_somebody_waits(either: Fliq) -> None:
    for more in ({"requires_approval": True}, {}):
        await either.fliqd.create(url="http://a.example/", delay="1h", **more)
    for word in ("pending", "scheduled"):
        assert len((await either("GET", f"/jobs?status={word}")).body["jobs"]) == 2


async def test_a_schedule_of_v1_is_one_of_fliq(library: Fliq, target: Target) -> None:
    asked = {"url": target.url, "every": "36h", "paused": True, "name": "n"}
    native = (await library.fliqd("POST", "/v1/schedules", asked)).body
    shown = (await library("GET", f"/schedules/{native['id']}")).body
    assert (shown["cron_expr"], shown["paused"], shown["status"], shown["next_run_at"]) == (
        "@every 36h0m0s", True, "paused", None,
    )  # fmt: skip
    ran = (await library.fliqd("POST", f"/v1/schedules/{native['id']}/run")).body
    assert (await library.job(ran["id"]))["idempotency_key"] is None


async def test_both_voices_know_the_same(library: Fliq, pages: Fliq) -> None:
    made = await library.create(url="http://a.example/", scheduled_at=LATER)
    assert await pages.job(made["id"]) == made | {"status": "scheduled"}


async def test_what_the_file_declares_stays_the_files(library: Fliq, tmp_path: Path) -> None:
    (tmp_path / "fliqd.toml").write_text('[[schedules]]\nname = "s"\ncron = "@daily"\nurl = "http://a.example/"\n')
    await library.fliqd.stop()
    await library.fliqd.start()
    [schedule] = (await library("GET", "/schedules")).body["schedules"]
    refused = await library("DELETE", f"/schedules/{schedule['id']}")
    assert (refused.status, refused.body["code"]) == (409, "managed_by_config")
    assert (await library("POST", f"/schedules/{schedule['id']}/pause")).status == 204


async def test_where_no_token_is_asked_for(tmp_path: Path, target: Target) -> None:
    """There are none to list then."""
    fliqd = RunningDaemon(tmp_path / "state", FakeClock(), {"FLIQD_AUTH__MODE": "none"})
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.token").write_text("")  # nobody makes one
    await fliqd.start()
    fliqd.token = None
    library = Fliq(fliqd, LIBRARY)
    made = await library.create(url=target.url, scheduled_at=NOW)
    assert (await library.until(made["id"], "completed"))["user_id"] == made["user_id"]
    assert (await library("GET", "/tokens")).status == 404
    await fliqd.stop()
    await fliqd.close()


async def test_there_is_one_user_for_good(library: Fliq) -> None:
    made = await library.create(url="http://a.example/", scheduled_at=LATER)
    await library.fliqd.stop()
    await library.fliqd.start()
    assert (await library.job(made["id"]))["user_id"] == made["user_id"]


# A crash


async def test_a_job_that_a_crash_cuts_off_is_run_again(tmp_path: Path, target: Target) -> None:
    """The delivery id stays; the attempt that was cut off has no end, and costs no retry."""
    target.hold()
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        soon = format_time(int((time.time() + 86_400) * 1000))
        asked = {"url": target.url, "scheduled_at": soon}
        kept = (await fliqd("POST", "/fliq/jobs", asked | {"idempotency_key": "k"})).body
        now = (await fliqd("GET", "/fliq/health")).body["time"]
        made = (await fliqd("POST", "/fliq/jobs", asked | {"scheduled_at": now})).body
        await target.received(1)
        await fliqd.kill()
        await fliqd.start()
        first, second = await target.received(2)
        assert first.headers["X-Fliq-Delivery-Id"] == second.headers["X-Fliq-Delivery-Id"] == made["id"]
        await fliqd.until(made["id"], "success")
        attempts = (await fliqd("GET", f"/fliq/jobs/{made['id']}/attempts")).body
        assert [(one["attempt_num"], one["completed_at"] is None) for one in attempts] == [(2, False), (1, True)]
        again = await fliqd("POST", "/fliq/jobs", asked | {"idempotency_key": "k"})
        assert (again.status, again.body["id"]) == (200, kept["id"])


# The document


@pytest.mark.parametrize("voice", [LIBRARY, PAGES], ids=["library", "pages"])
async def test_the_document_has_every_route_and_no_other(fliqd: RunningDaemon, voice: Voice) -> None:
    assert fliqd.daemon is not None
    others = tuple(f"/{one.name}/" for one in (LIBRARY, PAGES) if len(one.name) > len(voice.name))
    mine = f"/{voice.name}/"
    found = {
        (route.method, route.resource.canonical.removeprefix(mine[:-1]))
        for route in fliqd.daemon.application.router.routes()
        if route.resource is not None
        and route.method != "HEAD"
        and route.resource.canonical.startswith(mine)
        and not route.resource.canonical.startswith(others or ("-",))
    }
    assert found == set(OPERATIONS)
    served = (await fliqd("GET", f"/{voice.name}/openapi.json")).body
    assert served == document(voice)
    names = set(re.findall(r"'#/components/schemas/(\w+)'", str(served)))
    assert names <= served["components"]["schemas"].keys()
    for schema in served["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    ids = [told["operationId"] for path in served["paths"].values() for told in path.values()]
    assert len(set(ids)) == len(ids)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "url": st.just("http://a.example/") | st.text(max_size=30),
    "scheduled_at": st.just(LATER) | st.datetimes().map(lambda when: f"{when.isoformat()}Z"),
    "method": st.sampled_from(["GET", "PUT"]),
    "http_method": st.sampled_from(["GET", "PUT"]),
    "cron": st.just("@daily") | st.text("0123456789*/-,@LW# TZ=", max_size=20),
    "cron_expr": st.just("@every 1h") | st.text("@every 0123456789.hms", max_size=20),
    "headers": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    "max_retries": st.integers(-5, 25),
    "rate_limit": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    "name": st.text(max_size=5),
    "type": st.sampled_from(["webhook", "slack", "email"]),
    "target": st.just("https://a.example/x"),
    "enabled": st.booleans(),
    "credits": st.integers(),
}
NAMES = [*FITTING, "body", "timeout_seconds", "backoff", "webhook_url", "webhook_headers", "idempotency_key", "x"]
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), JUNK, max_size=6).flatmap(
    lambda junk: st.fixed_dictionaries({}, optional=FITTING).map(lambda fitting: fitting | junk)
)
CALLS = sorted(OPERATIONS)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_whatever_is_asked_is_answered_as_told(data: st.DataObject, fuzzed: "Fuzzed") -> None:
    """Any call with any document: an answer that the document knows, and never a 500."""
    method, path = data.draw(st.sampled_from(CALLS))
    voice = data.draw(st.sampled_from([LIBRARY, PAGES]))
    ids = st.sampled_from(["x", "%2F", "job_01hx0000000000000000000000", "%F0%9F%A6%84", *fuzzed.ids])
    path = re.sub(r"\{\w+\}", lambda _: data.draw(ids), path)
    body = data.draw(DOCUMENTS | JUNK) if method in ("POST", "PATCH") else None
    if path == "/signing-secret/rotate":
        return  # a file, each time
    answer = fuzzed.call(voice, method, path, body)
    assert answer.status < 500


class Fuzzed:
    """A daemon on a loop of its own, for properties that are no coroutines."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fliqd: RunningDaemon) -> None:
        self._loop = loop
        self._fliqd = fliqd
        self._clients = {voice: Fliq(fliqd, voice) for voice in (LIBRARY, PAGES)}
        self.ids: list[str] = []

    def call(self, voice: Voice, method: str, path: str, body: Any) -> Answer:
        return self._loop.run_until_complete(self._clients[voice](method, path, body))


@pytest.fixture
def fuzzed(tmp_path: Path) -> Iterator[Fuzzed]:
    with asyncio.Runner() as runner:
        fliqd = runner.run(_started(tmp_path))
        fuzzed = Fuzzed(runner.get_loop(), fliqd)
        for path, more in (
            ("/jobs", {"scheduled_at": LATER}),
            ("/schedules", {"cron": "@daily"}),
            ("/buffers", {"name": "b"}),
            ("/alerts", {"type": "slack", "target": "http://a.example/"}),
        ):
            fuzzed.ids.append(fuzzed.call(LIBRARY, "POST", path, {"url": "http://a.example/", **more}).body["id"])
        yield fuzzed
        runner.run(fliqd.stop())
        runner.run(fliqd.close())


async def _started(tmp_path: Path) -> RunningDaemon:
    fliqd = RunningDaemon(tmp_path / "state", FakeClock(), {})
    await fliqd.start()
    return fliqd


# What these tests share


def clock(fliq: Fliq) -> FakeClock:
    found = fliq.fliqd.clock
    assert isinstance(found, FakeClock)
    return found


async def a_buffer(fliq: Fliq, target: Target, **more: Any) -> str:
    made = await fliq("POST", "/buffers", {"name": "b", "url": target.url, "rate_limit": 10, **more})
    assert made.status == 201, made.body
    return f"/buffers/{made.body['id']}"


async def until_ended(fliq: Fliq, job_id: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        job = await fliq.job(job_id)
        return job if job["completed_at"] else None

    return await until(ended, f"the end of {job_id}")


async def waits_again(fliq: Fliq, job_id: str, attempts: int) -> None:
    """Wait until an attempt has failed and the next one has its time."""
    await fliq.fliqd.until(job_id, "scheduled", executions=attempts)


def sign(secret: str, seconds: int, method: str, url: str, body: bytes) -> str:
    text = b".".join((str(seconds).encode(), method.encode(), url.encode(), body))
    return "v1=" + hmac.digest(secret.encode(), text, hashlib.sha256).hex()


def signature(secret: str, hit: Hit, url: str) -> str:
    return sign(secret, int(hit.headers["X-Fliq-Timestamp"]), hit.method, url, hit.body)


async def signed(fliq: Fliq, hit: Hit, url: str) -> bool:
    secret = (await fliq("GET", "/signing-secret")).body["secret"]
    return hit.headers["X-Fliq-Signature"] == signature(secret, hit, url)
