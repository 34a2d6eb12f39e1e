"""Who asked is told what becomes of a job: durably, in order, signed, and through the same gate."""

import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from fliqd.core.signing import Signer
from tests.support import Hit, RunningDaemon, Target, serve_target, until

SEED = {"job_id", "status", "status_code", "last_error", "completed_at", "attempt_num"}


@pytest.fixture
def env() -> dict[str, str]:
    return {"FLIQD_EGRESS__DENY": "127.9.0.0/16"}


def payload(hit: Hit) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(hit.body)
    return document


async def deliveries(fliqd: RunningDaemon, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await fliqd("GET", f"/v1/webhooks/deliveries{query}")).body["deliveries"]
    return found


async def settled(fliqd: RunningDaemon, status: str, number: int = 1) -> list[dict[str, Any]]:
    async def there() -> list[dict[str, Any]] | None:
        found = await deliveries(fliqd, f"?status={status}")
        return found if len(found) >= number else None

    return await until(there, f"{number} deliveries {status}")


async def test_the_end_of_a_job_as_the_seed_page_shows_it(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(
        url=target.url,
        delay=0,
        webhook_url=target.url + "/told?a=1#part",
        webhook_headers={"Authorization": "Bearer t"},
    )
    _, hit = await target.received(2)
    assert (hit.method, hit.path) == ("POST", "/hook/told?a=1")
    assert hit.headers["Content-Type"] == "application/json"
    assert hit.headers["Authorization"] == "Bearer t"
    assert payload(hit) == {
        "event": "job.completed",
        "job_id": job["id"],
        "status": "completed",
        "status_code": 200,
        "last_error": None,
        "completed_at": (await fliqd.job(job["id"]))["finished_at"],
        "attempt_num": 1,
    }
    assert set(payload(hit)) == SEED | {"event"}
    [row] = await settled(fliqd, "delivered")
    assert row | {"id": None} == {
        "id": None,
        "job_id": job["id"],
        "event": "job.completed",
        "url": target.url + "/told?a=1#part",
        "status": "delivered",
        "status_code": 200,
        "attempts": 1,
        "max_attempts": 10,
        "last_error": None,
        "next_retry_at": None,
        "delivered_at": "2027-03-01T12:00:00.000Z",
        "created_at": row["created_at"],
    }
    assert hit.headers["X-Fliq-Delivery-Id"] == hit.headers["webhook-id"] == row["id"]


async def test_failed_and_cancelled_jobs_are_told(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [500]
    failed = await fliqd.create(url=target.url, delay=0, webhook_url=target.url)
    told = payload((await target.received(2))[1])
    assert (told["job_id"], told["status"], told["status_code"]) == (failed["id"], "failed", 500)
    assert told["last_error"] == "bad_status: the target answered 500"
    cancelled = await fliqd.create(url=target.url, delay="1h", webhook_url=target.url)
    await fliqd("DELETE", f"/v1/jobs/{cancelled['id']}")
    told = payload((await target.received(3))[2])
    assert told | {"completed_at": None} == {
        "event": "job.cancelled", "job_id": cancelled["id"], "status": "cancelled", "status_code": None,
        "last_error": None, "completed_at": None, "attempt_num": 0,
    }  # fmt: skip


async def test_signatures_are_made_anew_for_each_try(fliqd: RunningDaemon, target: Target) -> None:
    """Standard Webhooks' own library and Fliq's rule both accept a try; the id and the bytes are the same in each."""
    target.answers = [200, 503]
    await fliqd.create(url=target.url, delay=0, webhook_url=target.url + "?x=1")
    await target.received(2)
    [waiting] = await settled(fliqd, "pending")
    assert waiting["next_retry_at"] == "2027-03-01T12:00:30.000Z"
    assert waiting["last_error"] == "bad_status: the receiver answered 503"
    fliqd.clock.advance(timedelta(seconds=30))
    _, first, second = await target.received(3)
    secret = (fliqd.state_dir / "signing.secret").read_text().strip()
    for hit in (first, second):
        seconds = int(hit.headers["X-Fliq-Timestamp"])
        expected = Signer(secret).headers(
            message_id=hit.headers["webhook-id"], seconds=seconds, method="POST", url=target.url + "?x=1", body=hit.body
        )
        assert {name: hit.headers[name] for name, _ in expected} == dict(expected)
    assert first.headers["X-Fliq-Signature"] != second.headers["X-Fliq-Signature"]
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert [hit.headers["X-Fliq-Attempt"] for hit in (first, second)] == ["1", "2"]


async def test_the_library_of_standard_webhooks_verifies_them(
    fliqd: RunningDaemon, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fliqd.create(url=target.url, delay=0, webhook_url=target.url)
    hit = (await target.received(2))[1]
    secret = (fliqd.state_dir / "signing.secret").read_text().strip()
    # The library compares with the machine's clock, and the daemon's is a fake one: so it checks what is signed.
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _self, text: _at(text))
    assert Webhook(secret).verify(hit.body.decode(), dict(hit.headers)) == payload(hit)


def _at(text: str) -> Any:
    from datetime import UTC, datetime  # noqa: PLC0415 -- for this alone

    return datetime.fromtimestamp(int(text), UTC)


async def test_ten_tries_and_no_more(fliqd: RunningDaemon, target: Target) -> None:
    """Each wait is twice the last, up to an hour; and the job never hears of it."""
    target.answers = [200, *[500] * 20]
    job = await fliqd.create(url=target.url, delay=0, webhook_url=target.url)
    waits = []
    for number in range(1, 10):
        await target.received(1 + number)
        [row] = await settled(fliqd, "pending")
        assert row["attempts"] == number
        waited = (_ms(row["next_retry_at"]) - fliqd.clock.now_ms()) // 1000
        waits.append(waited)
        fliqd.clock.advance(timedelta(seconds=waited))
    [row] = await settled(fliqd, "failed")
    assert (row["attempts"], row["next_retry_at"], row["delivered_at"]) == (10, None, None)
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert len(target.hits) == 11
    assert (await fliqd.job(job["id"]))["status"] == "success"


def _ms(text: str) -> int:
    from fliqd.core.times import parse_time  # noqa: PLC0415 -- for this alone

    return parse_time(text)


async def test_events_while_it_goes_come_in_order(fliqd: RunningDaemon, target: Target) -> None:
    """The receiver that fails the first of them gets the others only after it."""
    async with serve_target() as receiver:
        receiver.answers = [503]
        target.answers = [500]
        job = await fliqd.create(
            url=target.url, delay=0, max_retries=1, backoff={"kind": "fixed", "initial": 0}, webhook_url=receiver.url,
            webhook_events=["completed", "retrying", "started"],
        )  # fmt: skip
        await fliqd.until(job["id"], "success")
        assert len(receiver.hits) == 1
        fliqd.clock.advance(timedelta(seconds=30))
        told = [payload(hit) for hit in await receiver.received(5)]
    assert [(one["event"], one["status"], one["attempt_num"]) for one in told] == [
        ("job.started", "running", 1),
        ("job.started", "running", 1),
        ("job.retrying", "pending", 1),
        ("job.started", "running", 2),
        ("job.completed", "completed", 2),
    ]


async def test_a_callback_gets_the_answer(fliqd: RunningDaemon, target: Target) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"made": ["ü", 1]}, status=201, headers={"X-Made": "yes"})

    target.answers = [answer]
    async with serve_target() as receiver:
        job = await fliqd.create(url=target.url, delay=0, callback_url=receiver.url)
        [hit] = await receiver.received(1)
        told = payload(hit)
        assert (told["job_id"], told["id"], told["status"], told["error"]) == (job["id"], job["id"], 201, None)
        assert told["headers"]["X-Made"] == "yes"
        assert told["body"] == {"made": ["ü", 1]}
        assert told["truncated"] is False
        [execution] = await fliqd.executions(job["id"])
        assert told["duration_ms"] == execution["duration_ms"]
        refused = await fliqd.create(url="http://127.9.0.1/", delay=0, callback_url=receiver.url)
        told = payload((await receiver.received(2))[1])
    assert (told["job_id"], told["status"], told["body"]) == (refused["id"], None, None)
    assert told["error"].startswith("egress_denied: ")
    assert {row["event"] for row in await deliveries(fliqd)} == {"callback"}


