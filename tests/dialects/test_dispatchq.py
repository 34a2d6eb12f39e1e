"""`/dispatchq`: the API of DispatchQ as its pages describe it, and as ours do where those say nothing."""

import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fliqd.core.stand_ins import dispatchq_signature
from fliqd.daemon import Daemon
from fliqd.dialects.dispatchq.operations import OPERATIONS, document
from tests.dialects.speaking import Speaker, routes_below
from tests.pages import blocks_of
from tests.support import JOB_ID, FakeClock, Hit, RunningDaemon, Target, process, until

FIELDS = {
    "id", "status", "url", "method", "queue", "attempts", "max_attempts", "created_at", "required_approval",
    "deduplicated", "headers", "dedupe_key", "delay_until", "started_at", "finished_at", "next_retry_at", "last_error",
    "response_code", "response_body", "duration_ms", "approved_at", "approved_by", "callback_url", "schedule_id",
    "idempotency_key", "actions",
}  # fmt: skip
PAGE = Path(__file__).parents[2] / "docs/how-to/from-dispatchq.md"
NOW = "2027-03-01T12:00:00.000Z"


@pytest.fixture
def dispatchq(fliqd: RunningDaemon) -> Speaker:
    return Speaker(fliqd, "dispatchq", document())


async def made(dispatchq: Speaker, target: Target, **fields: Any) -> dict[str, Any]:
    answer = await dispatchq("POST", "/v1/jobs", {"url": target.url} | fields)
    assert answer.status == 201, answer.body
    job: dict[str, Any] = answer.body
    assert JOB_ID.fullmatch(job["id"])
    return job


async def read(dispatchq: Speaker, job: dict[str, Any]) -> dict[str, Any]:
    answer = await dispatchq("GET", f"/v1/jobs/{job['id']}")
    assert answer.status == 200
    found: dict[str, Any] = answer.body
    return found


async def became(dispatchq: Speaker, job: dict[str, Any], status: str, attempts: int | None = None) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        found = await read(dispatchq, job)
        return found if found["status"] == status and attempts in (None, found["attempts"]) else None

    return await until(there, f"{status} of {job['id']}")


class WithoutTokens(RunningDaemon):
    """A daemon that asks for none, and so has none for its first caller."""

    async def start(self) -> None:
        self.daemon = await Daemon.start(self.config, self.clock)
        self.url = self.daemon.urls[0]


def signed(key: str | None, body: bytes) -> str:
    return "sha256=" + hmac.new((key or "").encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (b'{"hello":"world"}', "2ba75fef6688cb75737958ae1091ba2d765e6d4db0bb1670ddd7fa52a08c98a8"),
        (b"{}", "74b14c1dd595949bc3182a30b461105b140484787ce1f3567946ac5aa0d609e5"),
        (b"", "71663fa1cfa6501bd0562fd749e4d28720b1a9692e9161d8e7cc53d9e05fbf8a"),
    ],
)
def test_the_signature_is_that_of_dispatchq(body: bytes, signature: str) -> None:
    assert dispatchq_signature("dq_test_key", body) == f"sha256={signature}"


