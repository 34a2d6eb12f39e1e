"""`/jobs`, call by call, as the contract has it."""

import asyncio
from datetime import timedelta

import pytest

from tests.support import JOB_ID, RunningDaemon, Target

URL = "http://127.0.0.1:9/"
FUTURE = "2027-03-02T00:00:00Z"


async def test_a_created_job_shows_all_its_fields(fliqd: RunningDaemon) -> None:
    given = {
        "url": URL + "x?y=1#z",
        "http_method": "PATCH",
        "scheduled_at": "2027-03-02T02:00:00.5+02:00",
        "headers": {"X-A": "1"},
        "query": {"b": "2"},
        "json": {"deep": [1, {"a": None}]},
        "max_retries": 3,
        "backoff": {"kind": "table", "delays": ["1m", 300]},
        "timeout_seconds": 1.5,
        "expires_at": "2027-03-03T00:00:00Z",
        "idempotency_key": "k1",
        "queue": "mail",
        "name": "n",
        "description": "d",
        "tags": ["a", "b"],
        "on_interrupt": "fail",
        "success_statuses": ["2xx", 409],
        "webhook_url": URL + "told?a=1",
        "webhook_headers": {"Authorization": "Bearer s3cret"},
        "webhook_events": ["started", "failed"],
        "callback_url": URL + "answer",
        "requires_approval": False,
        "dynamic_fields": "replace",
        "dedupe_key": "k2",
        "dedupe_window": "2h",
    }
    job = await fliqd.create(**given)
    assert JOB_ID.fullmatch(job["id"])
    assert job == given | {
        "id": job["id"],
        "status": "scheduled",
        "scheduled_at": "2027-03-02T00:00:00.500Z",
        "expires_at": "2027-03-03T00:00:00.000Z",
        "backoff": {"kind": "table", "initial": 30.0, "max": None, "jitter": None, "delays": [60.0, 300.0]},
        "body": None,
        "created_at": "2027-03-01T12:00:00.000Z",
        "updated_at": "2027-03-01T12:00:00.000Z",
        "next_attempt_at": "2027-03-02T00:00:00.500Z",
        "attempts": 0,
        "executions": 0,
        "actions": ["cancel", "run", "update"],
        "source": "api",
        "deduplicated": False,
        "dialect": "v1",
        **dict.fromkeys(
            ["started_at", "finished_at", "last_status_code", "last_error", "replay_of", "schedule_id", "buffer_id",
             "approved_at", "approved_by"]
        ),
    }  # fmt: skip
    assert await fliqd.job(job["id"]) == job
    assert (await fliqd("GET", f"/jobs/{job['id']}")).body == job


async def test_defaults(fliqd: RunningDaemon) -> None:
    job = await fliqd.create(url=URL, delay="1h", headers=None, body=None, name=None)
    assert (job["http_method"], job["max_retries"], job["backoff"]) == ("POST", 0, "exponential")
    assert (job["timeout_seconds"], job["queue"], job["success_statuses"]) == (30, "default", ["2xx"])
    assert job["scheduled_at"] == "2027-03-01T13:00:00.000Z"


@pytest.mark.parametrize("past", ["2027-03-01T11:59:00Z", "2027-03-01T11:59:30.5Z"])
async def test_a_little_in_the_past_means_now(fliqd: RunningDaemon, target: Target, past: str) -> None:
    await fliqd.create(url=target.url, scheduled_at=past)
    await target.received(1)


