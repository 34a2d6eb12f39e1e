"""`/quedup`: the API of QuedUp as its pages describe it, and as ours do where those say nothing."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fliqd.dialects import places
from fliqd.dialects.quedup import jobs as quedup_jobs
from fliqd.dialects.quedup.operations import OPERATIONS, document
from tests.dialects.speaking import Speaker, routes_below
from tests.support import JOB_ID, FakeClock, RunningDaemon, Target, process, until

FIELDS = {"id", "name", "method", "url", "headers", "body", "schedule", "next_run_at", "status"}
RUN_FIELDS = {
    "id", "job_id", "attempt", "status", "scheduled_at", "started_at", "finished_at", "duration_ms", "response_status",
    "response_headers", "response_body", "error", "next_retry_at",
}  # fmt: skip
LATER = "2027-03-01T13:00:00Z"  # an hour after the start of the clock


@pytest.fixture
def quedup(fliqd: RunningDaemon) -> Speaker:
    return Speaker(fliqd, "quedup", document())


async def made(quedup: Speaker, target: Target, **fields: Any) -> dict[str, Any]:
    answer = await quedup("POST", "/jobs", {"name": "Job", "method": "POST", "url": target.url} | fields)
    assert answer.status == 200, answer.body
    job: dict[str, Any] = answer.body
    assert job.keys() == FIELDS
    assert JOB_ID.fullmatch(job["id"])
    return job


async def became(quedup: Speaker, job: dict[str, Any], status: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        read: dict[str, Any] = (await quedup("GET", f"/jobs/{job['id']}")).body
        return read if read["status"] == status else None

    return await until(there, f"{status} of {job['id']}")


async def runs_of(quedup: Speaker, job: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Wait for that many runs to have ended; return them, newest first."""

    async def there() -> list[dict[str, Any]] | None:
        runs: list[dict[str, Any]] = (await quedup("GET", f"/jobs/{job['id']}/runs")).body
        return runs if len(runs) == number and all(run["status"] != "running" for run in runs) else None

    return await until(there, f"run {number}")


async def test_a_job_runs_once_at_its_time(quedup: Speaker, target: Target, clock: FakeClock) -> None:
    job = await made(
        quedup,
        target,
        name="Database Backup",
        body='{"full": true}',
        headers={"X-From": "quedup"},
        run_at="2027-03-01T14:00:00+01:00",
    )
    assert job == {
        "id": job["id"],
        "name": "Database Backup",
        "method": "POST",
        "url": target.url,
        "headers": {"X-From": "quedup"},
        "body": '{"full": true}',
        "schedule": None,
        "next_run_at": "2027-03-01T13:00:00.000Z",
        "status": "active",
    }
    assert (await quedup("GET", f"/jobs/{job['id']}")).body == job
    clock.advance(timedelta(hours=1))
    [hit] = await target.received(1)
    assert (hit.method, hit.body, hit.headers["X-From"]) == ("POST", b'{"full": true}', "quedup")
    assert hit.headers["Content-Type"] == "application/json"  # it is, and nobody said otherwise
    done = await became(quedup, job, "completed")
    assert done == job | {"status": "completed", "next_run_at": None}


async def test_without_a_time_it_runs_now(quedup: Speaker, target: Target) -> None:
    job = await made(quedup, target, run_at=None, schedule=None, body=None, method="get")
    [hit] = await target.received(1)
    assert (job["method"], job["body"], hit.method, hit.body) == ("GET", "", "GET", b"")
    assert "Content-Type" not in hit.headers
    await became(quedup, job, "completed")


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [("plain", {}, None), ("[1]", {"content-type": "text/x"}, "text/x"), ("[1]", {}, "application/json")],
)
async def test_only_json_without_a_type_is_given_one(
    quedup: Speaker, target: Target, body: str, headers: dict[str, str], kind: str | None
) -> None:
    await made(quedup, target, body=body, headers=headers)
    [hit] = await target.received(1)
    assert hit.headers.get("Content-Type") == kind
    assert hit.headers.get("User-Agent", "").startswith("fliqd/")


