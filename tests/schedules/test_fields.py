"""What may be asked of a schedule, what is refused, and with which words."""

from typing import Any

import pytest

from tests.support import RunningDaemon

from .conftest import Schedules

URL = "http://127.0.0.1:9/"
AT_ONE = "2027-03-01T13:00:00.000Z"


async def test_what_nobody_says_has_a_default(schedules: Schedules) -> None:
    shown = await schedules.get(await schedules.create(every="15m", url=URL))
    assert shown["name"].startswith("schedule-")
    assert (
        shown
        | {
            "cron": None,
            "every": "15m",
            "timezone": "UTC",
            "dst": {"gap": "after", "overlap": "first"},
            "starts_at": None,
            "ends_at": None,
            "max_runs": None,
            "jitter": None,
            "misfire": "latest",
            "misfire_grace": "1m",
            "overlap": "queue",
            "paused": False,
            "status": "active",
            "source": "api",
            "http_method": "POST",
            "headers": {},
            "query": {},
            "body": None,
            "json": None,
            "max_retries": 0,
            "backoff": "exponential",
            "timeout_seconds": 30,
            "queue": "default",
            "description": None,
            "tags": [],
            "on_interrupt": "retry",
            "success_statuses": ["2xx"],
            "created_at": "2027-03-01T12:00:00.000Z",
            "updated_at": "2027-03-01T12:00:00.000Z",
            "next_run_at": "2027-03-01T12:15:00.000Z",
            "last_run_at": None,
            "last_status": None,
            "run_count": 0,
            "error": None,
        }
        == shown
    )


EVERYTHING: dict[str, Any] = {
    "name": "nightly backup",
    "cron": "0 3 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "dst": {"gap": "skip", "overlap": "both"},
    "starts_at": "2027-04-01T00:00:00.000Z",
    "ends_at": "2027-12-31T23:59:59.999Z",
    "max_runs": 100,
    "jitter": "10m",
    "misfire": "all",
    "misfire_grace": "5m",
    "overlap": "skip",
    "http_method": "PUT",
    "headers": {"X-Tenant": "a"},
    "query": {"q": "ü"},
    "json": {"kind": "full"},
    "max_retries": 3,
    "backoff": "linear",
    "timeout_seconds": 90,
    "queue": "mail",
    "description": "The whole of it.",
    "tags": ["a", "b"],
    "on_interrupt": "fail",
    "success_statuses": ["2xx", 409],
}


async def test_what_is_said_is_shown_and_done(schedules: Schedules) -> None:
    shown = await schedules.get(await schedules.create(**EVERYTHING, url=URL))
    assert shown | EVERYTHING == shown
    assert shown["body"] is None
    assert "Monday through Friday" in shown["explanation"]


async def test_a_schedule_may_begin_paused(schedules: Schedules) -> None:
    shown = await schedules.get(await schedules.create(every="1m", paused=True))
    assert (shown["status"], shown["paused"], shown["next_run_at"]) == ("paused", True, None)


async def test_null_on_create_is_left_out(schedules: Schedules) -> None:
    nothing = dict.fromkeys(EVERYTHING.keys() - {"cron", "json", "name"})
    first = await schedules.get(await schedules.create(every="1h", **nothing, name=None, cron=None, paused=None))
    second = await schedules.get(await schedules.create(every="1h"))
    own = {"id", "name"}
    assert {key: first[key] for key in first.keys() - own} == {key: second[key] for key in second.keys() - own}


REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    # what is asked for beside a url; the code; what the message says
    ({}, "invalid_cron", "is required"),
    ({"cron": None}, "invalid_cron", "is required"),
    ({"cron": "0 3 * * *", "every": "1h"}, "invalid_every", "exclude each other"),
    ({"cron": "61 * * * *"}, "invalid_cron", "minute 61 is outside 0-59"),
    ({"cron": ""}, "invalid_cron", ""),
    ({"cron": "* * * *"}, "invalid_cron", ""),
    ({"cron": "0 0 31 2 *"}, "invalid_cron", ""),
    ({"cron": "0 22-2 * * *"}, "invalid_cron", "22-23"),
    ({"cron": "@reboot"}, "invalid_cron", ""),
    ({"cron": "* " * 200}, "invalid_cron", ""),
    ({"cron": 5}, "invalid_cron", "expected a text"),
    ({"cron": ["0 3 * * *"]}, "invalid_cron", "expected a text"),
    ({"every": "999ms"}, "invalid_every", "got 999ms, expected 1 second to 10 years"),
    ({"every": 0}, "invalid_every", "1 second"),
    ({"every": -5}, "invalid_every", "a duration"),
    ({"every": "11y"}, "invalid_every", "a duration"),
    ({"every": "3654d"}, "invalid_every", "10 years"),
    ({"every": "1h1h"}, "invalid_every", "twice"),
    ({"every": True}, "invalid_every", ""),
    ({"every": {}}, "invalid_every", ""),
    ({"every": 1e300}, "invalid_every", ""),
    ({"cron": "@daily", "timezone": "Europe/Berln"}, "invalid_timezone", "did you mean Europe/Berlin?"),
    ({"cron": "@daily", "timezone": "berlin"}, "invalid_timezone", "did you mean Europe/Berlin?"),
    ({"cron": "@daily", "timezone": "europe/berlin"}, "invalid_timezone", "did you mean Europe/Berlin?"),
    ({"cron": "@daily", "timezone": "../../etc/passwd"}, "invalid_timezone", "is not a time zone"),
    ({"cron": "@daily", "timezone": ""}, "invalid_timezone", "is not a time zone"),
    ({"cron": "@daily", "timezone": "+02:00"}, "invalid_timezone", "is not a time zone"),
    ({"cron": "@daily", "timezone": 1}, "invalid_timezone", "expected a text"),
    ({"every": "1h", "timezone": "Mars/Olympus"}, "invalid_timezone", "is not a time zone"),
    ({"cron": "@daily", "dst": {"gap": "before"}}, "invalid_dst", "gap: expected after or skip, got"),
    ({"cron": "@daily", "dst": {"gaps": "after"}}, "invalid_dst", "gaps"),
    ({"cron": "@daily", "dst": "skip"}, "invalid_dst", ""),
    ({"every": "1h", "starts_at": "tomorrow"}, "invalid_starts_at", "RFC 3339"),
    ({"every": "1h", "starts_at": "2027-03-01T12:00:00"}, "invalid_starts_at", "offset"),
    ({"every": "1h", "ends_at": 1803902400}, "invalid_ends_at", "expected a text"),
    ({"every": "1h", "starts_at": "9999-12-31T23:59:59Z"}, "invalid_starts_at", "no run comes after"),
    (
        {"cron": "59 23 31 12 *", "starts_at": "9999-12-31T00:00:00Z", "jitter": "30d"},
        "invalid_starts_at",
        "no run comes after",
    ),
    ({"every": "1h", "ends_at": "2027-03-01T12:59:59Z"}, "invalid_ends_at", "no run comes between now and"),
    ({"every": "1h", "ends_at": "2026-01-01T00:00:00Z"}, "invalid_ends_at", "no run comes"),
    ({"cron": "0 3 * * *", "ends_at": "2027-03-02T02:59:59Z"}, "invalid_ends_at", "no run comes"),
    (
        {"every": "1h", "starts_at": "2028-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"},
        "invalid_ends_at",
        "is before starts_at",
    ),
    ({"every": "1h", "max_runs": 0}, "invalid_max_runs", "from 1 to"),
    ({"every": "1h", "max_runs": -1}, "invalid_max_runs", "from 1 to"),
    ({"every": "1h", "max_runs": 10**10}, "invalid_max_runs", "from 1 to"),
    ({"every": "1h", "max_runs": 10**30}, "invalid_max_runs", ""),
    ({"every": "1h", "max_runs": 1.5}, "invalid_max_runs", "a whole number"),
    ({"every": "1h", "max_runs": "3"}, "invalid_max_runs", "a whole number"),
    ({"every": "1h", "jitter": "1h"}, "invalid_jitter", "got 1h, expected less than the 1h between runs"),
    ({"every": "1h", "jitter": "2h"}, "invalid_jitter", "less than the 1h"),
    ({"cron": "*/5 * * * *", "jitter": "5m"}, "invalid_jitter", "less than the 5m between runs"),
    ({"cron": "0,10 * * * *", "jitter": "15m"}, "invalid_jitter", "less than the 10m between runs"),
    ({"every": "1h", "jitter": "-1m"}, "invalid_jitter", "a duration"),
    ({"every": "1h", "jitter": []}, "invalid_jitter", ""),
    ({"every": "1h", "misfire": "never"}, "invalid_misfire", "expected latest, all or skip"),
    ({"every": "1h", "misfire": True}, "invalid_misfire", ""),
    ({"every": "1h", "misfire_grace": "soon"}, "invalid_misfire_grace", "a duration"),
    ({"every": "1h", "misfire_grace": "200y"}, "invalid_misfire_grace", "a duration"),
    ({"every": "1h", "overlap": "replace"}, "invalid_overlap", "expected queue, allow or skip"),
    ({"every": "1h", "paused": "yes"}, "invalid_paused", "true or false"),
    ({"every": "1h", "paused": 1}, "invalid_paused", "true or false"),
    ({"every": "1h", "name": ""}, "invalid_name", "1 to 256"),
    ({"every": "1h", "name": "x" * 257}, "invalid_name", "1 to 256"),
    ({"every": "1h", "url": None}, "invalid_url", "is required"),
    ({"every": "1h", "url": "ftp://a/"}, "invalid_url", ""),
    ({"every": "1h", "url": "http://user:secret@a/"}, "invalid_url", ""),
    ({"every": "1h", "headers": {"Host": "a"}}, "invalid_headers", "Host"),
    ({"every": "1h", "headers": {"a": 1}}, "invalid_headers", ""),
    ({"every": "1h", "body": "x", "json": {}}, "invalid_json", "exclude each other"),
    ({"every": "1h", "max_retries": 101}, "invalid_max_retries", "0 to 100"),
    ({"every": "1h", "backoff": "never"}, "invalid_backoff", ""),
    (
        {"every": "1h", "backoff": {"kind": "never"}},
        "invalid_backoff",
        "kind: expected exponential, linear, fixed or table",
    ),
    ({"every": "1h", "timeout_seconds": 0}, "invalid_timeout_seconds", "1 to 3600"),
    ({"every": "1h", "queue": "a b"}, "invalid_queue", ""),
    ({"every": "1h", "tags": ["x" * 65]}, "invalid_tags", ""),
    ({"every": "1h", "success_statuses": ["ok"]}, "invalid_success_statuses", ""),
    ({"every": "1h", "on_interrupt": "panic"}, "invalid_on_interrupt", ""),
    ({"every": "1h", "crn": "0 3 * * *"}, "unknown_field", 'did you mean "cron"?'),
    ({"every": "1h", "interval": "1h"}, "unknown_field", "unknown field"),
    ({"every": "1h", "timeZone": "UTC"}, "unknown_field", 'did you mean "timezone"?'),
    ({"every": "1h", "scheduled_at": "2028-01-01T00:00:00Z"}, "unknown_field", "unknown field"),
    ({"every": "1h", "idempotency_key": "k"}, "unknown_field", "unknown field"),
    ({"every": "1h", "next_run_at": None}, "unknown_field", "unknown field"),
    ({"every": "1h", "dedupe_key": "k"}, "unknown_field", "unknown field"),
]