# what is wrong with an otherwise right job: the fields, the code, and what the message says
WRONG = [
    ({"url": None}, "invalid_url", "required"),
    ({"url": "ftp://a/"}, "invalid_url", "http"),
    ({"url": "http://u:p@a/"}, "invalid_url", "user name"),
    ({"url": "http://a/\r\nX: y"}, "invalid_url", "control character"),
    ({"url": "http://a/" + "x" * 2048}, "invalid_url", "2048"),
    ({"url": 5}, "invalid_url", "expected a text, got a whole number"),
    ({"url": "http://a/\x00"}, "invalid_json", "NUL"),
    ({"http_method": "get"}, "invalid_http_method", "GET, POST"),
    ({"http_method": "TRACE"}, "invalid_http_method", "GET, POST"),
    ({"scheduled_at": "2027-03-01T11:58:59Z"}, "invalid_scheduled_at", "future"),
    ({"scheduled_at": "tomorrow"}, "invalid_scheduled_at", "RFC 3339"),
    ({"scheduled_at": "2037-03-03T00:00:00Z"}, "invalid_scheduled_at", "10 years"),
    ({"scheduled_at": None}, "invalid_scheduled_at", "required"),
    ({"delay": "5m"}, "invalid_delay", "exclude"),
    ({"scheduled_at": None, "delay": "soon"}, "invalid_delay", "duration"),
    ({"scheduled_at": None, "delay": -1}, "invalid_delay", "duration"),
    ({"headers": {"Host": "x"}}, "invalid_headers", "set by fliqd"),
    ({"headers": {"A": 1}}, "invalid_headers", "text"),
    ({"headers": ["A"]}, "invalid_headers", "object"),
    ({"query": {"a": None}}, "invalid_query", "text"),
    ({"query": {"a": "x" * 2100}}, "invalid_query", "longer"),
    ({"body": {"a": 1}}, "invalid_body", "text"),
    ({"body": "a", "json": 1}, "invalid_json", "exclude"),
    ({"max_retries": 101}, "invalid_max_retries", "0 to 100"),
    ({"max_retries": 1.5}, "invalid_max_retries", "whole number"),
    ({"max_retries": True}, "invalid_max_retries", "whole number"),
    ({"backoff": "random"}, "invalid_backoff", "exponential"),
    ({"backoff": {"kind": "table"}}, "invalid_backoff", "delays"),
    ({"backoff": {"kind": "fixed", "initial": "25h"}}, "invalid_backoff", "24 hours"),
    ({"backoff": {"kind": "fixed", "jitter": 2}}, "invalid_backoff", "jitter"),
    ({"timeout_seconds": 0}, "invalid_timeout_seconds", "1 to 3600"),
    ({"timeout_seconds": 3601}, "invalid_timeout_seconds", "1 to 3600"),
    ({"expires_at": "2027-03-01T23:59:59Z"}, "invalid_expires_at", "before"),
    ({"idempotency_key": ""}, "invalid_idempotency_key", "1 to 256"),
    ({"idempotency_key": "x" * 257}, "invalid_idempotency_key", "1 to 256"),
    ({"queue": "a b"}, "invalid_queue", "a-z"),
    ({"tags": ["x" * 65]}, "invalid_tags", "64"),
    ({"on_interrupt": "panic"}, "invalid_on_interrupt", "retry or fail"),
    ({"success_statuses": []}, "invalid_success_statuses", "2xx"),
    ({"success_statuses": [600]}, "invalid_success_statuses", "2xx"),
    ({"schedled_at": FUTURE}, "unknown_field", 'did you mean "scheduled_at"?'),
    ({"dedupe_window": "1h"}, "invalid_dedupe_window", "goes with a dedupe_key"),
    ({"dedupe_key": "k", "dedupe_window": "31d"}, "invalid_dedupe_window", "1 second to 30d"),
    ({"dedupe_key": ""}, "invalid_dedupe_key", "1 to 256 characters"),
    ({"dynamic_fields": "all"}, "invalid_dynamic_fields", "replace"),
    ({"requires_approval": "yes"}, "invalid_requires_approval", "true or false"),
    ({"webhook_url": "ftp://a/"}, "invalid_webhook_url", "http"),
    ({"callback_url": "http://a b/"}, "invalid_callback_url", "space"),
    ({"webhook_url": URL, "webhook_headers": {"Host": "a"}}, "invalid_webhook_headers", "set by fliqd"),
    ({"webhook_url": URL, "webhook_events": ["ended"]}, "invalid_webhook_events", "started, retrying, completed"),
    ({"webhook_url": URL, "webhook_events": []}, "invalid_webhook_events", "started, retrying, completed"),
    ({"webhook_events": ["failed"]}, "invalid_webhook_url", "required"),
]


@pytest.mark.parametrize(("change", "code", "says"), WRONG)
async def test_what_is_refused(fliqd: RunningDaemon, change: dict[str, object], code: str, says: str) -> None:
    answer = await fliqd("POST", "/v1/jobs", {"url": URL, "scheduled_at": FUTURE} | change)
    assert answer.status == 400, answer.body
    assert answer.code == code
    assert says in answer.body["error"]["message"]
    assert answer.body["error"]["request_id"] == answer.headers["X-Request-Id"]
    assert (await fliqd("GET", "/v1/jobs")).body["jobs"] == []