async def test_a_schedule_wins_over_a_time(quedup: Speaker, target: Target, clock: FakeClock) -> None:
    job = await made(quedup, target, schedule="30 12 * * *", run_at="not a time")
    assert (job["schedule"], job["next_run_at"], job["status"]) == ("30 12 * * *", "2027-03-01T12:30:00.000Z", "active")
    clock.advance(timedelta(minutes=30))
    await target.received(1)
    [run] = await runs_of(quedup, job, 1)
    assert (run["job_id"], run["status"]) == (job["id"], "succeeded")
    after = (await quedup("GET", f"/jobs/{job['id']}")).body
    assert after == job | {"next_run_at": "2027-03-02T12:30:00.000Z"}


async def test_the_seven_attempts(quedup: Speaker, target: Target, clock: FakeClock) -> None:
    """0, at once, then 5 and 15 minutes, 1, 3 and 6 hours after the attempt before."""
    target.answers += [500] * 7
    job = await made(quedup, target)
    await target.received(2)
    for attempt, seconds in enumerate((300, 900, 3600, 10800, 21600), 3):
        [last, *_] = await runs_of(quedup, job, attempt - 1)
        assert last["next_retry_at"] == (await quedup("GET", f"/jobs/{job['id']}")).body["next_run_at"]
        clock.advance(timedelta(seconds=seconds - 1))
        assert (await quedup("GET", f"/jobs/{job['id']}")).body["status"] == "active"
        assert len(target.hits) == attempt - 1
        clock.advance(timedelta(seconds=1))
        await target.received(attempt)
    assert (await became(quedup, job, "failed"))["next_run_at"] is None
    runs = await runs_of(quedup, job, 7)
    assert [run["attempt"] for run in runs] == [7, 6, 5, 4, 3, 2, 1]
    assert [run["next_retry_at"] for run in runs] == [None] * 7
    assert len(target.hits) == 7


async def test_it_has_fifteen_minutes(fliqd: RunningDaemon, quedup: Speaker, target: Target) -> None:
    job = await made(quedup, target, run_at=LATER)
    assert (await fliqd.job(job["id"]))["timeout_seconds"] == 900


async def test_a_run_is_shown_in_full(quedup: Speaker, target: Target, clock: FakeClock) -> None:
    target.answers += [500]
    job = await made(quedup, target)
    second, first = await runs_of(quedup, job, 2)
    assert second.keys() == RUN_FIELDS
    assert first == second | {
        "id": f"run_{job['id'][4:]}_1",
        "attempt": 1,
        "status": "failed",
        "error": "bad_status: the target answered 500",
        "response_status": 500,
        **{name: first[name] for name in ("started_at", "finished_at", "duration_ms", "response_headers")},
    }
    assert (second["response_status"], second["response_body"], second["error"]) == (200, "hello", None)
    assert second["response_headers"]["Content-Length"] == "5"
    assert (await quedup("GET", f"/runs/{second['id']}")).body == second
    for run_id in (f"run_{job['id'][4:]}_3", f"run_{job['id'][4:]}_01", "run_x", "run_" + "0" * 26 + "_1", "x"):
        answer = await quedup("GET", f"/runs/{run_id}")
        assert (answer.status, answer.body.keys()) == (404, {"error"})


async def test_a_name_is_one_job_s_alone(quedup: Speaker, target: Target) -> None:
    """Whichever kind it is of, and until it is deleted."""
    once = await made(quedup, target, name="once")
    await became(quedup, once, "completed")
    recurring = await made(quedup, target, name="recurring", schedule="@daily")
    for name in ("once", "recurring"):
        for schedule in (None, "@hourly"):
            body = {"name": name, "method": "GET", "url": target.url, "schedule": schedule}
            answer = await quedup("POST", "/jobs", body)
            assert (answer.status, answer.body.keys()) == (409, {"error"})
            assert f'"{name}"' in answer.body["error"]
    for job in (once, recurring):
        deleted = await quedup("DELETE", f"/jobs/{job['id']}")
        assert (deleted.status, deleted.body["id"]) == (200, job["id"])
        assert (await quedup("GET", f"/jobs/{job['id']}")).status == 404
        assert (await quedup("DELETE", f"/jobs/{job['id']}")).status == 404
    assert (await quedup("GET", "/jobs")).body == []
    await made(quedup, target, name="once", schedule="@daily")
    await made(quedup, target, name="recurring")


