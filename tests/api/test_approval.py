"""Jobs that wait for somebody: nothing leaves until it is approved, and nothing waits for ever."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import RunningDaemon, Target, until


async def waiting(fliqd: RunningDaemon, target: Target, **fields: Any) -> dict[str, Any]:
    job = await fliqd.create(url=target.url, requires_approval=True, **({"delay": 0} | fields))
    assert (job["status"], job["next_attempt_at"]) == ("awaiting_approval", None)
    assert job["actions"] == ["approve", "cancel", "update"]
    return job


async def test_it_leaves_once_it_is_approved(fliqd: RunningDaemon, target: Target) -> None:
    job = await waiting(fliqd, target)
    ordinary = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(ordinary["id"], "success")
    [hit] = target.hits
    assert hit.headers["X-Fliq-Delivery-Id"] == ordinary["id"]
    assert (await fliqd("GET", f"/v1/jobs/{job['id']}/why")).body["waits_for"][0]["reason"] == "approval"

    answer = await fliqd("POST", f"/v1/jobs/{job['id']}/approve")
    assert (answer.status, answer.body["status"]) == (200, "scheduled")
    assert (answer.body["approved_by"], answer.body["approved_at"]) == ("admin", "2027-03-01T12:00:00.000Z")
    done = await fliqd.until(job["id"], "success")
    assert (done["requires_approval"], done["approved_by"]) == (True, "admin")


async def test_both_have_to_come_approval_and_time(fliqd: RunningDaemon, target: Target) -> None:
    job = await waiting(fliqd, target, delay="1h")
    approved = (await fliqd("POST", f"/v1/jobs/{job['id']}/approve")).body
    assert approved["next_attempt_at"] == "2027-03-01T13:00:00.000Z"
    fliqd.clock.advance(timedelta(hours=1))
    await target.received(1)


async def test_a_refusal_is_a_cancellation(fliqd: RunningDaemon, target: Target) -> None:
    job = await waiting(
        fliqd, target, webhook_url=target.url + "/told", webhook_events=["awaiting_approval", "cancelled"]
    )
    assert (await fliqd("DELETE", f"/v1/jobs/{job['id']}")).status == 204
    told = await target.received(2)
    assert [hit.path for hit in told] == ["/hook/told"] * 2
    assert [hit.json["event"] for hit in told] == ["job.awaiting_approval", "job.cancelled"]


@pytest.mark.parametrize("status", ["scheduled", "success", "cancelled"])
async def test_only_what_waits_can_be_approved(fliqd: RunningDaemon, target: Target, status: str) -> None:
    job = await fliqd.create(url=target.url, delay=0 if status == "success" else "1h")
    if status == "cancelled":
        await fliqd("DELETE", f"/v1/jobs/{job['id']}")
    await fliqd.until(job["id"], status)
    answer = await fliqd("POST", f"/v1/jobs/{job['id']}/approve")
    assert (answer.status, answer.code) == (409, "not_approvable")


async def test_what_nobody_approves_expires(fliqd: RunningDaemon, target: Target) -> None:
    job = await waiting(fliqd, target, expires_at="2027-03-01T12:10:00Z")
    fliqd.clock.advance(timedelta(minutes=10, seconds=1))
    answer = await fliqd("POST", f"/v1/jobs/{job['id']}/approve")
    assert (answer.status, answer.code) == (409, "not_approvable")
    assert fliqd.daemon is not None
    await fliqd.daemon.beat()
    failed = await fliqd.until(job["id"], "failed")
    assert failed["last_error"] == "expired: nobody approved it before expires_at"
    # Doing it again does not get it past the question.
    again = (await fliqd("POST", f"/v1/jobs/{job['id']}/replay")).body
    assert (again["status"], again["requires_approval"]) == ("awaiting_approval", True)


async def test_what_was_approved_and_failed_is_replayed_at_once(fliqd: RunningDaemon, target: Target) -> None:
    target.answers += [500]
    job = await waiting(fliqd, target)
    await fliqd("POST", f"/v1/jobs/{job['id']}/approve")
    await fliqd.until(job["id"], "failed")
    again = (await fliqd("POST", f"/v1/jobs/{job['id']}/replay")).body
    assert (again["status"], again["approved_by"]) == ("scheduled", None)
    await fliqd.until(again["id"], "success")


async def test_it_survives_a_restart(fliqd: RunningDaemon, target: Target) -> None:
    job = await waiting(fliqd, target)
    await fliqd.stop()
    await fliqd.start()
    assert (await fliqd.job(job["id"]))["status"] == "awaiting_approval"
    await fliqd("POST", f"/v1/jobs/{job['id']}/approve")
    await target.received(1)


async def test_a_schedule_asks_for_one_run_at_a_time(fliqd: RunningDaemon, target: Target) -> None:
    """With `overlap: queue` one waits for approval; the due times meanwhile are missed, and say so."""
    schedule = (
        await fliqd("POST", "/v1/schedules", {"url": target.url, "every": "1h", "requires_approval": True})
    ).body

    async def made() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = (await fliqd("GET", f"/v1/schedules/{schedule['id']}/jobs")).body["jobs"]
        return found or None

    async def missed() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = (await fliqd("GET", f"/v1/schedules/{schedule['id']}/missed")).body["missed"]
        return found or None

    fliqd.clock.advance(timedelta(hours=1))
    [job] = await until(made, "the run")
    assert job["status"] == "awaiting_approval"
    fliqd.clock.advance(timedelta(hours=1))
    [gap] = await until(missed, "what is missed")
    assert (gap["reason"], gap["count"]) == ("overlap", 1)
    await fliqd("POST", f"/v1/jobs/{job['id']}/approve")
    await fliqd.until(job["id"], "success")


async def test_approval_is_no_way_around_overlap(fliqd: RunningDaemon, target: Target) -> None:
    release = target.hold()
    schedule = (
        await fliqd("POST", "/v1/schedules", {"url": target.url, "every": "1h", "requires_approval": True})
    ).body
    first, second = [(await fliqd("POST", f"/v1/schedules/{schedule['id']}/run")).body for _ in range(2)]
    await fliqd("POST", f"/v1/jobs/{first['id']}/approve")
    await target.received(1)
    held = (await fliqd("POST", f"/v1/jobs/{second['id']}/approve")).body
    assert (held["status"], held["next_attempt_at"]) == ("scheduled", None)
    assert (await fliqd("GET", f"/v1/jobs/{second['id']}/why")).body["waits_for"][0]["reason"] == "overlap"
    release.set()
    await fliqd.until(first["id"], "success")
    await fliqd.until(second["id"], "success")