async def test_every_problem_is_told_at_once_in_the_order_of_the_fields(fliqd: RunningDaemon) -> None:
    answer = await fliqd(
        "POST", "/v1/jobs", {"tags": 1, "max_retries": -1, "url": "nowhere", "colour": "red", "scheduled_at": "now"}
    )
    assert answer.code == "invalid_url"
    assert [detail["field"] for detail in answer.body["error"]["details"]] == [
        "url",
        "scheduled_at",
        "max_retries",
        "tags",
        "colour",
    ]


MALFORMED = [
    b'{"url": 5', b'{"url": 5, "x": ', b'{"url": 5, "headers": {"a": }', b'{"jobs": [{"url": 5]}', b'{"jobs": 5',
    b'{"backoff": {"kind": 5}, "x"', b'{"headers": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}",
    b'{"headers": {"a": ' + b"[" * 90_000 + b"]" * 90_000 + b"}}",
    b"", b"{", b"[]", b"null", b'"x"', b"{]", b"\xff", b'{"url": "\xff"}', b'{"url": "\\ud800"}',
    b'{"url": "\\udc00x"}', b'{"max_retries": NaN}', b'{"delay": 1e999}', b"\xef\xbb\xbf{}", b'{"url": "\\u0000"}',
    b"[" * 100_000, b'{"json": ' + b"[" * 100_000, b'{"json": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"headers": ' + b'{"a":' * 5_000, b'{"url": "a"} {"url": "b"}', b"{'url': 'a'}", b'{"url": "a",}',
]  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_not_json(fliqd: RunningDaemon, data: bytes) -> None:
    for path in ("/v1/jobs", "/v1/jobs/batch"):
        answer = await fliqd("POST", path, data=data)
        assert answer.status == 400, answer.body
        assert answer.body["error"]["message"]


async def test_a_body_must_say_that_it_is_json(fliqd: RunningDaemon) -> None:
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Content-Encoding": "gzip"}):
        answer = await fliqd("POST", "/v1/jobs", data=b"{}", headers=headers)
        assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_too_large(fliqd: RunningDaemon) -> None:
    answer = await fliqd("POST", "/v1/jobs", {"url": URL, "delay": 1, "body": "x" * 1024 * 1024})
    assert (answer.status, answer.code) == (413, "too_large")


async def test_an_idempotency_key_answers_the_first_job(fliqd: RunningDaemon) -> None:
    first = await fliqd.create(url=URL, delay="1h", idempotency_key="k")
    again = await fliqd("POST", "/v1/jobs", {"url": URL + "other", "delay": "2h", "idempotency_key": "k"})
    assert (again.status, again.body) == (200, first)
    assert again.headers["Idempotent-Replayed"] == "true"
    by_header = await fliqd("POST", "/v1/jobs", {"url": URL, "delay": 1}, headers={"Idempotency-Key": "k"})
    assert (by_header.status, by_header.body["id"]) == (200, first["id"])
    clash = await fliqd(
        "POST", "/v1/jobs", {"url": URL, "delay": 1, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"}
    )
    assert (clash.status, clash.code) == (400, "invalid_idempotency_key")


async def test_a_batch_answers_in_order_each_for_itself(fliqd: RunningDaemon) -> None:
    jobs = [
        {"url": URL, "delay": "1h", "name": "first"},
        {"url": "nowhere", "delay": "1h"},
        {"url": URL, "delay": "1h", "idempotency_key": "k"},
        {"url": URL, "delay": "1h", "idempotency_key": "k"},
        "not an object",
        {"url": URL},
    ]
    answer = await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
    assert answer.status == 200
    results = answer.body["results"]
    assert [result["status"] for result in results] == [201, 400, 201, 200, 400, 400]
    assert results[0]["job"]["name"] == "first"
    assert results[3]["job"]["id"] == results[2]["job"]["id"]
    assert [results[index]["error"]["code"] for index in (1, 4, 5)] == [
        "invalid_url",
        "invalid_json",
        "invalid_scheduled_at",
    ]
    assert len((await fliqd("GET", "/v1/jobs")).body["jobs"]) == 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"jobs": []}, "invalid_jobs"),
        ({"jobs": [{}] * 1001}, "invalid_jobs"),
        ({"jobs": {}}, "invalid_jobs"),
        ({}, "invalid_jobs"),
        ({"jobs": [{}], "more": 1}, "unknown_field"),
        ([], "invalid_json"),
    ],
)
async def test_what_is_no_batch(fliqd: RunningDaemon, body: object, code: str) -> None:
    answer = await fliqd("POST", "/v1/jobs/batch", body)
    assert (answer.status, answer.code) == (400, code)