async def test_of_many_at_once_one_gets_a_name(quedup: Speaker, target: Target) -> None:
    body = {"name": "Job", "method": "GET", "url": target.url, "run_at": LATER}
    asked = [quedup("POST", "/jobs", body | {"schedule": "@daily" if number % 2 else None}) for number in range(20)]
    statuses = [answer.status for answer in await asyncio.gather(*asked)]
    assert sorted(statuses) == [200] + [409] * 19


async def test_other_apis_may_use_the_same_name(fliqd: RunningDaemon, quedup: Speaker, target: Target) -> None:
    await fliqd.create(url=target.url, delay=0, name="once", idempotency_key="once")
    await made(quedup, target, name="once")


async def test_pause_and_resume(fliqd: RunningDaemon, quedup: Speaker, target: Target, clock: FakeClock) -> None:
    once = await made(quedup, target, name="once", run_at=LATER)
    recurring = await made(quedup, target, name="recurring", schedule="30 12 * * *")
    for job in (once, recurring):
        for _ in range(2):
            paused = await quedup("POST", f"/jobs/{job['id']}/pause")
            assert paused.body == job | {"status": "paused", "next_run_at": None}
    clock.advance(timedelta(hours=2))
    resumed = [(await quedup("POST", f"/jobs/{job['id']}/resume")).body for job in (once, once, recurring, recurring)]
    assert [job["status"] for job in resumed[:1] + resumed[2:]] == ["active"] * 3
    assert resumed[3]["next_run_at"] == "2027-03-02T12:30:00.000Z"
    await became(quedup, once, "completed")  # its time has passed
    assert len(target.hits) == 1
    seen = await fliqd.job(once["id"])
    assert (seen["requires_approval"], seen["approved_by"]) == (False, None)  # nobody was asked


async def test_a_status_can_be_set(quedup: Speaker, target: Target) -> None:
    for name, more in (("once", {"run_at": LATER}), ("recurring", {"schedule": "@daily"})):
        job = await made(quedup, target, name=name, **more)
        path = f"/jobs/{job['id']}"
        paused = (await quedup("PATCH", path, {"status": "paused", "url": target.url + "/new"})).body
        assert paused == job | {"status": "paused", "next_run_at": None, "url": target.url + "/new"}
        assert (await quedup("PUT", path, paused)).body == paused
        assert (await quedup("PATCH", path, {"status": "active"})).body == job | {"url": target.url + "/new"}
        refused = await quedup("PATCH", path, {"status": "completed"})
        assert (refused.status, refused.body) == (400, {"error": "status: expected active or paused"})


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_job_is_changed(quedup: Speaker, target: Target, clock: FakeClock, method: str) -> None:
    once = await made(quedup, target, name="once", run_at=LATER, body="x")
    changes = {
        "name": "renamed",
        "method": "PUT",
        "headers": {"X-A": "b"},
        "body": None,
        "run_at": "2027-03-01T12:30:00Z",
    }
    changed = (await quedup(method, f"/jobs/{once['id']}", changes)).body
    del changes["run_at"]
    assert changed == once | changes | {"body": "", "next_run_at": "2027-03-01T12:30:00.000Z"}
    await made(quedup, target, name="once", run_at=LATER)  # which is free again
    taken = await quedup(method, f"/jobs/{once['id']}", {"name": "once"})
    assert taken.status == 409

    recurring = await made(quedup, target, name="recurring", schedule="@daily")
    changed = (await quedup(method, f"/jobs/{recurring['id']}", {"schedule": "0 13 * * *", "name": "again"})).body
    assert changed == recurring | {
        "name": "again",
        "schedule": "0 13 * * *",
        "next_run_at": "2027-03-01T13:00:00.000Z",
    }
    for name in ("once", "renamed"):
        assert (await quedup(method, f"/jobs/{recurring['id']}", {"name": name})).status == 409
    assert (await quedup(method, f"/jobs/{once['id']}", {"name": "again"})).status == 409


