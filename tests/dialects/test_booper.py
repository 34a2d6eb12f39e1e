"""`/booper` answers, sends and tells what Booper's pages show, and is clear where they say nothing."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema  # type: ignore[import-untyped]
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator  # type: ignore[import-untyped]

from fliqd.core.times import format_time
from fliqd.core.uuids import uuid_of
from fliqd.dialects.booper import documents, openapi
from fliqd.errors import InvalidError
from fliqd.ids import encode_ulid
from tests.api.test_openapi import strict
from tests.support import Answer, RunningDaemon, Target, process, serve_target, until

NOON = "2027-03-01T12:00:00"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNSET = {"attempted_at": None, "completed_at": None, "cancelled_at": None, "discarded_at": None}
DOCUMENT = openapi.document()
COMPONENTS = strict(DOCUMENT["components"])


class Booper:
    """A client of the hosted service whose base URL was changed; each answer is held against the document."""

    def __init__(self, fliqd: RunningDaemon, target: Target) -> None:
        self.fliqd = fliqd
        self.target = target

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        answer = await self.fliqd(method, f"/booper{path}", body, **more)
        told = next((told for told in _calls(path) if method.lower() in told), None)
        if told is None:
            response = COMPONENTS["responses"][str(answer.status)]
        else:
            response = told[method.lower()]["responses"][str(answer.status)]
            response = COMPONENTS["responses"][str(answer.status)] if "$ref" in response else response
        schema = response["content"]["application/json"]["schema"]
        whole = {**strict(schema), "components": COMPONENTS}
        jsonschema.validate(answer.body, whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
        return answer

    async def create(self, **asked: Any) -> dict[str, Any]:
        """Create a job that must be accepted."""
        answer = await self("POST", "/api/jobs", {"url": self.target.url, **asked})
        assert answer.status == 201, answer.body
        record: dict[str, Any] = answer.body["data"]
        return record

    async def job(self, job_id: object) -> dict[str, Any]:
        answer = await self("GET", f"/api/jobs/{job_id}")
        assert answer.status == 200, answer.body
        record: dict[str, Any] = answer.body["data"]
        return record

    async def until(self, job_id: object, state: str) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            record = await self.job(job_id)
            return record if record["job"]["state"] == state else None

        return await until(there, f"{job_id} {state}")

    async def numbers(self, query: str = "") -> list[int]:
        answer = await self("GET", f"/api/jobs{query}")
        assert answer.status == 200, answer.body
        return [record["job_id"] for record in answer.body["data"]]

    async def log(self, query: str) -> list[tuple[str, Any]]:
        answer = await self("GET", f"/api/logs{query}")
        assert answer.status == 200, answer.body
        return [(entry["event"], entry["payload"]) for entry in answer.body["data"]]

    async def refused(self, **asked: Any) -> dict[str, list[str]]:
        """Return what is wrong with a create, field by field."""
        answer = await self("POST", "/api/jobs", {"url": self.target.url, **asked})
        assert (answer.status, answer.body["error"]["status"]) == (422, 422), answer.body
        errors: dict[str, list[str]] = answer.body["error"]["errors"]
        assert all(
            f"{name}: {problem}" in answer.body["error"]["message"] for name in errors for problem in errors[name]
        )
        return errors


def _calls(path: str) -> Iterator[dict[str, Any]]:
    """Yield what the document says of a path."""
    plain = path.partition("?")[0]
    for template, told in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), f"/booper{plain}"):
            yield told


@pytest.fixture
def booper(fliqd: RunningDaemon, target: Target) -> Booper:
    return Booper(fliqd, target)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


# As the pages show it


async def test_a_create_as_its_page_shows_it(booper: Booper) -> None:
    body = {"content": "Testing 123", "channel": "discord"}
    answer = await booper(
        "POST",
        "/api/jobs",
        {"method": "post", "url": booper.target.url, "body": body, "schedule_in": [30, "seconds"]},
    )
    assert (answer.status, set(answer.body)) == (201, {"data"})
    record = answer.body["data"]
    assert UUID.fullmatch(record["id"])
    assert UUID.fullmatch(record["user_id"])
    assert type(record["job_id"]) is int
    assert record == {
        "id": record["id"],
        "idempotency_key": None,
        "inserted_at": NOON,
        "name": None,
        "description": None,
        "user_id": record["user_id"],
        "schedule_id": None,
        "job_id": record["job_id"],
        "job": {
            **UNSET,
            "has_confict": False,
            "id": record["job_id"],
            "inserted_at": f"{NOON}.000000Z",
            "scheduled_at": "2027-03-01T12:00:30.000000Z",
            "state": "available",
        },
        "args": {
            "body": body,
            "headers": {},
            "method": "post",
            "schedule_in": [30, "seconds"],
            "url": booper.target.url,
        },
    }
    booper.fliqd.clock.advance(timedelta(seconds=30))
    [hit] = await booper.target.received(1)
    assert (hit.method, hit.headers["Content-Type"]) == ("POST", "application/json")
    assert hit.json == body | {
        "$job": {"id": record["job_id"], "attempt": 1, "scheduled_at": "2027-03-01T12:00:30.000Z"},
        "$state": {},
        "$previous": {},
    }
    done = await booper.until(record["id"], "completed")
    assert done["job"] | {"completed_at": None} == record["job"] | {
        "state": "completed",
        "attempted_at": "2027-03-01T12:00:30.000000Z",
    }
    assert done["job"]["completed_at"].startswith("2027-03-01T12:00:30.")
    assert (done["args"], done["id"]) == (record["args"], record["id"])


async def test_a_request_in_the_log_as_its_page_shows_it(booper: Booper) -> None:
    record = await booper.create(method="post", body={"content": "x"}, headers={"X-A": "b"}, query={"page": 1})
    await booper.until(record["id"], "completed")
    answer = await booper("GET", "/api/logs")
    [entry] = [entry for entry in answer.body["data"] if entry["event"] == "worker.http.request"]
    assert set(entry) == {"id", "event", "inserted_at", "job_id", "user_id", "payload"}
    assert UUID.fullmatch(entry["id"])
    assert (entry["inserted_at"], entry["job_id"]) == (f"{NOON}.000000Z", record["job_id"])
    assert entry["user_id"] == record["user_id"]
    assert entry["payload"] == {
        "body": booper.target.hits[0].json,
        "headers": {"X-A": "b"},
        "query": {"page": "1"},
        "url": booper.target.url,
    }
    assert entry["payload"]["body"]["$job"]["id"] == record["job_id"]


# Asking


async def test_what_is_asked_is_sent(booper: Booper) -> None:
    await booper.create()
    await booper.create(method="PUT", body=[1, {"a": None}], headers={"X-Number": 5, "X-Flag": True})
    await booper.create(method="Patch", body="plain", headers=None, query=None, schedule_in=None)
    await booper.create(method="delete", body='{"text": 1}')
    await booper.create(method="post", body={}, headers={"content-type": "application/vnd.a+json"})
    got = {hit.method: hit for hit in await booper.target.received(5)}
    assert (got["GET"].body, got["GET"].headers.get("Content-Type")) == (b"", None)
    assert (got["PUT"].body, got["PUT"].headers["Content-Type"]) == (b'[1,{"a":null}]', "application/json")
    assert (got["PUT"].headers["X-Number"], got["PUT"].headers["X-Flag"]) == ("5", "true")
    assert (got["PATCH"].body, got["PATCH"].headers.get("Content-Type")) == (b"plain", None)
    assert (got["DELETE"].body, got["DELETE"].headers["Content-Type"]) == (b'{"text": 1}', "application/json")
    assert got["POST"].headers["Content-Type"] == "application/vnd.a+json"
    assert got["POST"].json["$state"] == {}


async def test_a_post_without_a_body_has_the_dynamic_fields(booper: Booper) -> None:
    record = await booper.create(method="post", body=None)
    [hit] = await booper.target.received(1)
    assert (set(hit.json), hit.headers["Content-Type"]) == ({"$job", "$state", "$previous"}, "application/json")
    assert record["args"]["body"] is None


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ({"a": "b c", "n": 1, "x": 1.5, "yes": True, "none": None}, "?a=b%20c&n=1&x=1.5&yes=true&none="),
        ({"a": {"b": [1, {"c": "d"}]}, "e": []}, "?a%5Bb%5D%5B0%5D=1&a%5Bb%5D%5B1%5D%5Bc%5D=d"),
        ("?a=1&b=%20x&c=", "?a=1&b=%20x&c="),
        ({}, ""),
    ],
)
async def test_a_query_of_any_json(booper: Booper, query: Any, sent: str) -> None:
    record = await booper.create(query=query)
    assert (await booper.target.received(1))[0].path == f"/hook{sent}"
    assert record["args"]["query"] == query


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ({}, "12:00:00"),
        ({"schedule_in": 90}, "12:01:30"),
        ({"schedule_in": 0.5}, "12:00:00.5"),
        ({"schedule_in": [1, "second"]}, "12:00:01"),
        ({"schedule_in": [1.5, "minutes"]}, "12:01:30"),
        ({"schedule_in": [2, "Hours"]}, "14:00:00"),
        ({"schedule_in": [1, "day"]}, "2T12:00:00"),
        ({"schedule_in": [2, "weeks"]}, "15T12:00:00"),
        ({"scheduled_at": "2027-03-01T12:01:00"}, "12:01:00"),
        ({"scheduled_at": "2027-03-01T14:01:00+01:00"}, "13:01:00"),
        ({"scheduled_at": "2027-03-01T12:01:00.250Z", "schedule_in": 5}, "12:01:00.25"),
        ({"scheduled_at": 1803902460}, "12:01:00"),
        ({"scheduled_at": 1803902460500}, "12:01:00.5"),
        ({"scheduled_at": 1803902460.25}, "12:01:00.25"),
        ({"scheduled_at": "2027-03-01T11:59:30Z"}, "11:59:30"),
    ],
)
async def test_when(booper: Booper, asked: dict[str, Any], due: str) -> None:
    day, _, clock = due.rpartition("T")
    record = await booper.create(**asked)
    expected = (
        f"2027-03-{int(day or 1):02}T{clock:0<15}Z" if "." in clock else f"2027-03-{int(day or 1):02}T{clock}.000000Z"
    )
    assert record["job"]["scheduled_at"] == expected
    assert {name: record["args"][name] for name in asked} == asked


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"url": None}, "url", "is required"),
        ({"url": "ftp://a"}, "url", 'must begin with "http://"'),
        ({"method": "trace"}, "method", "expected one of get, post, put, patch, delete"),
        ({"method": 5}, "method", "expected a text"),
        ({"schedule_in": [5, "parsecs"]}, "schedule_in", "units seconds, minutes, hours, days, weeks"),
        ({"schedule_in": -1}, "schedule_in", "expected a number of seconds"),
        ({"schedule_in": "soon"}, "schedule_in", "expected"),
        ({"schedule_in": [5]}, "schedule_in", "length 2"),
        ({"schedule_in": [11, "days"], "cron": "x"}, "cron", '"x"'),
        ({"schedule_in": 1e9}, "schedule_in", "more than 10 years"),
        ({"schedule_in": 1e300}, "schedule_in", "from 0 to 100 years"),
        ({"scheduled_at": "tomorrow"}, "scheduled_at", "RFC 3339"),
        ({"scheduled_at": ""}, "scheduled_at", "RFC 3339"),
        ({"scheduled_at": -5}, "scheduled_at", "from 1970"),
        ({"scheduled_at": 10**40}, "scheduled_at", "from 1970"),
        ({"scheduled_at": 1}, "scheduled_at", "must be in the future"),
        ({"scheduled_at": 1, "repeat_every": 60}, "scheduled_at", "must be in the future"),
        ({"repeat_every": [0, "minutes"]}, "repeat_every", "1 second to 10 years"),
        ({"repeat_every": [1, "lightyear"]}, "repeat_every", "units"),
        ({"repeat_every": 60, "cron": "* * * * *"}, "repeat_every", "exclude each other"),
        ({"cron": "61 * * * *"}, "cron", "minute 61"),
        ({"headers": {"Host": "x"}}, "headers.Host", "set by fliqd"),
        ({"headers": {"X": ["a"]}}, "headers", "expected"),
        ({"query": [1]}, "query", "expected"),
        ({"query": "a=1&a=2"}, "query", "once"),
        ({"query": {"a": [0] * 101}}, "query", "at most 100"),
        ({"idempotency_key": ""}, "idempotency_key", "1 to 256"),
        ({"idempotency_key": "", "cron": "* * * * *"}, "idempotency_key", "1 to 256"),
        ({"callback_url": "x"}, "callback_url", "must begin"),
        ({"webhook_url": 7}, "webhook_url", "expected a text"),
    ],
)
async def test_what_is_wrong_is_said_by_field(booper: Booper, asked: dict[str, Any], field: str, said: str) -> None:
    errors = await booper.refused(**asked)
    assert list(errors) == [field]
    assert said in errors[field][0]


async def test_everything_wrong_is_said_at_once_and_strangers_are_ignored(booper: Booper) -> None:
    errors = await booper.refused(method="x", schedule_in="y", headers=5, colour="red", url=1)
    assert set(errors) == {"method", "schedule_in", "headers", "url"}
    assert "colour" not in (await booper.create(colour="red", schedule_in=60))["args"]


# Errors


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"url": "http://a/", "body": NaN}', "is not JSON"),
        (b'{"url": "http://a/", "body": "\\u0000"}', "NUL"),
        (b'{"url": "http://a/", "body": "\\ud800"}', "is not JSON"),
        (b'{"url": "http://a/", "body": "\xff"}', "is not JSON"),
        (b'{"url": "http://a/", "body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (b'{"url": "http://a/", "query": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", ""),
    ],
)
async def test_a_body_that_is_no_json(booper: Booper, data: bytes, said: str) -> None:
    answer = await booper("POST", "/api/jobs", data=data, headers={"Content-Type": "application/json"})
    assert answer.status == 422
    assert said in answer.body["error"]["message"]
    assert answer.body["error"]["errors"] == {}


async def test_other_refusals_have_the_same_shape(booper: Booper) -> None:
    large = b'{"body": "' + b"x" * 1024**2 + b'"}'
    for answer, status in (
        (await booper("POST", "/api/jobs", data=large), 413),
        (await booper("POST", "/api/jobs", data=b"{}", headers={"Content-Type": "text/plain"}), 415),
        (await booper("DELETE", "/api/jobs"), 405),
        (await booper("GET", "/api/nothing"), 404),
        (await booper("POST", "/api/broadcast", {}), 404),
        (await booper("GET", "/api/jobs", headers={"Host": "evil.example"}), 421),
        (await booper("GET", "/api/jobs", headers={"Origin": "http://evil.example"}), 403),
    ):
        error = answer.body["error"]
        assert (answer.status, error["status"], error["errors"]) == (status, status, {})
        assert error["message"]
    assert (await booper("DELETE", "/api/jobs")).headers["Allow"] == "GET,HEAD,POST"


async def test_tokens_after_either_word(booper: Booper) -> None:
    token, booper.fliqd.token = booper.fliqd.token, None
    for scheme in ("Bearer", "Token", "token"):
        answer = await booper("GET", "/api/jobs", headers={"Authorization": f"{scheme} {token}"})
        assert answer.status == 200
    for header in ({}, {"Authorization": f"Basic {token}"}, {"Authorization": "Token sk_public_20230921"}):
        answer = await booper("GET", "/api/jobs", headers=header)
        assert (answer.status, answer.body["error"]["status"]) == (401, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_who_can_only_read_sees_no_secrets(booper: Booper) -> None:
    record = await booper.create(headers={"Authorization": "Bearer s", "X-A": "b"})
    await booper.until(record["id"], "completed")
    made = await booper.fliqd("POST", "/v1/tokens", {"name": "r", "scopes": ["read"]})
    assert ("worker.http.request", "Bearer s") in [
        (event, payload.get("headers", {}).get("Authorization")) for event, payload in await booper.log("")
    ]
    booper.fliqd.token = made.body["token"]
    assert (await booper("POST", "/api/jobs", {"url": booper.target.url})).status == 403
    assert (await booper("POST", f"/api/jobs/{record['job_id']}/cancel")).status == 403
    masked = {"Authorization": "***", "X-A": "b"}
    assert (await booper.job(record["id"]))["args"]["headers"] == masked
    assert dict(await booper.log(""))["worker.http.request"]["headers"] == masked


# Ids


@given(st.integers(0, 2**128 - 1))
def test_a_uuid_has_the_bits_of_the_ulid(bits: int) -> None:
    assert uuid.UUID(uuid_of(f"job_{encode_ulid(bits)}")).int == bits


async def test_a_job_by_each_of_its_ids(booper: Booper) -> None:
    record = await booper.create(schedule_in=60)
    [native] = (await booper.fliqd("GET", "/v1/jobs")).body["jobs"]
    assert record["id"] == uuid_of(native["id"])
    waiting = await booper.job(record["job_id"])
    for job_id in (record["id"], record["id"].upper(), native["id"], f"%{ord(str(record['job_id'])):x}"):
        assert await booper.job(job_id) == waiting
    answer = await booper("POST", f"/api/jobs/{record['id']}/cancel")
    assert (answer.status, answer.body["data"]["job"]["state"]) == (200, "cancelled")


@pytest.mark.parametrize(
    "job_id",
    ["0", "-1", "99", "9" * 19, "1.0", "x", "41d7f28b-dfbe-44b8-b716-b91898bb0ce0", "41d7f28bdfbe44b8b716b91898bb0ce0",
     "job_01jm00000000000000000000zz", "item_01jm00000000000000000000zz", "1\0", "1\n", "\u0661", "a/b", "\udcff"],
)  # fmt: skip
async def test_what_is_no_id_is_404(booper: Booper, job_id: str) -> None:
    await booper.create(schedule_in=60)
    path = quote(job_id, safe="", errors="surrogateescape")
    for method, where in (("GET", f"/api/jobs/{path}"), ("POST", f"/api/jobs/{path}/cancel")):
        answer = await booper(method, where)
        assert (answer.status, answer.body["error"]["status"]) == (404, 404)
    assert (await booper("GET", f"/api/logs?job_id={path}")).status == 404


async def test_everything_belongs_to_one_user(booper: Booper, tmp_path: Path) -> None:
    first = await booper.create(schedule_in=60)
    await booper.fliqd.stop()
    await booper.fliqd.start()
    assert (await booper.job(first["id"]))["user_id"] == first["user_id"]
    assert (await booper.create(schedule_in=60))["user_id"] == first["user_id"]
    other = RunningDaemon(tmp_path / "other", booper.fliqd.clock, {})
    await other.start()
    try:
        record = (await other("POST", "/booper/api/jobs", {"url": booper.target.url, "schedule_in": 60})).body["data"]
        assert record["user_id"] != first["user_id"]
    finally:
        await other.stop()
        await other.close()


# Keys


async def test_a_key_names_the_first_job_until_it_is_executed(booper: Booper) -> None:
    asked = {"url": booper.target.url, "schedule_in": 60, "idempotency_key": "k"}
    first = await booper.create(**asked)
    assert first["job"]["has_confict"] is False
    again = await booper("POST", "/api/jobs", asked | {"schedule_in": 5, "method": "post"})
    assert again.status == 200
    assert again.body["data"] == first | {"job": first["job"] | {"has_confict": True}}
    assert (await booper.job(first["id"]))["job"]["has_confict"] is False
    booper.fliqd.clock.advance(minutes(1))
    await booper.until(first["id"], "completed")
    second = await booper.create(**asked)
    assert (second["id"] != first["id"], second["idempotency_key"]) == (True, "k")
    assert (await booper("POST", f"/api/jobs/{second['id']}/cancel")).status == 200
    await booper.create(**asked)
    assert len(await booper.numbers()) == 3


async def test_a_key_of_a_recurring_job(booper: Booper) -> None:
    asked = {"url": booper.target.url, "repeat_every": 60, "schedule_in": 60, "idempotency_key": "k"}
    first = await booper.create(**asked)
    for again in (asked, {"url": booper.target.url, "idempotency_key": "k"}):
        answer = await booper("POST", "/api/jobs", again)
        assert (answer.status, answer.body["data"]["id"]) == (200, first["id"])
        assert answer.body["data"]["job"]["has_confict"] is True
    assert len((await booper.fliqd("GET", "/v1/schedules")).body["schedules"]) == 1
    booper.fliqd.clock.advance(minutes(1))
    await booper.until(first["id"], "completed")
    assert (await booper.create(**asked))["schedule_id"] != first["schedule_id"]


# Recurring jobs


async def test_an_interval_begins_at_once(booper: Booper) -> None:
    record = await booper.create(method="post", body={"n": "$previous.n"}, repeat_every=[5, "minutes"], name="pulse")
    assert UUID.fullmatch(record["schedule_id"])
    assert (record["job"]["scheduled_at"], record["job"]["state"]) == (f"{NOON}.000000Z", "available")
    assert (record["name"], record["args"]["repeat_every"]) == ("pulse", [5, "minutes"])
    await booper.until(record["id"], "completed")
    for number in (2, 3):
        booper.fliqd.clock.advance(minutes(5))
        await booper.target.received(number)
    third, second, first = (await booper("GET", "/api/jobs")).body["data"]
    assert (first["id"], first["job"]["scheduled_at"]) == (record["id"], f"{NOON}.000000Z")
    assert [one["job"]["scheduled_at"][11:16] for one in (second, third)] == ["12:05", "12:10"]
    assert {one["schedule_id"] for one in (first, second, third)} == {record["schedule_id"]}
    assert {one["name"] for one in (first, second, third)} == {"pulse"}


async def test_what_runs_tell_each_other(booper: Booper) -> None:
    booper.target.answers += [web.json_response({"n": 7, "$state": {"at": 3}})]
    record = await booper.create(method="post", body={"n": "$previous.n"}, repeat_every=60)
    await booper.until(record["id"], "completed")
    booper.fliqd.clock.advance(minutes(1))
    first, second = await booper.target.received(2)
    assert (first.json["n"], first.json["$state"], first.json["$previous"]) == (None, {}, {})
    assert (second.json["n"], second.json["$state"], second.json["$previous"]) == (7, {"at": 3}, {"n": 7})
    assert second.json["$job"]["id"] == (await booper.numbers())[0]


@pytest.mark.parametrize(
    ("asked", "first", "second"),
    [
        ({"repeat_every": 60, "schedule_in": [10, "minutes"]}, "12:10", "12:11"),
        ({"repeat_every": [1, "hour"], "scheduled_at": "2027-03-01T12:30:00Z"}, "12:30", "13:30"),
        ({"cron": "*/5 * * * *"}, "12:05", "12:10"),
        ({"cron": "0 13 * * 1-5"}, "13:00", "13:00"),
        ({"cron": "*/5 * * * *", "schedule_in": [1, "hour"]}, "13:00", "13:05"),
    ],
)
async def test_first_runs(booper: Booper, asked: dict[str, Any], first: str, second: str) -> None:
    booper.fliqd.clock.advance(timedelta(0))
    record = await booper.create(**asked)
    assert record["job"]["scheduled_at"][11:16] == first
    assert {name: record["args"][name] for name in asked} == asked
    [schedule] = (await booper.fliqd("GET", "/v1/schedules")).body["schedules"]
    assert uuid_of(schedule["id"]) == record["schedule_id"]
    assert (schedule["next_run_at"][11:16], schedule["timezone"]) == (second, "UTC")


async def test_names_of_recurring_jobs_may_come_twice(booper: Booper) -> None:
    records = [await booper.create(cron="0 0 * * *", name="nightly", description="d") for _ in range(2)]
    unnamed = await booper.create(cron="0 0 * * *")
    assert [(one["name"], one["description"]) for one in (*records, unnamed)] == [
        ("nightly", "d"), ("nightly", "d"), (None, None),
    ]  # fmt: skip
    assert (await booper.create(name="nightly", schedule_in=60))["name"] == "nightly"


async def test_cancelling_ends_the_recurrence(booper: Booper) -> None:
    record = await booper.create(repeat_every=60, schedule_in=60)
    answer = await booper("POST", f"/api/jobs/{record['job_id']}/cancel")
    assert (answer.status, answer.body["data"]["job"]["state"]) == (200, "cancelled")
    assert answer.body["data"]["job"]["cancelled_at"] == f"{NOON}.000000Z"
    assert (await booper.fliqd("GET", "/v1/schedules")).body["schedules"] == []
    assert (await booper("POST", f"/api/jobs/{record['job_id']}/cancel")).body == answer.body


async def test_cancelling_a_run_that_retries_ends_the_recurrence_too(booper: Booper) -> None:
    booper.target.answers += [500]
    record = await booper.create(repeat_every=60)
    await booper.until(record["id"], "retryable")
    answer = await booper("POST", f"/api/jobs/{record['job_id']}/cancel")
    assert answer.body["data"]["job"]["state"] == "cancelled"
    assert (await booper.fliqd("GET", "/v1/schedules")).body["schedules"] == []


# Cancelling


async def test_what_has_ended_or_runs_is_shown_as_it_is(booper: Booper) -> None:
    done = await booper.create()
    before = await booper.until(done["id"], "completed")
    answer = await booper("POST", f"/api/jobs/{done['job_id']}/cancel")
    assert (answer.status, answer.body["data"]) == (200, before)
    released = booper.target.hold()
    running = await booper.create()
    await booper.target.received(2)
    answer = await booper("POST", f"/api/jobs/{running['job_id']}/cancel")
    assert (answer.status, answer.body["data"]["job"]["state"]) == (200, "executing")
    released.set()
    await booper.until(running["id"], "completed")


async def test_cancelling_a_run_of_a_schedule_of_another_api_leaves_that(booper: Booper) -> None:
    made = (await booper.fliqd("POST", "/v1/schedules", {"url": booper.target.url, "every": "1h"})).body
    released = booper.target.hold()
    await booper.fliqd("POST", f"/v1/schedules/{made['id']}/run")
    await booper.target.received(1)
    booper.fliqd.clock.advance(timedelta(hours=1))  # the next one waits for the one that runs

    async def waits() -> int | None:
        return next(iter(await booper.numbers("?state=scheduled")), None)

    number = await until(waits, "a run that waits")
    record = await booper.job(number)
    assert (record["job"]["state"], record["schedule_id"]) == ("available", uuid_of(made["id"]))
    answer = await booper("POST", f"/api/jobs/{number}/cancel")
    assert answer.body["data"]["job"]["state"] == "cancelled"
    assert (await booper.fliqd("GET", f"/v1/schedules/{made['id']}")).body["status"] == "active"
    released.set()


# Lists


async def test_lists_by_state(booper: Booper) -> None:
    booper.target.answers += [200, 489, 500]
    for state in ("completed", "discarded", "retryable"):
        await booper.until((await booper.create())["id"], state)
    cancelled = await booper.create(schedule_in=60)
    await booper("POST", f"/api/jobs/{cancelled['id']}/cancel")
    await booper.create(schedule_in=60)
    held = await booper.fliqd.create(url=booper.target.url, delay=0, requires_approval=True)
    done, discarded, retryable, cancelled_number, scheduled, awaiting = range(1, 7)
    assert await booper.numbers("?state=scheduled") == [awaiting, scheduled, retryable]
    assert await booper.numbers("?state=available") == [awaiting, scheduled, retryable]
    assert await booper.numbers("?state=retryable") == [retryable]
    assert await booper.numbers("?state=completed") == [done]
    assert await booper.numbers("?state=discarded") == [discarded]
    assert await booper.numbers("?state=cancelled") == [cancelled_number]
    assert await booper.numbers("?state=executing") == []
    states = [record["job"]["state"] for record in (await booper("GET", "/api/jobs")).body["data"]]
    assert states == ["scheduled", "scheduled", "cancelled", "retryable", "discarded", "completed"]
    assert (await booper.job(held["id"]))["job"]["state"] == "scheduled"
    assert (await booper.job(discarded))["job"]["discarded_at"].startswith(NOON)


async def test_lists_in_part_and_in_order(booper: Booper) -> None:
    for wait in (300, 100, 200):
        await booper.create(schedule_in=wait)
    assert await booper.numbers() == [3, 2, 1]
    for order in (
        "order_by=scheduled_at,asc",
        "order_by=scheduled_at%2C%20asc",
        "order_by[]=scheduled_at&order_by[]=asc",
        "order_by%5B0%5D=scheduled_at&order_by%5B1%5D=asc",
        "order_by=scheduled_at&order_by=asc",
        f"order_by={quote(json.dumps(['scheduled_at', 'asc']))}",
    ):
        assert await booper.numbers(f"?{order}") == [2, 3, 1], order
    assert await booper.numbers("?order_by=inserted_at,asc&limit=2") == [1, 2]
    assert await booper.numbers("?order_by=inserted_at,asc&limit=2&offset=2&stranger=1") == [3]
    assert await booper.numbers("?offset=3") == []
    for _ in range(8):
        await booper.create(schedule_in=60)
    assert len(await booper.numbers()) == 10


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=%D9%A1", "offset=-1", "offset=10000000000", "state=waiting",
     "order_by=secret,asc", "order_by=inserted_at", "order_by=inserted_at,down", "order_by[]=inserted_at",
     "order_by=%5B%5B%5D%5D", "order_by={}", "order_by=", "limit=%00"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/jobs", "/api/logs"])
async def test_wrong_parameters(booper: Booper, path: str, query: str) -> None:
    if path == "/api/logs" and query.startswith("state"):
        pytest.skip("the log has no states")
    answer = await booper("GET", f"{path}?{query}")
    assert (answer.status, list(answer.body["error"]["errors"])) == (422, [query.partition("=")[0].removesuffix("[]")])


# The log


async def test_the_log_tells_each_attempt(booper: Booper) -> None:
    booper.target.answers += [500, web.json_response({"ok": True})]
    record = await booper.create()
    await booper.until(record["id"], "retryable")
    booper.fliqd.clock.advance(minutes(2))
    await booper.until(record["id"], "completed")
    found = await booper.log("?order_by=inserted_at,asc")
    assert [event for event, _ in found] == [
        "worker.started", "worker.http.request", "worker.http.response", "worker.error", "worker.finished",
        "worker.started", "worker.http.request", "worker.http.response", "worker.finished",
    ]  # fmt: skip
    assert found[2][1]["status"] == 500
    assert found[3][1] == {"attempt": 1, "message": "bad_status: the target answered 500"}
    assert found[4][1] == {"attempt": 1, "state": "retryable"}
    assert (found[7][1]["status"], found[7][1]["body"]) == (200, {"ok": True})
    assert found[7][1]["headers"]["Content-Type"] == "application/json; charset=utf-8"
    assert found[8][1] == {"attempt": 2, "state": "completed"}
    assert await booper.log("") == found[::-1]
    for limit in (1, 2, 4):
        pages = [await booper.log(f"?limit={limit}&offset={offset}") for offset in range(0, 10, limit)]
        assert [entry for page in pages for entry in page] == found[::-1]
    ids = [entry["id"] for entry in (await booper("GET", "/api/logs")).body["data"]]
    assert len(set(ids)) == 9


async def test_the_log_of_one_job_and_of_all(booper: Booper) -> None:
    first, second = await booper.create(), await booper.create()
    for record in (first, second):
        await booper.until(record["id"], "completed")
    assert len(await booper.log("")) == 8
    for job_id in (first["job_id"], first["id"]):
        answer = await booper("GET", f"/api/logs?job_id={job_id}")
        assert {entry["job_id"] for entry in answer.body["data"]} == {first["job_id"]}
    released = booper.target.hold()
    running = await booper.create(method="post", body={})
    await booper.target.received(3)
    assert [event for event, _ in await booper.log(f"?job_id={running['job_id']}")] == ["worker.started"]
    released.set()
    assert (await booper("GET", "/api/logs?offset=10001")).status == 422


# Who is told


async def told(receiver: Target, number: int) -> list[Any]:
    return [hit.json for hit in await receiver.received(number)]


async def test_a_webhook_is_told_of_each_step_in_order(booper: Booper) -> None:
    async with serve_target() as receiver:
        booper.target.answers += [500, web.json_response({"ok": 1})]
        record = await booper.create(
            method="post",
            body={"a": 1},
            headers={"Authorization": "Bearer s"},
            webhook_url=receiver.url,
            callback_url=f"{receiver.url}/result",
        )
        assert (record["args"]["webhook_url"], record["args"]["callback_url"]) == (
            receiver.url,
            f"{receiver.url}/result",
        )
        await booper.until(record["id"], "retryable")
        first = await told(receiver, 4)
        booper.fliqd.clock.advance(minutes(2))
        await booper.until(record["id"], "completed")
        everything = await receiver.received(9)
    assert [one["event"] for one in first] == ["job.started", "job.request", "job.response", "job.error"]
    events = [hit.json for hit in everything if hit.path == "/hook"]
    [result] = [hit.json for hit in everything if hit.path == "/hook/result"]
    assert [one["event"] for one in events[4:]] == ["job.started", "job.request", "job.response", "job.finished"]
    for event in events:
        assert set(event) == {"event", "job_id", "id", "inserted_at", "payload"}
        assert (event["job_id"], event["id"]) == (record["job_id"], record["id"])
        assert re.fullmatch(r"2027-03-01T12:\d\d:\d\d\.\d{6}Z", event["inserted_at"])
    payloads = [event["payload"] for event in events]
    assert payloads[0] == {"attempt": 1, "scheduled_at": f"{NOON}.000000Z"}
    assert payloads[1]["body"] == booper.target.hits[0].json
    assert payloads[1]["headers"] == {"Authorization": "***"}
    assert payloads[3] == {"attempt": 1, "message": "bad_status: the target answered 500"}
    assert payloads[7] == {"attempt": 2, "state": "completed"}
    assert result == {
        "job_id": record["job_id"],
        "id": record["id"],
        "status": 200,
        "headers": result["headers"],
        "body": {"ok": 1},
        "truncated": False,
        "duration_ms": result["duration_ms"],
        "error": None,
    }
    # The log tells the same.
    log = await booper.log("?order_by=job_id,asc")
    assert [payload for _, payload in log[:4]] == [
        payloads[0], {**payloads[1], "headers": {"Authorization": "Bearer s"}}, *payloads[2:4],
    ]  # fmt: skip


async def test_a_webhook_is_told_of_the_end_once_no_retry_is_left(booper: Booper, unused_tcp_port: int) -> None:
    nowhere = f"http://127.0.0.1:{unused_tcp_port}/"
    async with serve_target() as receiver:
        record = await booper.create(url=nowhere, webhook_url=receiver.url, callback_url=f"{receiver.url}/result")
        for _ in range(3):
            await booper.until(record["id"], "retryable")
            native = (await booper.fliqd("GET", "/v1/jobs")).body["jobs"][0]
            booper.fliqd.clock.advance(timedelta(hours=1))
            await booper.fliqd.until(native["id"], "scheduled", "failed", executions=native["executions"] + 1)
        await booper.until(record["id"], "discarded")
        hits = await receiver.received(14)
    events = [hit.json for hit in hits if hit.path == "/hook"]
    each = ["job.started", "job.request", "job.error"]
    assert [one["event"] for one in events] == [*each * 4, "job.finished"]
    assert events[-1]["payload"] == {"attempt": 4, "state": "discarded"}
    [result] = [hit.json for hit in hits if hit.path == "/hook/result"]
    assert (result["status"], result["body"], result["error"]) == (None, None, events[-2]["payload"]["message"])


async def test_who_cancels_a_job_that_never_ran_is_told_nothing(booper: Booper) -> None:
    async with serve_target() as receiver:
        never = await booper.create(schedule_in=60, webhook_url=receiver.url)
        await booper("POST", f"/api/jobs/{never['id']}/cancel")
        booper.target.answers += [500]
        failed = await booper.create(webhook_url=receiver.url)
        await booper.until(failed["id"], "retryable")
        await booper("POST", f"/api/jobs/{failed['id']}/cancel")
        events = await told(receiver, 5)
    assert {one["job_id"] for one in events} == {failed["job_id"]}
    assert (events[-1]["event"], events[-1]["payload"]) == ("job.finished", {"attempt": 1, "state": "cancelled"})


# Other APIs


async def test_jobs_of_other_apis_are_shown(booper: Booper) -> None:
    native = await booper.fliqd.create(
        url=booper.target.url, delay="1h", body="text", name="n", query={"a": "b"}, callback_url=booper.target.url
    )
    [record] = (await booper("GET", "/api/jobs")).body["data"]
    assert (record["id"], record["name"], record["job"]["state"]) == (uuid_of(native["id"]), "n", "scheduled")
    assert record["args"] == {
        "method": "post",
        "url": booper.target.url,
        "headers": {},
        "body": "text",
        "query": {"a": "b"},
        "callback_url": booper.target.url,
    }
    ours = await booper.create(
        method="put", body={"a": 1}, schedule_in=60, name="b", idempotency_key="k", webhook_url=booper.target.url
    )
    [shown, _] = (await booper.fliqd("GET", "/v1/jobs")).body["jobs"]
    assert {name: shown[name] for name in ("http_method", "json", "name", "idempotency_key", "max_retries")} == {
        "http_method": "PUT", "json": {"a": 1}, "name": "b", "idempotency_key": "k", "max_retries": 3,
    }  # fmt: skip
    assert (shown["dynamic_fields"], shown["scheduled_at"]) == ("inject", "2027-03-01T12:01:00.000Z")
    await booper.fliqd("PATCH", f"/v1/jobs/{shown['id']}", {"url": f"{booper.target.url}/new", "http_method": "POST"})
    assert (await booper.job(ours["id"]))["args"] | {"webhook_url": ""} == ours["args"] | {
        "url": f"{booper.target.url}/new", "method": "post", "webhook_url": "",
    }  # fmt: skip
    # Keys are of one API.
    assert (
        await booper.fliqd("POST", "/v1/jobs", {"url": booper.target.url, "delay": 5, "idempotency_key": "k"})
    ).status == 201


async def test_what_the_file_declares_is_not_cancelled_here(booper: Booper) -> None:
    file = booper.fliqd.state_dir.with_name("fliqd.toml")
    file.write_text(
        f'jobs = [{{name = "j", scheduled_at = 2027-04-01T00:00:00Z, url = "{booper.target.url}"}}]\n'
        f'schedules = [{{name = "s", every = "1h", url = "{booper.target.url}"}}]\n'
    )
    await booper.fliqd.stop()
    await booper.fliqd.start()
    answer = await booper("POST", "/api/jobs/1/cancel")
    assert (answer.status, answer.body["error"]["status"]) == (409, 409)
    assert "declared in the configuration file" in answer.body["error"]["message"]
    assert (await booper.job(1))["job"]["state"] == "scheduled"
    # Its names are taken, which is no matter here.
    assert (await booper.create(name="s", cron="0 0 * * *"))["name"] == "s"


async def test_items_of_buffers_are_no_jobs(booper: Booper) -> None:
    buffer = (await booper.fliqd("POST", "/v1/buffers", {"url": booper.target.url, "name": "b", "paused": True})).body
    item = (await booper.fliqd("POST", f"/v1/buffers/{buffer['id']}/items", {"body": "x"})).body
    assert await booper.numbers() == []
    for job_id in (item["id"], uuid_of(item["id"]), 2**62, 1):
        assert (await booper("GET", f"/api/jobs/{job_id}")).status == 404


class TestWithoutDynamicFields:
    @pytest.fixture
    def env(self) -> dict[str, str]:
        return {"FLIQD_STAND_INS__BOOPER_DYNAMIC_FIELDS": "false"}

    async def test_a_body_is_sent_byte_for_byte(self, booper: Booper) -> None:
        data = b'{"method": "post", "url": "%s", "body": {"a":  "$job.id" }}' % booper.target.url.encode()
        assert (await booper("POST", "/api/jobs", data=data)).status == 201
        await booper.create(method="put")
        first, second = await booper.target.received(2)
        assert {first.body, second.body} == {b'{"a":  "$job.id" }', b""}


async def test_what_was_accepted_outlives_a_kill(target: Target, tmp_path: Path) -> None:
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        asked = {"url": target.url, "repeat_every": [1, "hour"], "schedule_in": [1, "hour"], "idempotency_key": "k"}
        made = await fliqd("POST", "/booper/api/jobs", asked)
        assert made.status == 201
        await fliqd.kill()
        await fliqd.start()
        again = await fliqd("POST", "/booper/api/jobs", asked)
        record = made.body["data"]
        assert (again.status, again.body["data"]["id"]) == (200, record["id"])
        assert again.body["data"]["args"] == record["args"]
        assert again.body["data"]["user_id"] == record["user_id"]
        await fliqd("POST", f"/v1/jobs/{(await fliqd('GET', '/v1/jobs')).body['jobs'][0]['id']}/run")
        await target.received(1)


# The document


async def test_the_document_has_every_route_and_holds_together(fliqd: RunningDaemon) -> None:
    assert fliqd.daemon is not None
    routes = {
        (route.method, route.resource.canonical)
        for route in fliqd.daemon.application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    there = {(method, path.removeprefix("/booper")) for method, path in routes if path.startswith("/booper/")}
    assert there == set(openapi.OPERATIONS)
    answer = await fliqd("GET", "/booper/openapi.json")
    assert answer.body == json.loads(json.dumps(DOCUMENT))
    for schema in answer.body["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = set(re.findall(r"'#/components/schemas/(\w+)'", str(answer.body)))
    assert names == answer.body["components"]["schemas"].keys()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts, max_size=3),
    max_leaves=8,
)
LIKELY = {
    "method": st.sampled_from(["get", "POST", "x"]),
    "url": st.just("http://a/"),
    "schedule_in": st.tuples(st.integers(-1, 9) | st.floats(), st.sampled_from(["seconds", "week", "x"])) | st.floats(),
    "scheduled_at": st.integers(-(10**20), 10**20) | st.text(max_size=20) | st.floats(),
    "query": st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    "headers": st.dictionaries(st.text(max_size=3), JSON, max_size=3),
}


@given(
    st.fixed_dictionaries(
        {}, optional={name: JSON | LIKELY.get(name, JSON) for name in documents.Create.__struct_fields__}
    )
)
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    try:
        wanted = documents.read(json.dumps(document).encode(), now_ms=1_803_902_400_000, dynamic_fields=True)
    except InvalidError:
        return
    if not wanted.asked.problems:
        sent = json.loads(json.dumps(document))
        assert {name: sent[name] for name in json.loads(wanted.raw)} == json.loads(wanted.raw)


@given(st.integers(0, 253_402_300_799_999))
def test_instants_come_back_as_they_were_written(ms: int) -> None:
    assert documents.instant_ms(format_time(ms)) == ms
    assert documents.instant_ms(format_time(ms)[:-1]) == ms


async def test_nonsense_is_refused_and_never_a_crash(booper: Booper) -> None:
    """Each field with each kind of value, one at a time, through the whole daemon."""
    lists: list[Any] = [[], [1], [1, "x"], ["x", 1], [None, None]]
    nonsense = [None, True, 0, -1, 1.5, 10**30, "", "x", *lists, {}, {"a": {"b": []}}]
    for name in documents.Create.__struct_fields__:
        for value in nonsense:
            answer = await booper("POST", "/api/jobs", {"url": booper.target.url, "schedule_in": 9999, name: value})
            assert answer.status in (200, 201, 422), (name, value, answer.body)


async def test_a_recurrence_ends_also_by_a_run_that_is_over(
    booper: Booper, fliqd: RunningDaemon, target: Target
) -> None:
    """Between two runs there is no other id to end it by."""
    record = await booper.create(method="post", repeat_every=[30, "seconds"])
    await target.received(1)
    await booper.until(record["job_id"], "completed")
    answer = await booper("POST", f"/api/jobs/{record['job_id']}/cancel")
    assert (answer.status, answer.body["data"]["job"]["state"]) == (200, "completed")
    assert (await fliqd("GET", "/v1/schedules")).body["schedules"] == []