async def test_a_key_in_the_header_is_for_one(fliqd: RunningDaemon) -> None:
    buffer = (await fliqd("POST", "/v1/buffers", {"name": "b", "url": URL})).body
    key = {"Idempotency-Key": "k"}
    for path, body in (("jobs/batch", {"jobs": [{"url": URL}]}), (f"buffers/{buffer['id']}/items", {"items": [{}]})):
        answer = await fliqd("POST", f"/v1/{path}", body, headers=key)
        assert (answer.status, answer.code) == (400, "invalid_idempotency_key")
        assert "an idempotency_key of its own" in answer.body["error"]["message"]
    assert (await fliqd("GET", "/v1/jobs")).body["jobs"] == []


async def test_lists_in_pages(fliqd: RunningDaemon) -> None:
    ids = [(await fliqd.create(url=URL, delay="1h", tags=[f"t{number % 2}"]))["id"] for number in range(7)]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await fliqd("GET", f"/v1/jobs?limit=3{cursor and '&cursor=' + cursor}")).body
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        await fliqd.create(url=URL, delay="1h")
    assert seen == ids[::-1]
    tagged = (await fliqd("GET", "/v1/jobs?tag=t1&status=pending")).body["jobs"]
    assert [job["id"] for job in tagged] == ids[1::2][::-1]
    assert (await fliqd("GET", "/v1/jobs?status=completed")).body == {"jobs": [], "next_cursor": None}
    later = (await fliqd("GET", "/v1/jobs?created_after=2027-03-01T12:00:01Z")).body["jobs"]
    assert later == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_limit"),
        ("limit=101", "invalid_limit"),
        ("limit=1e1", "invalid_limit"),
        ("limit=%D9%A3", "invalid_limit"),
        ("limit=", "invalid_limit"),
        ("status=lost", "invalid_status"),
        ("created_after=yesterday", "invalid_created_after"),
        ("cursor=", "invalid_cursor"),
        ("cursor=xx", "invalid_cursor"),
        ("cursor=%00", "invalid_cursor"),
        ("cursor=%C3%BC", "invalid_cursor"),
        ("cursor=ajk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk", "invalid_cursor"),
        ("limit=5&limit=5", "invalid_limit"),
        ("statuss=failed", "unknown_parameter"),
        ("name=%00", "invalid_name"),
    ],
)
async def test_what_is_no_list(fliqd: RunningDaemon, query: str, code: str) -> None:
    answer = await fliqd("GET", f"/v1/jobs?{query}")
    assert (answer.status, answer.code) == (400, code), answer.body


async def test_a_waiting_job_can_be_changed(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(url=URL, delay="1h", body="a", tags=["x"], max_retries=2, name="n")
    answer = await fliqd(
        "PATCH",
        f"/v1/jobs/{job['id']}",
        {"url": target.url, "json": [1], "delay": "2h", "tags": None, "max_retries": None, "name": "m"},
    )
    assert answer.status == 200
    changed = answer.body
    assert (changed["url"], changed["body"], changed["json"]) == (target.url, None, [1])
    assert (changed["tags"], changed["max_retries"], changed["name"]) == ([], 0, "m")
    assert changed["scheduled_at"] == changed["next_attempt_at"] == "2027-03-01T14:00:00.000Z"
    fliqd.clock.advance(timedelta(hours=2))
    hit = (await target.received(1))[0]
    assert hit.body == b"[1]"
    done = await fliqd.until(job["id"], "success")
    late = await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"name": "x"})
    assert (late.status, late.code) == (409, "not_editable")
    assert await fliqd.job(job["id"]) == done


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"idempotency_key": "k"}, "invalid_idempotency_key"),
        ({"expires_at": "2027-03-01T12:30:00Z"}, "invalid_expires_at"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, "invalid_scheduled_at"),
        ({"url": None}, "invalid_url"),
        ({"status": "success"}, "unknown_field"),
    ],
)
async def test_a_wrong_change_changes_nothing(fliqd: RunningDaemon, change: dict[str, object], code: str) -> None:
    job = await fliqd.create(url=URL, delay="1h")
    answer = await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"name": "x"} | change)
    assert (answer.status, answer.code) == (400, code)
    assert await fliqd.job(job["id"]) == job