async def test_a_job_can_be_sent_back_as_it_came(quedup: Speaker, target: Target) -> None:
    """Whatever state it is in."""
    once = await made(quedup, target, name="once", headers={"X-A": "b"})
    recurring = await made(quedup, target, name="recurring", schedule="@daily", body="x")
    for job in (await became(quedup, once, "completed"), recurring):
        for method in ("PUT", "PATCH"):
            answer = await quedup(method, f"/jobs/{job['id']}", job)
            assert (answer.status, answer.body) == (200, job)


async def test_the_kind_of_a_job_stays(quedup: Speaker, target: Target) -> None:
    once = await made(quedup, target, name="once", run_at=LATER)
    recurring = await made(quedup, target, name="recurring", schedule="@daily")
    for job, change in ((once, {"schedule": "@hourly"}), (recurring, {"schedule": None, "run_at": LATER})):
        answer = await quedup("PATCH", f"/jobs/{job['id']}", change)
        assert answer.status == 409
        assert "delete it and create it again" in answer.body["error"]
        assert (await quedup("GET", f"/jobs/{job['id']}")).body == job


async def test_a_job_is_run_now(quedup: Speaker, target: Target) -> None:
    once = await made(quedup, target, name="once", run_at=LATER)
    recurring = await made(quedup, target, name="recurring", schedule="@daily")
    assert (await quedup("POST", f"/jobs/{once['id']}/run")).status == 200
    assert (await quedup("POST", f"/jobs/{recurring['id']}/run")).body == recurring
    await became(quedup, once, "completed")
    [run] = await runs_of(quedup, recurring, 1)
    assert run["job_id"] == recurring["id"]
    assert (await quedup("GET", f"/runs/{run['id']}")).body == run
    again = await quedup("POST", f"/jobs/{once['id']}/run")
    assert (again.status, again.body.keys()) == (409, {"error"})