async def test_receivers_pass_the_same_gate(fliqd: RunningDaemon, target: Target) -> None:
    """A refusal will be the same next time, so there is none; fliqd's own doors are refused too."""
    await fliqd.create(url=target.url, delay=0, webhook_url="http://127.9.0.1/", callback_url=fliqd.url + "/v1/jobs")
    rows = await settled(fliqd, "failed", 2)
    assert [(row["attempts"], row["last_error"].partition(":")[0]) for row in rows] == [(1, "egress_denied")] * 2
    assert "own_listener" in rows[0]["last_error"] + rows[1]["last_error"]


async def test_a_dead_receiver_holds_up_neither_jobs_nor_others(fliqd: RunningDaemon, target: Target) -> None:
    async with serve_target() as dead:
        released = dead.hold(1_000)
        for _ in range(100):
            await fliqd.create(url=target.url, delay=0, webhook_url=dead.url)
        await fliqd.create(url=target.url, delay=0, webhook_url=target.url + "/told")
        await target.received(102)
        assert any(hit.path == "/hook/told" for hit in target.hits)
        assert len(dead.hits) <= 8
        released.set()


async def test_a_receiver_that_drops_its_connections_does_not_use_up_the_tries(
    fliqd: RunningDaemon, target: Target
) -> None:
    """As one does that restarts: of the connections that were kept alive the next notices meet one after the other."""

    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serve_target() as receiver:
        released = receiver.hold(8)
        jobs = [{"url": target.url, "delay": 0, "webhook_url": receiver.url}] * 8
        await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
        await receiver.received(8)
        released.set()
        await settled(fliqd, "delivered", 8)
        receiver.answers += [drop] * 8
        job = await fliqd.create(url=target.url, delay=0, webhook_url=receiver.url)

        async def waits() -> dict[str, Any] | None:
            [told] = await deliveries(fliqd, f"?job_id={job['id']}") or [{"status": ""}]
            return told if told["status"] == "pending" and told["next_retry_at"] > "2027-03-01T12:00:00.000Z" else None

        told = await until(waits, "the wait for another try")
        assert (told["attempts"], told["next_retry_at"]) == (2, "2027-03-01T12:01:00.000Z")
        receiver.answers.clear()
        fliqd.clock.advance(timedelta(minutes=1))
        await settled(fliqd, "delivered", 9)