async def test_what_is_refused(fliqd: RunningDaemon) -> None:
    for asked, code, says in REFUSALS:
        answer = await fliqd("POST", "/v1/schedules", {"url": URL, **asked})
        assert (answer.status, answer.code) == (400, code), (asked, answer.body)
        assert says in answer.body["error"]["message"], asked
    assert (await fliqd("GET", "/v1/schedules")).body == {"schedules": [], "next_cursor": None}


async def test_the_last_runs_there_are(fliqd: RunningDaemon, schedules: Schedules) -> None:
    """A thousand runs ten years apart do not fit into the years that can be written down."""
    schedule_id = await schedules.create(every="3650d", jitter="3000d")
    runs = (await fliqd("GET", f"/v1/schedules/{schedule_id}/next?count=1000")).body["runs"]
    assert len(runs) < 800
    assert runs[-1] > "9880"


async def test_a_change_is_judged_as_a_create_is(schedules: Schedules) -> None:
    schedule_id = await schedules.create(every="1h", jitter="1m", name="a")
    before = await schedules.get(schedule_id)
    for asked, code, says in REFUSALS:
        if code == "invalid_cron" and "required" in says:
            continue
        answer = await schedules.ask("PATCH", f"/{schedule_id}", asked)
        assert (answer.status, answer.code) == (400, code), (asked, answer.body)
    assert await schedules.get(schedule_id) == before


async def test_all_that_is_wrong_is_said_at_once(fliqd: RunningDaemon) -> None:
    asked = {"cron": "61 * * * *", "timezone": "Mars", "max_runs": 0, "overlap": "x", "colour": "red", "paused": 3}
    answer = await fliqd("POST", "/v1/schedules", asked)
    assert (answer.status, answer.code) == (400, "invalid_cron")
    fields = [detail["field"] for detail in answer.body["error"]["details"]]
    assert sorted(fields) == ["colour", "cron", "max_runs", "overlap", "paused", "timezone", "url"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"every": NaN}', b'"x"', b'{"name": "\\u0000"}', b"\xff"]
)
async def test_what_is_no_json_object(fliqd: RunningDaemon, body: bytes) -> None:
    answer = await fliqd("POST", "/v1/schedules", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.code) == (400, "invalid_json")