@pytest.mark.parametrize("step", [1, 2, 100])
async def test_runs_of_a_recurring_job_come_in_parts(
    quedup: Speaker, target: Target, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(quedup_jobs, "_STEP", step)  # however many of its jobs are read at a time
    target.answers += [500, 200, 200, 500]
    job = await made(quedup, target, schedule="@hourly")
    for number in (2, 3, 5):
        clock.advance(timedelta(hours=1))
        await target.received(number)
        await runs_of(quedup, job, number)
    runs = (await quedup("GET", f"/jobs/{job['id']}/runs")).body
    assert [run["attempt"] for run in runs] == [2, 1, 1, 2, 1]
    assert len({run["id"] for run in runs}) == 5
    for offset in range(6):
        part = await quedup("GET", f"/jobs/{job['id']}/runs?limit=2&offset={offset}")
        assert part.body == runs[offset : offset + 2]
        more = part.headers.get("Link")
        assert more == (f'<?limit=2&offset={offset + 2}>; rel="next"' if offset < 3 else None)


async def test_a_retrying_run_makes_the_next_one_be_skipped(
    fliqd: RunningDaemon, quedup: Speaker, target: Target, clock: FakeClock
) -> None:
    target.answers += [500] * 3
    job = await made(quedup, target, schedule="* * * * *")
    clock.advance(timedelta(minutes=1))
    await runs_of(quedup, job, 2)
    clock.advance(timedelta(minutes=1))
    path = f"/v1/schedules/sched_{job['id'][4:]}"

    async def skipped() -> bool | None:
        return (
            any(missed["reason"] == "overlap" for missed in (await fliqd("GET", f"{path}/missed")).body["missed"])
            or None
        )

    await until(skipped, "the skipped run")
    assert len(target.hits) == 2


async def test_the_list(fliqd: RunningDaemon, quedup: Speaker, target: Target) -> None:
    """A bare array of all jobs of all APIs: those that recur, then those that run once, each newest first."""
    native = await fliqd.create(url=target.url, delay="1h")
    once = await made(quedup, target, name="once", run_at=LATER)
    schedule = (await fliqd("POST", "/v1/schedules", {"url": target.url, "every": "15m", "name": "every"})).body
    recurring = await made(quedup, target, name="recurring", schedule="@daily")
    assert (await quedup("POST", f"/jobs/{recurring['id']}/run")).status == 200  # whose job is no job here
    jobs = (await quedup("GET", "/jobs")).body
    assert [job["id"] for job in jobs] == [recurring["id"], f"job_{schedule['id'][6:]}", once["id"], native["id"]]
    assert (jobs[1]["schedule"], jobs[3]["name"], jobs[3]["status"]) == ("@every 15m", "", "active")
    for offset in range(5):
        part = await quedup("GET", f"/jobs?limit=2&offset={offset}")
        assert part.body == jobs[offset : offset + 2]
        assert ("Link" in part.headers) == (offset < 2)
    for wrong in ("limit=0", "limit=101", "limit=x", "offset=-1", "offset=9999999999999999", "limit=%00"):
        answer = await quedup("GET", f"/jobs?{wrong}")
        assert (answer.status, answer.body.keys()) == (400, {"error"})


@pytest.mark.parametrize("step", [1, 2, 3, 100])
async def test_parts_of_the_list_make_up_the_whole(
    fliqd: RunningDaemon, quedup: Speaker, target: Target, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(places, "_STEP", step)  # however many schedules are read at a time
    for number in range(5):
        await made(quedup, target, name=f"recurring {number}", schedule="@daily")
        await made(quedup, target, name=f"once {number}", run_at=LATER)
    jobs = (await quedup("GET", "/jobs")).body
    assert [job["name"] for job in jobs] == [
        f"{kind} {number}" for kind in ("recurring", "once") for number in range(4, -1, -1)
    ]
    schedules = (await fliqd("GET", "/dispatchq/v1/schedules")).body["data"]
    for limit in (1, 2, 3, 7):
        for offset in range(12):
            assert (await quedup("GET", f"/jobs?limit={limit}&offset={offset}")).body == jobs[offset : offset + limit]
            part = (await fliqd("GET", f"/dispatchq/v1/schedules?limit={limit}&offset={offset}")).body
            assert (part["data"], part["total"]) == (schedules[offset : offset + limit], 5)


async def test_jobs_of_other_apis(fliqd: RunningDaemon, quedup: Speaker, target: Target) -> None:
    """They are read, changed, paused and deleted here as our own are, and stay where they were made."""
    native = await fliqd.create(url=target.url, delay="1h", json={"a": 1}, requires_approval=True, idempotency_key="k")
    job = (await quedup("GET", f"/jobs/{native['id']}")).body
    assert (job["status"], job["body"], job["next_run_at"]) == ("paused", '{"a": 1}', None)
    same = (await quedup("PUT", f"/jobs/{native['id']}", job | {"name": "named"})).body
    assert same == job | {"name": "named"}
    assert (await fliqd.job(native["id"]))["json"] == {"a": 1}
    assert (await quedup("POST", f"/jobs/{native['id']}/resume")).body["status"] == "active"
    assert (await fliqd.job(native["id"]))["approved_by"] == "admin"
    assert (await quedup("DELETE", f"/jobs/{native['id']}")).status == 200
    assert (await fliqd.job(native["id"]))["status"] == "cancelled"
    assert (await quedup("GET", f"/jobs/{native['id']}")).body["status"] == "failed"
    again = await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": 0, "idempotency_key": "k"})
    assert again.body["id"] == native["id"]

    ours = await made(quedup, target, run_at=LATER)
    assert (await fliqd.job(ours["id"]))["name"] == "Job"
    await quedup("DELETE", f"/jobs/{ours['id']}")
    assert (await fliqd.job(ours["id"]))["status"] == "cancelled"  # kept for the record


async def test_the_run_of_a_schedule_can_be_read_as_a_job(
    fliqd: RunningDaemon, quedup: Speaker, target: Target
) -> None:
    recurring = await made(quedup, target, schedule="@daily")
    run = (await fliqd("POST", f"/v1/schedules/sched_{recurring['id'][4:]}/run")).body
    done = await became(quedup, run, "completed")
    assert (done["schedule"], done["name"]) == (None, "Job")


async def test_a_running_job_cannot_be_deleted(quedup: Speaker, target: Target) -> None:
    released = target.hold()
    job = await made(quedup, target)
    await target.received(1)
    running = (await quedup("GET", f"/jobs/{job['id']}")).body
    assert (running["status"], running["next_run_at"]) == ("active", "2027-03-01T12:00:00.000Z")
    [run] = (await quedup("GET", f"/jobs/{job['id']}/runs")).body
    assert (run["status"], run["finished_at"], run["duration_ms"]) == ("running", None, None)
    path = f"/jobs/{job['id']}"
    for answer in (
        await quedup("DELETE", path),
        await quedup("POST", f"{path}/pause"),
        await quedup("PATCH", path, {"body": "x"}),
    ):
        assert (answer.status, answer.body.keys()) == (409, {"error"})
    released.set()
    await became(quedup, job, "completed")
    assert (await quedup("DELETE", f"/jobs/{job['id']}")).status == 200


JOB = {"name": "Job", "method": "POST", "url": "http://127.0.0.1:1/"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "url: is required; name: is required; method: is required"),
        (JOB | {"name": None}, "name: is required"),
        (JOB | {"name": ""}, "name: expected 1 to 256 characters, got 0"),
        (JOB | {"name": 5}, "name: expected a text, got a whole number"),
        (JOB | {"method": "BREW"}, "method: expected GET, POST, PUT, PATCH or DELETE"),
        (JOB | {"url": "ftp://x/"}, "url: "),
        (JOB | {"run_at": "tomorrow"}, 'run_at: got "tomorrow", expected an RFC 3339 time'),
        (JOB | {"run_at": "2023-11-07T05:31:56Z"}, "run_at: must be in the future"),
        (JOB | {"schedule": "61 * * * *"}, 'schedule: "61 * * * *": minute 61'),
        (JOB | {"schedule": ""}, "schedule: "),
        (JOB | {"headers": {"Host": "x"}}, "headers.Host: "),
        (JOB | {"headers": {"X-A": 1}}, "headers: expected a text in X-A, got a whole number"),
        (JOB | {"body": {"a": 1}}, "body: expected a text, got an object"),
        (JOB | {"schedule": 5, "unknown": 1}, "schedule: expected a text, got a whole number"),
        ([], "body: expected a JSON object"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(quedup: Speaker, body: Any, error: str) -> None:
    answer = await quedup("POST", "/jobs", data=json.dumps(body).encode())
    assert answer.status == 400
    assert answer.body.keys() == {"error"}
    assert answer.body["error"].startswith(error)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b'{"name": "\\u0000"}', b'{"name": "\\ud800"}', b"[" * 100_000, b'{"name": NaN}'],
)
async def test_what_is_no_json_is_refused(quedup: Speaker, data: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await quedup("POST", "/jobs", data=data, headers=headers)
    assert (answer.status, answer.body.keys()) == (400, {"error"})


async def test_what_it_does_not_know_is_let_pass(quedup: Speaker, target: Target) -> None:
    await made(quedup, target, timezone="Mars/Olympus", retries=[])


async def test_other_refusals_have_its_shape(fliqd: RunningDaemon, quedup: Speaker) -> None:
    reader = (await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})).body["token"]
    text = {"Content-Type": "text/plain"}
    for status, answer in (
        (401, await quedup("GET", "/jobs", headers={"Authorization": "Bearer qup_1234"})),
        (401, await quedup("GET", "/jobs", headers={"Authorization": "Token x"})),
        (403, await quedup("POST", "/jobs", {}, headers={"Authorization": f"Bearer {reader}"})),
        (404, await quedup("GET", "/nothing")),
        (404, await quedup("GET", "/jobs/job_1")),
        (404, await quedup("GET", "/jobs/job%2F1")),
        (404, await quedup("GET", "/jobs/job_" + "0" * 26)),
        (404, await quedup("POST", "/jobs/job_" + "0" * 26 + "/pause")),
        (405, await quedup("DELETE", "/jobs")),
        (413, await quedup("POST", "/jobs", data=b" " * 1_100_000)),
        (415, await quedup("POST", "/jobs", data=b"{}", headers=text)),
        (421, await quedup("GET", "/jobs", headers={"Host": "evil.example"})),
    ):
        assert answer.status == status, answer.body
        assert answer.body.keys() == {"error"}
        assert answer.body["error"]
        assert answer.headers["X-Request-Id"]


