"""`/stats`: the shapes of Fliq's pages, field by field, and what the numbers are."""

from datetime import timedelta

import pytest

from fliqd.core.times import parse_time
from tests.support import RunningDaemon, Target

EMPTY_JOBS = {
    "total_executions": 0,
    "succeeded": 0,
    "failed": 0,
    "success_rate": 0.0,
    "avg_duration_ms": 0.0,
    "p95_duration_ms": 0.0,
    "since_days": 30,
    "interrupted": 0,
    "avg_late_ms": 0.0,
    "max_late_ms": 0,
    "complete": True,
}


async def run(fliqd: RunningDaemon, target: Target, *answers: int, **more: object) -> None:
    for answer in answers:
        target.answers.append(answer)
        job = await fliqd.create(url=target.url, delay=0, **more)
        await fliqd.until(job["id"], "success", "failed")


async def stats(fliqd: RunningDaemon, path: str) -> dict[str, object]:
    answer = await fliqd("GET", f"/v1/stats/{path}")
    assert answer.status == 200, answer.body
    body: dict[str, object] = answer.body
    return body


async def test_nothing_yet(fliqd: RunningDaemon) -> None:
    assert await stats(fliqd, "jobs") == EMPTY_JOBS
    assert await stats(fliqd, "usage") == {
        "buckets": [],
        "total_job_executions": 0,
        "total_buffer_executions": 0,
        "balance": 1_000_000_000,
        "plan": "self-hosted",
        "since_days": 30,
    }
    assert (await stats(fliqd, "timeline"))["since_days"] == 1


async def test_jobs_of_the_last_days(fliqd: RunningDaemon, target: Target) -> None:
    await run(fliqd, target, 200, 200, 500)
    fliqd.clock.advance(timedelta(days=2))
    await run(fliqd, target, 200)
    body = await stats(fliqd, "jobs")
    assert (body["total_executions"], body["succeeded"], body["failed"]) == (4, 3, 1)
    assert body["success_rate"] == 0.75
    assert (await stats(fliqd, "jobs?days=1"))["total_executions"] == 1
    assert (await stats(fliqd, "jobs?days=2"))["total_executions"] == 4


@pytest.mark.parametrize(("asked", "answered"), [("0", 1), ("1", 1), ("365", 365), ("99999999", 365)])
async def test_days_are_clamped(fliqd: RunningDaemon, asked: str, answered: int) -> None:
    for path in ("jobs", "usage", "timeline"):
        assert (await stats(fliqd, f"{path}?days={asked}"))["since_days"] == answered


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("jobs?days=-1", "invalid_days"),
        ("jobs?days=ten", "invalid_days"),
        ("usage?days=", "invalid_days"),
        ("usage?day=1", "unknown_parameter"),
        ("timeline?bucket=week", "invalid_bucket"),
        ("timeline?bucket=hour&days=8", "invalid_bucket"),
        ("timeline?bucket=", "invalid_bucket"),
        ("jobs?queue=a&host=b", "invalid_host"),
        ("jobs?queue=", "invalid_queue"),
    ],
)
async def test_what_is_refused(fliqd: RunningDaemon, path: str, code: str) -> None:
    answer = await fliqd("GET", f"/v1/stats/{path}")
    assert (answer.status, answer.code) == (400, code)


async def test_usage_by_day(fliqd: RunningDaemon, target: Target) -> None:
    await run(fliqd, target, 200, 500)
    fliqd.clock.advance(timedelta(days=3))
    await run(fliqd, target, 200)
    body = await stats(fliqd, "usage")
    assert body["buckets"] == [
        {"date": "2027-03-01", "job_executions": 2, "buffer_executions": 0},
        {"date": "2027-03-04", "job_executions": 1, "buffer_executions": 0},
    ]
    assert body["total_job_executions"] == 3


async def test_a_timeline_has_every_bucket(fliqd: RunningDaemon, target: Target) -> None:
    await run(fliqd, target, 200)
    fliqd.clock.advance(timedelta(hours=2))
    await run(fliqd, target, 500)
    body = await stats(fliqd, "timeline")
    buckets = body["buckets"]
    assert isinstance(buckets, list)
    assert (body["bucket"], len(buckets)) == ("hour", 25)
    assert [bucket["start"] for bucket in buckets[-3:]] == [f"2027-03-01T{hour}:00:00.000Z" for hour in (12, 13, 14)]
    assert [(bucket["succeeded"], bucket["failed"]) for bucket in buckets[-3:]] == [(1, 0), (0, 0), (0, 1)]
    daily = (await stats(fliqd, "timeline?days=30"))["buckets"]
    assert isinstance(daily, list)
    assert len(daily) == 31
    assert daily[-1]["total_executions"] == 2


async def test_of_a_queue_a_host_and_a_schedule(fliqd: RunningDaemon, target: Target) -> None:
    made = await fliqd("POST", "/v1/schedules", {"url": target.url, "every": "1h", "queue": "mail"})
    fliqd.clock.advance(timedelta(hours=1))
    await target.received(1)
    [job] = (await fliqd("GET", f"/v1/schedules/{made.body['id']}/jobs")).body["jobs"]
    await fliqd.until(job["id"], "success")
    await run(fliqd, target, 500, queue="mail")
    await run(fliqd, target, 200)
    host = target.url.split("/")[2]
    for query, counts in {
        f"schedule_id={made.body['id']}": (1, 0),
        "queue=mail": (1, 1),
        "queue=default": (1, 0),
        "queue=nothing": (0, 0),
        f"host={host}": (2, 1),
        "host=elsewhere.lan": (0, 0),
    }.items():
        body = await stats(fliqd, f"jobs?{query}")
        assert (body["succeeded"], body["failed"], body["complete"]) == (*counts, True), query
        assert (await stats(fliqd, f"usage?{query}"))["total_job_executions"] == sum(counts), query


async def test_they_survive_retention_and_a_restart(fliqd: RunningDaemon, target: Target) -> None:
    await run(fliqd, target, 200)
    assert fliqd.daemon is not None
    assert await fliqd.daemon._store.delete_finished(before_ms=None, limit=9) == 1  # noqa: SLF001 -- as the janitor does
    await fliqd.stop()
    await fliqd.start()
    assert (await stats(fliqd, "jobs"))["total_executions"] == 1


async def test_a_year_is_kept_by_the_day(fliqd: RunningDaemon, target: Target) -> None:
    """The janitor puts days together; what they say stays the same."""
    await run(fliqd, target, 200, 500)
    before = parse_time("2027-03-01T00:00:00Z")
    fliqd.clock.advance(timedelta(days=300))
    assert fliqd.daemon is not None
    await fliqd.daemon._janitor.sweep()  # noqa: SLF001 -- it does so by itself once a minute
    assert (await stats(fliqd, "jobs?days=365"))["total_executions"] == 2
    assert (await stats(fliqd, "jobs?days=299"))["total_executions"] == 0
    daily = (await stats(fliqd, "timeline?days=365"))["buckets"]
    assert isinstance(daily, list)
    [day] = [bucket for bucket in daily if bucket["total_executions"]]
    assert parse_time(day["start"]) == before