async def test_a_job_is_answered_in_full(dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    job = await made(
        dispatchq,
        target,
        method="PUT",
        payload={"hello": "world"},
        headers={"X-From": "dispatchq"},
        delay="5m",
        dedupe_key="order-1",
        max_attempts=50,
        requires_approval=False,
        callback_url=target.url + "/called",
        queue="mail",
    )
    assert job == {
        "id": job["id"],
        "status": "pending",
        "url": target.url,
        "method": "PUT",
        "queue": "mail",
        "attempts": 0,
        "max_attempts": 50,
        "created_at": NOW,
        "required_approval": False,
        "deduplicated": False,
        "payload": {"hello": "world"},
        "headers": {"X-From": "dispatchq"},
        "dedupe_key": "order-1",
        "delay_until": "2027-03-01T12:05:00.000Z",
        "started_at": None,
        "finished_at": None,
        "next_retry_at": None,
        "last_error": None,
        "response_code": None,
        "response_body": None,
        "duration_ms": None,
        "approved_at": None,
        "approved_by": None,
        "callback_url": target.url + "/called",
        "schedule_id": None,
        "idempotency_key": None,
        "actions": ["cancel"],
    }
    assert await read(dispatchq, job) == job
    target.answers.append(web.json_response({"done": [1, 2]}))
    clock.advance(timedelta(minutes=5))
    done = await became(dispatchq, job, "completed")
    changed = {name: done[name] for name in ("started_at", "finished_at", "duration_ms")}
    assert None not in changed.values()
    assert done == job | changed | {
        "status": "completed",
        "attempts": 1,
        "response_code": 200,
        "response_body": {"done": [1, 2]},
        "actions": [],
    }


async def test_what_is_left_out_has_its_default(dispatchq: Speaker, target: Target) -> None:
    released = target.hold()
    job = await made(dispatchq, target)
    assert job.keys() == FIELDS
    assert (job["method"], job["queue"], job["max_attempts"], job["delay_until"]) == ("POST", "default", 3, None)
    [hit] = await target.received(1)
    assert (hit.method, hit.body) == ("POST", b"")
    active = await read(dispatchq, job)
    assert (active["status"], active["attempts"], active["actions"]) == ("active", 1, [])
    released.set()
    await became(dispatchq, job, "completed")


async def test_what_the_target_gets(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    target.answers.append(503)
    ours = {"x-dispatchq-signature": "mine", "content-type": "text/plain", "X-DispatchQ-Job-Id": "mine"}
    job = await made(dispatchq, target, payload={"hello": "world"}, headers=ours | {"X-Mine": "yes"})
    await became(dispatchq, job, "pending", attempts=1)
    fliqd.clock.advance(timedelta(seconds=20))
    for attempt, hit in enumerate(await target.received(2), 1):
        assert hit.body == b'{"hello":"world"}'
        assert hit.headers.getall("X-DispatchQ-Signature") == [signed(fliqd.token, hit.body)]
        assert hit.headers.getall("X-DispatchQ-Job-Id") == [job["id"]]
        assert hit.headers.getall("X-DispatchQ-Attempt") == [str(attempt)]
        assert hit.headers.getall("Content-Type") == ["application/json"]
        assert hit.headers["X-Mine"] == "yes"
    await made(dispatchq, target, method="GET")
    empty = (await target.received(3))[2]
    assert (empty.method, empty.body, empty.headers["Content-Type"]) == ("GET", b"", "application/json")
    assert empty.headers["X-DispatchQ-Signature"] == signed(fliqd.token, b"")


async def test_the_sample_that_verifies_signatures(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    """That of the page, word for word."""
    [sample] = [block.text for block in blocks_of(PAGE) if block.language == "python"]
    names: dict[str, Any] = {}
    exec(sample, names)  # noqa: S102 -- it is our own page
    await made(dispatchq, target, payload={"hello": "world"})
    [hit] = await target.received(1)
    assert names["is_from_dispatchq"](fliqd.token, dict(hit.headers), hit.body)
    assert not names["is_from_dispatchq"](fliqd.token, dict(hit.headers), hit.body + b" ")


async def test_the_key_that_made_a_job_signs_it(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    """Also when the daemon has started anew meanwhile, and when the key has been revoked."""
    token = (await fliqd("POST", "/v1/tokens", {"name": "other"})).body
    other = {"Authorization": f"Bearer {token['token']}"}
    body = {"url": target.url, "payload": {"a": "é"}, "delay": "1h"}
    assert (await dispatchq("POST", "/v1/jobs", body, headers=other)).status == 201
    await made(dispatchq, target, delay="1h")
    await fliqd("DELETE", f"/v1/tokens/{token['id']}")
    await fliqd.stop()
    await fliqd.start()
    fliqd.clock.advance(timedelta(hours=1))
    hits = await target.received(2)
    keys = {hit.headers["X-DispatchQ-Signature"]: hit.body for hit in hits}
    payload = rb'{"a":"\u00e9"}'  # written as it came
    assert keys == {signed(token["token"], payload): payload, signed(fliqd.token, b""): b""}


async def test_without_tokens_nothing_is_signed(tmp_path: Path, clock: FakeClock, target: Target) -> None:
    """Where `auth.mode` is none there is no key to sign with."""
    fliqd = WithoutTokens(tmp_path / "state", clock, {"FLIQD_AUTH__MODE": "none"})
    await fliqd.start()
    try:
        body = {"url": target.url, "callback_url": target.url}
        job = (await fliqd("POST", "/dispatchq/v1/jobs", body)).body
        hit, told = await target.received(2)
        assert hit.headers["X-DispatchQ-Job-Id"] == job["id"]
        assert told.json["status"] == "completed"
        assert ["X-DispatchQ-Signature" in one.headers for one in (hit, told)] == [False, False]
    finally:
        await fliqd.stop()
        await fliqd.close()


async def test_retries_wait_twice_as_long_each_time(dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    waits = (20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600)
    target.answers += [500] * 12
    job = await made(dispatchq, target, max_attempts=11)
    for attempts, wait in enumerate(waits, 1):
        pending = await became(dispatchq, job, "pending", attempts=attempts)
        assert pending["retries_remaining"] == 11 - attempts
        assert pending["next_retry_in_seconds"] == wait
        assert pending["next_retry_at"] is not None
        assert (pending["response_code"], pending["response_body"]) == (500, "hello")
        clock.advance(timedelta(seconds=wait))
    failed = await became(dispatchq, job, "failed")
    assert failed.keys() == FIELDS
    assert (failed["attempts"], failed["actions"], failed["next_retry_at"]) == (11, ["retry"], None)
    assert failed["last_error"] == "bad_status: the target answered 500"


async def test_a_retry_that_is_under_way(dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    """It shows what came of the attempt before."""
    target.answers.append(500)
    released = target.hold()
    job = await made(dispatchq, target)
    await became(dispatchq, job, "pending", attempts=1)
    clock.advance(timedelta(seconds=20))
    active = await became(dispatchq, job, "active", attempts=2)
    assert (active["retries_remaining"], active["response_code"]) == (1, 500)
    assert "next_retry_in_seconds" not in active
    released.set()
    assert (await became(dispatchq, job, "completed"))["response_code"] == 200


async def test_it_has_thirty_seconds(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    job = await made(dispatchq, target, delay="1h")
    assert (await fliqd.job(job["id"]))["timeout_seconds"] == 30


async def test_one_attempt_is_no_retry(dispatchq: Speaker, target: Target) -> None:
    target.answers.append(500)
    job = await made(dispatchq, target, max_attempts=1)
    assert (await became(dispatchq, job, "failed"))["attempts"] == 1


@pytest.mark.parametrize(
    ("delay", "until_"),
    [
        ("30s", "2027-03-01T12:00:30.000Z"),
        ("5m", "2027-03-01T12:05:00.000Z"),
        ("1h", "2027-03-01T13:00:00.000Z"),
        ("1d", "2027-03-02T12:00:00.000Z"),
        ("007s", "2027-03-01T12:00:07.000Z"),
        ("0s", None),
        (None, None),
    ],
)
async def test_delays(dispatchq: Speaker, target: Target, delay: str | None, until_: str | None) -> None:
    job = await made(dispatchq, target, delay=delay)
    assert job["delay_until"] == until_


@pytest.mark.parametrize(
    "delay", ["", "5", "s", "5 m", "-5m", "1.5h", "5w", "1h30m", "5M", "\u0665s", "5m\n", "9" * 5000 + "d"]
)
async def test_other_delays_are_refused(dispatchq: Speaker, target: Target, delay: str) -> None:
    answer = await dispatchq("POST", "/v1/jobs", {"url": target.url, "delay": delay})
    assert (answer.status, answer.code) == (400, "invalid_delay")
    assert answer.body["error"]["details"][0]["field"] == "delay"


# Approval, and who is told


async def test_approval(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    """A reviewer hears of it once, approves it without a body, and it leaves."""
    job = await made(dispatchq, target, requires_approval=True, callback_url=target.url + "/told", payload={"a": 1})
    assert (job["status"], job["required_approval"], job["actions"]) == (
        "awaiting_approval",
        True,
        ["approve", "cancel"],
    )
    [told] = await target.received(1)
    assert (told.path, told.json["status"], told.json["id"]) == ("/hook/told", "awaiting_approval", job["id"])
    assert told.headers["X-DispatchQ-Signature"] == signed(fliqd.token, told.body)
    approved = await dispatchq("POST", f"/v1/jobs/{job['id']}/approve")
    assert approved.status == 200
    assert approved.body == job | {
        "status": "pending",
        "approved_at": NOW,
        "approved_by": "admin",
        "actions": ["cancel"],
    }
    _, hit, ended = await target.received(3)
    assert (hit.path, hit.json) == ("/hook", {"a": 1})
    assert ended.json["status"] == "completed"
    again = await dispatchq("POST", f"/v1/jobs/{job['id']}/approve")
    assert (again.status, again.code) == (409, "not_approvable")


async def test_a_delay_counts_from_the_creation(dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    job = await made(dispatchq, target, requires_approval=True, delay="1h")
    clock.advance(timedelta(minutes=30))
    approved = (await dispatchq("POST", f"/v1/jobs/{job['id']}/approve")).body
    assert approved["delay_until"] == job["delay_until"] == "2027-03-01T13:00:00.000Z"
    clock.advance(timedelta(minutes=30))
    await became(dispatchq, job, "completed")


@pytest.mark.parametrize("requires_approval", [True, False])
async def test_a_cancellation_is_told(dispatchq: Speaker, target: Target, requires_approval: bool) -> None:  # noqa: FBT001 -- both cases
    job = await made(
        dispatchq, target, delay="1h", requires_approval=requires_approval, callback_url=target.url + "/told"
    )
    cancelled = (await dispatchq("POST", f"/v1/jobs/{job['id']}/cancel")).body
    assert (cancelled["status"], cancelled["actions"], cancelled["finished_at"]) == ("cancelled", ["retry"], NOW)
    told = await target.received(2 if requires_approval else 1)
    assert [hit.path for hit in told] == ["/hook/told"] * len(told)
    assert told[-1].json == {
        "id": job["id"],
        "job_id": job["id"],
        "status": "cancelled",
        "attempts": 0,
        "max_attempts": 3,
        "response_code": None,
        "response_body": None,
        "duration_ms": None,
        "last_error": None,
        "finished_at": NOW,
    }
    for action, code in (("cancel", "not_cancellable"), ("approve", "not_approvable")):
        answer = await dispatchq("POST", f"/v1/jobs/{job['id']}/{action}")
        assert (answer.status, answer.code) == (409, code)


def told_of(hits: list[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.path == "/hook/told"]


async def test_a_callback_tells_how_it_ended(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    target.answers += [web.json_response({"ok": True}), 200, 500, 503]
    good = await made(dispatchq, target, callback_url=target.url + "/told")
    told = told_of(await target.received(2))[0]
    done = await became(dispatchq, good, "completed")
    shown = ("id", "status", "attempts", "max_attempts", "response_code", "response_body", "duration_ms", "last_error")
    assert told.json == {name: done[name] for name in (*shown, "finished_at")} | {"job_id": good["id"]}
    assert told.headers["Content-Type"] == "application/json"
    assert told.headers["X-DispatchQ-Signature"] == signed(fliqd.token, told.body)

    bad = await made(dispatchq, target, callback_url=target.url + "/told", max_attempts=1)
    refused = (await target.received(4))[3]  # a 503, so that it is told again
    assert refused.json["status"] == "failed"
    assert refused.json["last_error"] == "bad_status: the target answered 500"
    fliqd.clock.advance(timedelta(seconds=30))
    again = (await target.received(5))[4]
    assert again.body == refused.body
    assert (await read(dispatchq, bad))["status"] == "failed"


async def test_other_apis_keep_their_callbacks(fliqd: RunningDaemon, target: Target) -> None:
    await fliqd.create(url=target.url, delay=0, callback_url=target.url + "/told")
    told = told_of(await target.received(2))[0]
    assert told.json.keys() == {"job_id", "id", "status", "headers", "body", "truncated", "duration_ms", "error"}
    assert "X-DispatchQ-Signature" not in told.headers


# The same work


async def test_an_idempotency_key_holds_for_a_day(dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    key = {"Idempotency-Key": "order-1"}
    target.answers.append(500)
    body = {"url": target.url, "max_attempts": 1}
    first = await dispatchq("POST", "/v1/jobs", body, headers=key)
    assert (first.status, first.body["idempotency_key"], first.body["deduplicated"]) == (201, "order-1", False)
    failed = await became(dispatchq, first.body, "failed")  # which changes nothing
    clock.advance(timedelta(hours=24) - timedelta(milliseconds=1))
    same = await dispatchq("POST", "/v1/jobs", {"url": target.url + "/other"}, headers=key)
    assert (same.status, same.body) == (200, failed | {"deduplicated": True})
    assert not (await read(dispatchq, first.body))["deduplicated"]
    clock.advance(timedelta(milliseconds=1))
    new = await dispatchq("POST", "/v1/jobs", body, headers=key)
    assert (new.status, new.body["deduplicated"]) == (201, False)
    assert new.body["id"] != first.body["id"]


async def test_a_dedupe_key_names_work_for_a_day(dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    """What has failed is not done."""
    target.answers.append(500)
    body = {"url": target.url, "dedupe_key": "order-1", "max_attempts": 1}
    failed = (await dispatchq("POST", "/v1/jobs", body)).body
    await became(dispatchq, failed, "failed")
    done = await dispatchq("POST", "/v1/jobs", body)
    assert (done.status, done.body["deduplicated"]) == (201, False)
    completed = await became(dispatchq, done.body, "completed")
    clock.advance(timedelta(hours=24) - timedelta(milliseconds=1))
    same = await dispatchq("POST", "/v1/jobs", body)
    assert (same.status, same.body) == (200, completed | {"deduplicated": True})
    clock.advance(timedelta(milliseconds=1))
    assert (await dispatchq("POST", "/v1/jobs", body)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_a_key_has_its_length(dispatchq: Speaker, target: Target, key: str) -> None:
    answer = await dispatchq("POST", "/v1/jobs", {"url": target.url}, headers={"Idempotency-Key": key})
    assert (answer.status, answer.code) == (400, "validation_error")


async def test_the_keys_of_other_apis_are_others(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    await fliqd.create(url=target.url, delay=0, idempotency_key="k", dedupe_key="d")
    answer = await dispatchq(
        "POST", "/v1/jobs", {"url": target.url, "dedupe_key": "d"}, headers={"Idempotency-Key": "k"}
    )
    assert answer.status == 201


# Lists, and doing it again


async def test_the_list(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    native = await fliqd.create(url=target.url, delay="1h")
    jobs = [await made(dispatchq, target, delay="1h", queue="mail") for _ in range(3)]
    await dispatchq("POST", f"/v1/jobs/{jobs[1]['id']}/cancel")
    listed = (await dispatchq("GET", "/v1/jobs")).body
    ids = [jobs[2]["id"], jobs[1]["id"], jobs[0]["id"], native["id"]]
    assert [job["id"] for job in listed["data"]] == ids
    assert {name: listed[name] for name in ("total", "limit", "offset")} == {"total": 4, "limit": 20, "offset": 0}
    assert listed["data"][0] == jobs[2]
    part = (await dispatchq("GET", "/v1/jobs?limit=2&offset=1")).body
    assert ([job["id"] for job in part["data"]], part["total"]) == (ids[1:3], 4)
    assert (part["limit"], part["offset"]) == (2, 1)
    for query, found in (
        ("status=pending", [ids[0], ids[2], ids[3]]),
        ("status=cancelled", [ids[1]]),
        ("status=active", []),
        ("queue=mail&limit=2", ids[:2]),
        ("queue=mail&status=pending", [ids[0], ids[2]]),
        ("queue=nothing", []),
        ("offset=4", []),
        ("unknown=1", ids),
    ):
        assert [job["id"] for job in (await dispatchq("GET", f"/v1/jobs?{query}")).body["data"]] == found


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "offset=-1", "offset=" + "9" * 30, "status=done", "queue=a%00b", "limit="],
)
@pytest.mark.parametrize("path", ["jobs", "schedules"])
async def test_wrong_queries(dispatchq: Speaker, query: str, path: str) -> None:
    answer = await dispatchq("GET", f"/v1/{path}?{query}")
    if path == "schedules" and not query.startswith(("limit", "offset")):
        assert answer.status == 200
        return
    assert (answer.status, answer.code) == (400, "invalid_query")
    assert answer.body["error"]["details"][0]["field"] == query.partition("=")[0]


async def test_doing_it_again_makes_a_new_job(dispatchq: Speaker, target: Target) -> None:
    target.answers.append(500)
    body = {"max_attempts": 1, "payload": {"a": 1}, "dedupe_key": "d", "queue": "mail"}
    failed = await became(dispatchq, await made(dispatchq, target, **body), "failed")
    cancelled = await made(dispatchq, target, delay="1h")
    await dispatchq("POST", f"/v1/jobs/{cancelled['id']}/cancel")
    for job in (failed, cancelled):
        before = await read(dispatchq, job)
        again = await dispatchq("POST", f"/v1/jobs/{job['id']}/retry")
        assert again.status == 201
        assert again.body["id"] != job["id"]
        same = ("url", "method", "queue", "max_attempts", "headers")
        assert {name: again.body[name] for name in same} == {name: job[name] for name in same}
        assert again.body.get("payload") == job.get("payload")
        assert (again.body["attempts"], again.body["status"]) == (0, "pending")
        assert await read(dispatchq, job) == before
        done = await became(dispatchq, again.body, "completed")
        refused = await dispatchq("POST", f"/v1/jobs/{done['id']}/retry")
        assert (refused.status, refused.code) == (409, "not_retryable")


# Errors


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "missing_field", "url"),
        ({"url": None}, "missing_field", "url"),
        ({"url": 5}, "validation_error", "url"),
        ({"url": "ftp://x/"}, "validation_error", "url"),
        ({"url": "http://x/", "method": "HEAD"}, "validation_error", "method"),
        ({"url": "http://x/", "method": "get"}, "validation_error", "method"),
        ({"url": "http://x/", "payload": []}, "validation_error", "payload"),
        ({"url": "http://x/", "payload": "{}"}, "validation_error", "payload"),
        ({"url": "http://x/", "headers": {"A": 1}}, "validation_error", "headers"),
        ({"url": "http://x/", "headers": {"Host": "x"}}, "validation_error", "headers.Host"),
        ({"url": "http://x/", "max_attempts": 0}, "validation_error", "max_attempts"),
        ({"url": "http://x/", "max_attempts": 101}, "validation_error", "max_attempts"),
        ({"url": "http://x/", "max_attempts": True}, "validation_error", "max_attempts"),
        ({"url": "http://x/", "queue": "a b"}, "validation_error", "queue"),
        ({"url": "http://x/", "callback_url": "x"}, "validation_error", "callback_url"),
        ({"url": "http://x/", "dedupe_key": ""}, "validation_error", "dedupe_key"),
        ({"url": "http://x/", "requires_approval": "yes"}, "validation_error", "requires_approval"),
        ({"url": "http://x/", "delay": 5}, "invalid_delay", "delay"),
        ([], "invalid_request", "body"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(dispatchq: Speaker, body: Any, code: str, field: str) -> None:
    answer = await dispatchq("POST", "/v1/jobs", data=json.dumps(body).encode(), headers={"X-Request-Id": "mine"})
    assert (answer.status, answer.code) == (400, code)
    error = answer.body["error"]
    assert error.keys() == {"code", "message", "details", "request_id"}
    assert [detail["field"] for detail in error["details"]] == [field]
    assert error["request_id"] == answer.headers["X-Request-Id"] == "mine"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", "invalid_request"),
        (b"\xff", "invalid_request"),
        (b'{"dedupe_key": "\\u0000"}', "invalid_request"),
        (b'{"dedupe_key": "\\ud800"}', "invalid_request"),
        (b'{"url": "http://x/", "payload": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", "invalid_request"),
        (b'{"payload": {"a": NaN}}', "invalid_request"),
        (b" ", "missing_body"),
        (b"", "missing_body"),
    ],
)
@pytest.mark.parametrize("path", ["jobs", "schedules"])
async def test_what_is_no_json_is_refused(dispatchq: Speaker, data: bytes, code: str, path: str) -> None:
    answer = await dispatchq("POST", f"/v1/{path}", data=data)
    assert (answer.status, answer.code) == (400, code)


async def test_a_type_is_asked_for_where_there_is_a_body(dispatchq: Speaker, target: Target) -> None:
    job = await made(dispatchq, target, delay="1h")
    for path in ("/v1/jobs", f"/v1/jobs/{job['id']}/cancel"):
        answer = await dispatchq("POST", path, data=b"{}", headers={"Content-Type": "text/plain"})
        assert (answer.status, answer.code) == (415, "invalid_content_type")
    nothing = await dispatchq("POST", "/v1/jobs")
    assert (nothing.status, nothing.code) == (400, "missing_body")
    typed = {"Content-Type": "application/json; charset=utf-8"}
    body = json.dumps({"url": target.url}).encode()
    assert (await dispatchq("POST", "/v1/jobs", data=body, headers=typed)).status == 201
    assert (await dispatchq("POST", f"/v1/jobs/{job['id']}/cancel")).status == 200


async def test_other_refusals_have_its_shape(fliqd: RunningDaemon, dispatchq: Speaker) -> None:
    reader = (await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})).body["token"]
    nobody = {"Authorization": "Bearer dq_1234"}
    for status, code, answer in (
        (401, "unauthorized", await dispatchq("GET", "/v1/jobs", headers=nobody)),
        (403, "forbidden", await dispatchq("POST", "/v1/jobs", {}, headers={"Authorization": f"Bearer {reader}"})),
        (404, "not_found", await dispatchq("GET", "/v1/nothing")),
        (404, "not_found", await dispatchq("GET", "/jobs")),
        (404, "not_found", await dispatchq("GET", "/v1/jobs/job_M4qT8YH7xW2pL9nB")),
        (404, "not_found", await dispatchq("GET", "/v1/jobs/job%2F1")),
        (404, "not_found", await dispatchq("POST", f"/v1/jobs/job_{'0' * 26}/approve")),
        (404, "not_found", await dispatchq("GET", f"/v1/schedules/sched_{'0' * 26}")),
        (404, "not_found", await dispatchq("GET", f"/v1/schedules/sch_{'0' * 26}")),
        (405, "method_not_allowed", await dispatchq("DELETE", "/v1/jobs")),
        (413, "payload_too_large", await dispatchq("POST", "/v1/jobs", data=b" " * 1_100_000)),
        (421, "misdirected_request", await dispatchq("GET", "/v1/jobs", headers={"Host": "evil.example"})),
    ):
        assert (answer.status, answer.code) == (status, code), answer.body
        assert answer.body["error"]["details"] == []
        assert answer.body["error"]["request_id"] == answer.headers["X-Request-Id"]
        assert answer.headers["X-Request-Id"].startswith("req_")
    assert (await dispatchq("DELETE", "/v1/jobs")).headers["Allow"] == "GET,HEAD,POST"


async def test_an_active_job_cannot_be_cancelled(dispatchq: Speaker, target: Target) -> None:
    released = target.hold()
    job = await made(dispatchq, target)
    await target.received(1)
    for action, code in (("cancel", "cancellable"), ("approve", "approvable"), ("retry", "retryable")):
        answer = await dispatchq("POST", f"/v1/jobs/{job['id']}/{action}")
        assert (answer.status, answer.code) == (409, f"not_{code}")
    released.set()


async def test_what_it_does_not_know_is_let_pass(dispatchq: Speaker, target: Target) -> None:
    await made(dispatchq, target, timezone="Mars/Olympus", retries=[])


async def test_who_may_only_read_sees_no_secrets(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    job = await made(dispatchq, target, headers={"Authorization": "Bearer x", "X-A": "b"}, delay="1h")
    reader = (await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})).body["token"]
    headers = {"Authorization": f"Bearer {reader}"}
    shown = (await dispatchq("GET", f"/v1/jobs/{job['id']}", headers=headers)).body
    assert shown == job | {"headers": {"Authorization": "***", "X-A": "b"}}
    assert (await dispatchq("GET", "/v1/jobs", headers=headers)).body["data"] == [shown]


# Schedules


async def test_a_schedule(fliqd: RunningDaemon, dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    body = {
        "name": "nightly",
        "cron": "30 12 * * *",
        "url": target.url,
        "method": "PUT",
        "payload": {"kind": "full"},
        "headers": {"X-A": "b"},
        "queue": "mail",
        "max_attempts": 5,
        "requires_approval": False,
        "callback_url": target.url + "/told",
        "enabled": True,
    }
    answer = await dispatchq("POST", "/v1/schedules", body)
    assert answer.status == 201
    schedule = answer.body
    assert schedule == body | {
        "id": schedule["id"],
        "next_run_at": "2027-03-01T12:30:00.000Z",
        "last_run_at": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    assert schedule["id"].startswith("sch_")
    path = f"/v1/schedules/{schedule['id']}"
    assert (await dispatchq("GET", path)).body == schedule
    assert (await dispatchq("GET", "/v1/schedules")).body == {"data": [schedule], "total": 1, "limit": 20, "offset": 0}
    clock.advance(timedelta(minutes=30))
    hit, told = await target.received(2)
    assert (hit.method, hit.json, hit.headers["X-A"]) == ("PUT", {"kind": "full"}, "b")
    assert hit.headers["X-DispatchQ-Signature"] == signed(fliqd.token, hit.body)
    assert told.json["status"] == "completed"
    [job] = (await dispatchq("GET", "/v1/jobs")).body["data"]
    assert (job["schedule_id"], job["queue"], job["max_attempts"]) == (schedule["id"], "mail", 5)
    assert (await dispatchq("GET", path)).body["last_run_at"] == "2027-03-01T12:30:00.000Z"

    off = (await dispatchq("PUT", path, {"enabled": False, "payload": None, "max_attempts": None})).body
    assert (off["enabled"], off["next_run_at"], off["max_attempts"], off["name"]) == (False, None, 3, "nightly")
    assert "payload" not in off
    on = (await dispatchq("PUT", path, {"enabled": True, "cron": "0 14 * * *", "name": "renamed"})).body
    assert (on["next_run_at"], on["name"], on["headers"]) == ("2027-03-01T14:00:00.000Z", "renamed", {"X-A": "b"})
    assert (await dispatchq("PUT", path, on)).body == on
    assert (await dispatchq("DELETE", path)).status == 204
    assert (await dispatchq("GET", path)).status == 404
    assert (await dispatchq("DELETE", path)).status == 404


async def test_a_schedule_may_be_made_off_and_nameless(dispatchq: Speaker, target: Target) -> None:
    schedule = (await dispatchq("POST", "/v1/schedules", {"cron": "@daily", "url": target.url, "enabled": False})).body
    assert (schedule["enabled"], schedule["next_run_at"]) == (False, None)
    assert schedule["name"]
    assert (schedule["method"], schedule["max_attempts"], schedule["queue"]) == ("POST", 3, "default")


async def test_runs_that_need_approval(dispatchq: Speaker, target: Target, clock: FakeClock) -> None:
    body = {"cron": "30 12 * * *", "url": target.url, "requires_approval": True, "callback_url": target.url + "/told"}
    assert (await dispatchq("POST", "/v1/schedules", body)).status == 201
    clock.advance(timedelta(minutes=30))
    [told] = await target.received(1)
    assert told.json["status"] == "awaiting_approval"
    assert (await dispatchq("POST", f"/v1/jobs/{told.json['id']}/approve")).status == 200
    assert (await target.received(2))[1].path == "/hook"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"cron": "61 * * * *"}, 400, "invalid_cron"),
        ({"cron": ""}, 400, "invalid_cron"),
        ({"cron": 5}, 400, "invalid_cron"),
        ({"cron": None}, 400, "missing_field"),
        ({"url": None}, 400, "missing_field"),
        ({"url": "x"}, 400, "validation_error"),
        ({"enabled": "yes"}, 400, "validation_error"),
        ({"name": "taken"}, 409, "name_taken"),
    ],
)
async def test_wrong_schedules(dispatchq: Speaker, target: Target, body: Any, status: int, code: str) -> None:
    good = {"cron": "@daily", "url": target.url, "name": "taken"}
    schedule = (await dispatchq("POST", "/v1/schedules", good)).body
    answer = await dispatchq("POST", "/v1/schedules", good | {"name": "free"} | body)
    assert (answer.status, answer.code) == (status, code)
    if status == 400 and body not in ({"cron": None}, {"url": None}):
        answer = await dispatchq("PUT", f"/v1/schedules/{schedule['id']}", body)
        assert (answer.status, answer.code) == (status, code)


async def test_schedules_of_other_apis(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    native = (await fliqd("POST", "/v1/schedules", {"url": target.url, "every": "15m", "body": "text"})).body
    [schedule] = (await dispatchq("GET", "/v1/schedules")).body["data"]
    assert (schedule["id"], schedule["cron"], schedule["payload"]) == (f"sch_{native['id'][6:]}", "@every 15m", "text")
    changes = {"cron": "@every 15m", "max_attempts": 2}
    assert (await dispatchq("PUT", f"/v1/schedules/{schedule['id']}", changes)).body["cron"] == "@every 15m"
    changed = (await fliqd("GET", f"/v1/schedules/{native['id']}")).body
    assert (changed["every"], changed["max_retries"], changed["body"]) == ("15m", 1, "text")


# Together with the others


async def test_jobs_of_other_apis(fliqd: RunningDaemon, dispatchq: Speaker, target: Target) -> None:
    target.answers.append(500)
    native = await fliqd.create(
        url=target.url, delay=0, body="plain", max_retries=100, requires_approval=True, name="n"
    )
    job = await read(dispatchq, native)
    assert (job["payload"], job["max_attempts"], job["status"]) == ("plain", 101, "awaiting_approval")
    assert (await dispatchq("POST", f"/v1/jobs/{native['id']}/approve")).status == 200
    failed = await became(dispatchq, native, "pending", attempts=1)
    assert failed["retries_remaining"] == 100
    await dispatchq("POST", f"/v1/jobs/{native['id']}/cancel")
    assert (await fliqd.job(native["id"]))["status"] == "cancelled"
    again = (await dispatchq("POST", f"/v1/jobs/{native['id']}/retry")).body
    await became(dispatchq, again, "completed")

    ours = await made(dispatchq, target, payload={"a": 1}, delay="1h")
    seen = await fliqd.job(ours["id"])
    assert (seen["json"], seen["max_retries"], seen["status"]) == ({"a": 1}, 2, "scheduled")
    other = (await fliqd("GET", f"/quedup/jobs/{ours['id']}")).body
    assert (other["body"], other["status"]) == ('{"a":1}', "active")


def test_the_document_says_what_the_page_says_of_the_fields() -> None:
    fields = document()["components"]["schemas"]["CreateJobRequest"]["properties"]
    attempts, queue, delay, method = (
        next(part for part in fields[name]["anyOf"] if part.get("type") != "null")
        for name in ("max_attempts", "queue", "delay", "method")
    )
    assert (attempts["minimum"], attempts["maximum"], attempts["default"]) == (1, 100, 3)
    assert (queue["pattern"], queue["default"]) == ("^[a-zA-Z0-9_-]+$", "default")
    assert delay["pattern"] == r"^(\d+)(s|m|h|d)$"
    assert set(method["enum"]) == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert fields["payload"]["type"] == ["object", "null"]


async def test_the_document_has_every_call(fliqd: RunningDaemon, dispatchq: Speaker) -> None:
    assert routes_below(fliqd, "/dispatchq") == set(OPERATIONS)
    assert (await dispatchq("GET", "/openapi.json")).body == document()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
likely = {
    "url": st.just("http://127.0.0.1:1/"),
    "method": st.sampled_from(["GET", "POST"]),
    "payload": st.dictionaries(st.text(max_size=3), anything, max_size=3),
    "delay": st.sampled_from(["0s", "1h", "99d"]),
    "max_attempts": st.integers(1, 100),
    "cron": st.sampled_from(["@daily", "0 0 30 2 *", "* * * * * *"]),
    "headers": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    "enabled": st.booleans(),
}
FUZZED = {
    "jobs": ("url", "method", "payload", "headers", "delay", "dedupe_key", "max_attempts", "requires_approval",
             "callback_url", "queue"),
    "schedules": ("name", "cron", "url", "method", "payload", "headers", "queue", "max_attempts", "enabled"),
}  # fmt: skip


@pytest.mark.parametrize("path", ["jobs", "schedules"])
async def test_nothing_makes_it_crash(dispatchq: Speaker, path: str) -> None:
    """Whatever the fields hold, the answer is one that the document knows, and no bug of ours."""
    bodies: list[dict[str, Any]] = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(st.fixed_dictionaries({}, optional={name: likely.get(name, anything) | anything for name in FUZZED[path]}))
    def collect(body: dict[str, Any]) -> None:
        bodies.extend([body, {"url": "http://127.0.0.1:1/", "cron": "@daily"} | body])

    collect()
    statuses = set()
    last = None
    for body in bodies:
        answer = await dispatchq("POST", f"/v1/{path}", body)
        statuses.add(answer.status)
        if answer.status == 201:
            last = answer.body["id"]
        if path == "schedules" and last is not None:
            changed = await dispatchq("PUT", f"/v1/schedules/{last}", body)
            assert changed.status in (200, 400, 409), (body, changed.body)
    assert statuses <= {200, 201, 400, 409}
    assert {201, 400} <= statuses


async def test_a_job_outlives_the_process(tmp_path: Path, target: Target) -> None:
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        body = {"url": target.url, "payload": {"hello": "world"}, "requires_approval": True, "dedupe_key": "d"}
        job = (await fliqd("POST", "/dispatchq/v1/jobs", body)).body
        await fliqd.kill()
        await fliqd.start()
        assert (await fliqd("POST", "/dispatchq/v1/jobs", body)).body == job | {"deduplicated": True}
        assert (await fliqd("POST", f"/dispatchq/v1/jobs/{job['id']}/approve")).status == 200
        [hit] = await target.received(1)
        assert hit.headers["X-DispatchQ-Signature"] == signed(fliqd.token, b'{"hello":"world"}')