async def test_who_may_only_read_sees_no_secrets(fliqd: RunningDaemon, quedup: Speaker, target: Target) -> None:
    job = await made(quedup, target, headers={"Authorization": "Bearer x", "X-A": "b"}, run_at=LATER)
    reader = (await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})).body["token"]
    headers = {"Authorization": f"Bearer {reader}"}
    read = (await quedup("GET", f"/jobs/{job['id']}", headers=headers)).body
    assert read == job | {"headers": {"Authorization": "***", "X-A": "b"}}
    assert (await quedup("GET", "/jobs", headers=headers)).body == [read]


async def test_the_document_has_every_call(fliqd: RunningDaemon, quedup: Speaker) -> None:
    assert routes_below(fliqd, "/quedup") == set(OPERATIONS)
    assert (await quedup("GET", "/openapi.json")).body == document()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FUZZED = ("name", "url", "method", "body", "headers", "run_at", "schedule", "status")
likely = {
    "url": st.just("http://127.0.0.1:1/"),
    "method": st.sampled_from(["GET", "POST"]),
    "run_at": st.just(LATER),
    "schedule": st.sampled_from(["@daily", "0 0 30 2 *", "* * * * * *"]),
    "status": st.sampled_from(["active", "paused", "failed"]),
    "headers": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
}