async def test_who_is_told_can_be_changed_while_the_job_waits(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(url="http://a/", delay="1h", webhook_url="http://a/", webhook_headers={"X-A": "1"})
    changed = (await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"webhook_url": target.url})).body
    assert (changed["webhook_url"], changed["webhook_headers"]) == (target.url, {"X-A": "1"})
    other = await fliqd.create(url="http://a/", delay="1h", webhook_url=target.url)
    await fliqd("PATCH", f"/v1/jobs/{other['id']}", {"webhook_url": None})
    for one in (other, job):
        await fliqd("DELETE", f"/v1/jobs/{one['id']}")
    [hit] = await target.received(1)
    assert (payload(hit)["job_id"], hit.headers["X-A"]) == (job["id"], "1")
    assert len(await deliveries(fliqd)) == 1


async def test_the_jobs_of_a_schedule_tell_as_it_does(fliqd: RunningDaemon, target: Target) -> None:
    made = (
        await fliqd(
            "POST",
            "/v1/schedules",
            {"every": "1h", "url": target.url, "webhook_url": target.url + "/told", "webhook_headers": {"X-A": "1"}},
        )
    ).body
    assert (made["webhook_url"], made["webhook_headers"]) == (target.url + "/told", {"X-A": "1"})
    assert made["webhook_events"] == ["completed", "failed", "cancelled"]
    fliqd.clock.advance(timedelta(hours=1))
    _, hit = await target.received(2)
    assert (hit.path, hit.headers["X-A"], payload(hit)["status"]) == ("/hook/told", "1", "completed")
    changed = await fliqd("PATCH", f"/v1/schedules/{made['id']}", {"webhook_url": None, "callback_url": target.url})
    assert (changed.body["webhook_url"], changed.body["webhook_events"]) == (None, None)
    assert changed.body["callback_url"] == target.url


async def test_who_may_only_read_sees_no_value_of_webhook_headers(fliqd: RunningDaemon) -> None:
    job = await fliqd.create(
        url="http://a/", delay="1h", webhook_url="http://a/", webhook_headers={"X-Plain": "s3cret"}
    )
    reader = (await fliqd("POST", "/v1/tokens", {"name": "r", "scopes": ["read"]})).body["token"]
    assert job["webhook_headers"] == {"X-Plain": "s3cret"}
    fliqd.token = reader
    assert (await fliqd.job(job["id"]))["webhook_headers"] == {"X-Plain": "***"}


async def test_the_list_of_deliveries(fliqd: RunningDaemon, target: Target) -> None:
    jobs = [await fliqd.create(url=target.url, delay=0, webhook_url=target.url) for _ in range(3)]
    rows = await settled(fliqd, "delivered", 3)
    first = (await fliqd("GET", "/webhooks/deliveries?limit=2")).body
    rest = (await fliqd("GET", f"/webhooks/deliveries?limit=2&cursor={first['next_cursor']}")).body
    assert first["deliveries"] + rest["deliveries"] == rows
    assert rest["next_cursor"] is None
    [one] = await deliveries(fliqd, f"?job_id={jobs[0]['id']}")
    assert one["job_id"] == jobs[0]["id"]
    wrong = await fliqd("GET", "/v1/webhooks/deliveries?status=lost")
    assert (wrong.status, wrong.code) == (400, "invalid_status")


async def test_an_answer_that_lies_about_being_json_is_a_text(fliqd: RunningDaemon, target: Target) -> None:
    lie = web.Response(body=b'{"a":"\xff"}', content_type="application/json")
    target.answers += [lie]
    await fliqd.create(url=target.url, delay=0, callback_url=target.url + "/answer")
    _, hit = await target.received(2)
    assert (payload(hit)["status"], payload(hit)["body"]) == (200, '{"a":"\ufffd"}')