async def test_a_cancelled_job_does_not_leave(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(url=target.url, delay="1h")
    answer = await fliqd("DELETE", f"/v1/jobs/{job['id']}")
    assert (answer.status, answer.body) == (204, b"")
    cancelled = await fliqd.job(job["id"])
    assert (cancelled["status"], cancelled["next_attempt_at"], cancelled["actions"]) == ("cancelled", None, [])
    again = await fliqd("DELETE", f"/v1/jobs/{job['id']}")
    assert (again.status, again.code) == (409, "not_cancellable")
    other = await fliqd.create(url=target.url, delay="1h")
    fliqd.clock.advance(timedelta(hours=2))
    await fliqd.until(other["id"], "success")
    assert len(target.hits) == 1


async def test_a_job_that_waits_for_a_retry_can_be_cancelled(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [500]
    job = await fliqd.create(url=target.url, delay=0, max_retries=1)
    await fliqd.until(job["id"], "scheduled", executions=1)
    assert (await fliqd("GET", f"/v1/jobs/{job['id']}/why")).body["waits_for"][0]["reason"] == "retry"
    assert (await fliqd("DELETE", f"/v1/jobs/{job['id']}")).status == 204


async def test_run_now(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(url=target.url, delay="1h")
    why = (await fliqd("GET", f"/v1/jobs/{job['id']}/why")).body
    assert why["waits_for"] == [
        {"reason": "not_due", "message": "it is due in 1h", "until": "2027-03-01T13:00:00.000Z"}
    ]
    answer = await fliqd("POST", f"/v1/jobs/{job['id']}/run")
    assert answer.status == 200
    await target.received(1)
    done = await fliqd.until(job["id"], "success")
    assert done["scheduled_at"] == job["scheduled_at"]
    again = await fliqd("POST", f"/v1/jobs/{job['id']}/run")
    assert (again.status, again.code) == (409, "not_runnable")
    assert (await fliqd("GET", f"/v1/jobs/{job['id']}/why")).body["waits_for"] == []


async def test_a_failed_job_can_be_replayed(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [500]
    job = await fliqd.create(url=target.url, delay=0, json={"a": 1}, tags=["x"], idempotency_key="k")
    early = await fliqd("POST", f"/v1/jobs/{job['id']}/replay")
    failed = await fliqd.until(job["id"], "failed")
    assert early.status in (201, 409)  # it may have failed already
    replayed = await fliqd("POST", f"/v1/jobs/{job['id']}/replay")
    assert (replayed.status, replayed.body["status"]) == (201, "scheduled")
    done = await fliqd.until(replayed.body["id"], "success")
    assert (done["replay_of"], done["json"], done["tags"]) == (job["id"], {"a": 1}, ["x"])
    assert (done["idempotency_key"], done["executions"]) == (None, 1)
    assert await fliqd.job(job["id"]) == failed
    wrong = await fliqd("POST", f"/v1/jobs/{done['id']}/replay")
    assert (wrong.status, wrong.code) == (409, "not_replayable")


@pytest.mark.parametrize(
    "public_id", ["job_00000000000000000000000000", "x", "job_", "job_" + "A" * 26, "%00", "job_%F0%9F%92%A9", "..%2f"]
)
async def test_ids_that_are_none(fliqd: RunningDaemon, public_id: str) -> None:
    for method, tail in (
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/run"), ("POST", "/replay"), ("GET", "/executions"),
        ("GET", "/why"),
    ):  # fmt: skip
        answer = await fliqd(method, f"/v1/jobs/{public_id}{tail}", {} if method == "PATCH" else None)
        assert (answer.status, answer.code) == (404, "not_found")


async def test_many_at_once_are_all_kept(fliqd: RunningDaemon, target: Target) -> None:
    created = await asyncio.gather(*(fliqd.create(url=target.url, delay=0) for _ in range(200)))
    hits = await target.received(200)
    assert {hit.headers["X-Fliq-Delivery-Id"] for hit in hits} == {job["id"] for job in created}