async def test_names_are_unique(schedules: Schedules) -> None:
    first = await schedules.create(every="1h", name="a")
    second = await schedules.create(every="1h", name="b")
    for answer in (
        await schedules.ask("POST", "", {"url": URL, "every": "1h", "name": "a"}),
        await schedules.ask("PATCH", f"/{second}", {"name": "a"}),
    ):
        assert (answer.status, answer.code) == (409, "name_taken")
        assert first in answer.body["error"]["message"]
    assert (await schedules.change(first, name="a"))["name"] == "a"
    assert (await schedules.ask("DELETE", f"/{first}")).status == 204
    assert (await schedules.change(second, name="a"))["name"] == "a"
    assert (await schedules.ask("GET", "?name=a")).body["schedules"][0]["id"] == second


@pytest.mark.parametrize(
    ("given", "asked", "shown"),
    [
        ({"cron": "0 3 * * *"}, {"every": "1h"}, {"cron": None, "every": "1h", "next_run_at": AT_ONE}),
        ({"every": "2h"}, {"cron": "0 13 * * *"}, {"cron": "0 13 * * *", "every": None, "next_run_at": AT_ONE}),
        ({"every": "2h"}, {"cron": "0 3 * * *", "every": None}, {"cron": "0 3 * * *", "every": None}),
        ({"cron": "0 3 * * *"}, {"cron": None, "every": 60}, {"cron": None, "every": "1m"}),
        ({"cron": "0 3 * * *"}, {"timezone": "Asia/Tokyo"}, {"next_run_at": "2027-03-01T18:00:00.000Z"}),
        ({"cron": "0 3 * * *", "timezone": "Asia/Tokyo"}, {"timezone": None}, {"timezone": "UTC"}),
        ({"every": "1h", "ends_at": "2028-01-01T00:00:00Z"}, {"ends_at": None}, {"ends_at": None}),
        ({"every": "1h", "starts_at": "2028-01-01T00:00:00Z"}, {"starts_at": None},
         {"starts_at": None, "next_run_at": AT_ONE}),
        ({"every": "1h", "max_runs": 3}, {"max_runs": None}, {"max_runs": None}),
        ({"every": "1h", "jitter": "5m"}, {"jitter": None}, {"jitter": None, "next_run_at": AT_ONE}),
        ({"every": "1h", "misfire": "all"}, {"misfire": None}, {"misfire": "latest"}),
        ({"every": "1h", "misfire_grace": "2h"}, {"misfire_grace": None}, {"misfire_grace": "1m"}),
        ({"every": "1h", "overlap": "skip"}, {"overlap": None}, {"overlap": "queue"}),
        ({"every": "1h", "dst": {"gap": "skip", "overlap": "both"}}, {"dst": {"gap": "skip"}},
         {"dst": {"gap": "skip", "overlap": "first"}}),
        ({"every": "1h", "dst": {"gap": "skip"}}, {"dst": None}, {"dst": {"gap": "after", "overlap": "first"}}),
        ({"every": "1h", "json": [1]}, {"body": "x"}, {"json": None, "body": "x"}),
        ({"every": "1h", "body": "x"}, {"body": None}, {"json": None, "body": None}),
        ({"every": "1h", "headers": {"A": "1"}}, {"headers": {"B": "2"}}, {"headers": {"B": "2"}}),
        ({"every": "1h", "tags": ["a"]}, {"tags": None}, {"tags": []}),
        ({"every": "1h", "description": "d"}, {"description": None}, {"description": None}),
        ({"every": "1h"}, {"paused": True}, {"status": "paused", "paused": True, "next_run_at": None}),
        ({"every": "1h", "paused": True}, {"paused": False}, {"status": "active", "next_run_at": AT_ONE}),
        ({"every": "1h"}, {"paused": False}, {"status": "active"}),
        ({"every": "1h"}, {}, {"status": "active", "next_run_at": AT_ONE}),
        ({"every": "1h"}, {"url": "http://b.example/"}, {"url": "http://b.example/"}),
    ],
)  # fmt: skip
async def test_changes(
    schedules: Schedules, given: dict[str, Any], asked: dict[str, Any], shown: dict[str, Any]
) -> None:
    changed = await schedules.change(await schedules.create(**given), **asked)
    assert changed | shown == changed
    assert await schedules.get(changed["id"]) == changed