async def test_nothing_makes_it_crash(quedup: Speaker) -> None:
    """Whatever the fields hold, the answer is one that the document knows, and no bug of ours."""
    bodies: list[dict[str, Any]] = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(st.fixed_dictionaries({}, optional={name: likely.get(name, anything) | anything for name in FUZZED}))
    def collect(body: dict[str, Any]) -> None:
        bodies.append(body)

    collect()
    statuses = set()
    made_ids = []
    for body in bodies:
        answer = await quedup("POST", "/jobs", body)
        statuses.add(answer.status)
        if answer.status == 200:
            made_ids.append(answer.body["id"])
        for job_id in made_ids[-1:]:
            changed = await quedup("PATCH", f"/jobs/{job_id}", body)
            assert changed.status in (200, 400, 409), (body, changed.body)
    assert statuses <= {200, 400, 409}
    assert 400 in statuses


async def test_names_and_runs_outlive_the_process(tmp_path: Path, target: Target) -> None:
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        body = {"name": "Job", "method": "POST", "url": target.url}
        job = (await fliqd("POST", "/quedup/jobs", body)).body
        await target.received(1)
        await fliqd.until(job["id"], "success")
        await fliqd.kill()
        await fliqd.start()
        assert (await fliqd("POST", "/quedup/jobs", body)).status == 409
        assert (await fliqd("GET", f"/quedup/jobs/{job['id']}")).body["status"] == "completed"
        [run] = (await fliqd("GET", f"/quedup/jobs/{job['id']}/runs")).body
        assert re.fullmatch(r"run_[0-9a-z]{26}_1", run["id"])
        assert (await fliqd("GET", f"/quedup/runs/{run['id']}")).body == run