@pytest.mark.parametrize("asked", [{"cron": None}, {"every": None}, {"cron": None, "every": None}])
async def test_a_schedule_without_a_rule_is_none(schedules: Schedules, asked: dict[str, Any]) -> None:
    given: dict[str, Any] = {"cron": "0 3 * * *"} if asked.keys() >= {"cron"} else {"every": "1h"}
    answer = await schedules.ask("PATCH", f"/{await schedules.create(**given)}", asked)
    assert (answer.status, answer.code) == (400, "invalid_cron")
    assert "is required" in answer.body["error"]["message"]


@pytest.mark.parametrize(("field", "code"), [("name", "invalid_name"), ("url", "invalid_url")])
async def test_what_cannot_be_taken_away(schedules: Schedules, field: str, code: str) -> None:
    answer = await schedules.ask("PATCH", f"/{await schedules.create(every='1h')}", {field: None})
    assert (answer.status, answer.code) == (400, code)


async def test_an_expression_that_no_clock_ever_shows(schedules: Schedules) -> None:
    """It has dates, but each lies in the gap, which is to be skipped: no run ever comes."""
    asked = {"cron": "30 2 8-14 3 */7", "timezone": "America/New_York", "dst": {"gap": "skip"}, "url": URL}
    answer = await schedules.ask("POST", "", asked)
    assert (answer.status, answer.code) == (400, "invalid_cron")
    assert "no run" in answer.body["error"]["message"]


async def test_lists(schedules: Schedules) -> None:
    ids = [await schedules.create(every="1h", name=f"n{number}") for number in range(5)]
    await schedules.do(ids[1], "pause")
    page = (await schedules.ask("GET", "?limit=2")).body
    rest = (await schedules.ask("GET", f"?limit=100&cursor={page['next_cursor']}")).body
    assert [one["id"] for one in page["schedules"] + rest["schedules"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert [one["id"] for one in (await schedules.ask("GET", "?status=paused")).body["schedules"]] == [ids[1]]
    assert (await schedules.ask("GET", "?source=config")).body["schedules"] == []
    for query, code in (
        ("status=broken", "invalid_status"), ("source=file", "invalid_source"), ("limit=0", "invalid_limit"),
        ("cursor=x", "invalid_cursor"), ("colour=red", "unknown_parameter"), ("name=a&name=b", "invalid_name"),
    ):  # fmt: skip
        answer = await schedules.ask("GET", f"?{query}")
        assert (answer.status, answer.code) == (400, code), query


async def test_what_is_not_there(schedules: Schedules) -> None:
    for schedule_id in ("sched_01jnxxxxxxxxxxxxxxxxxxxxxx", "sched_0", "job_01jn8vxxxxxxxxxxxxxxxxxxxx", "x%00y"):
        for method, path in (
            ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/run"),
            ("GET", "/next"), ("GET", "/missed"), ("GET", "/jobs"),
        ):  # fmt: skip
            body = {"name": "b"} if method == "PATCH" else None
            answer = await schedules.ask(method, f"/{schedule_id}{path}", body)
            assert (answer.status, answer.code) == (404, "not_found"), (method, path)
    existing = await schedules.create(every="1h")
    for method, path in (("PUT", ""), ("POST", ""), ("GET", "/pause"), ("DELETE", "/missed")):
        assert (await schedules.ask(method, f"/{existing}{path}")).status == 405
    for path in ("/next?count=0", "/next?count=1001", "/next?count=x", "/missed?limit=101", "/missed?cursor=x"):
        assert (await schedules.ask("GET", f"/{existing}{path}")).status == 400, path


async def test_secrets_are_masked_for_those_who_may_read_alone(schedules: Schedules, fliqd: RunningDaemon) -> None:
    schedule_id = await schedules.create(
        every="1h", headers={"Authorization": "Bearer x", "X-Api-Key": "y", "X-A": "z"}
    )
    token = (await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})).body["token"]
    reader = {"Authorization": f"Bearer {token}"}
    for path in (f"/v1/schedules/{schedule_id}", "/v1/schedules"):
        body = (await fliqd("GET", path, headers=reader)).body
        shown = body if "headers" in body else body["schedules"][0]
        assert shown["headers"] == {"Authorization": "***", "X-Api-Key": "***", "X-A": "z"}
    for method, path in (("POST", ""), ("PATCH", f"/{schedule_id}"), ("DELETE", f"/{schedule_id}"),
                         ("POST", f"/{schedule_id}/pause"), ("POST", f"/{schedule_id}/run")):  # fmt: skip
        refused = await fliqd(
            method, f"/v1/schedules{path}", {} if method in {"POST", "PATCH"} else None, headers=reader
        )
        assert refused.status == 403
    assert (await schedules.get(schedule_id))["headers"]["Authorization"] == "Bearer x"
