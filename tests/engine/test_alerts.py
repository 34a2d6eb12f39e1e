"""What goes wrong is told to the channels, once and not a thousand times; and that it is over."""

import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fliqd.engine import disk
from tests.support import RunningDaemon, Target, serve_target, until

GIB = 1024**3
ONE_AT_A_TIME = {"FLIQD_DISPATCH__MAX_IN_FLIGHT_PER_HOST": "1"}
MISSING = "alt_00000000000000000000000000"


@pytest.fixture
async def channel() -> AsyncIterator[Target]:
    """Where alerts arrive."""
    async with serve_target() as running:
        yield running


async def add(fliqd: RunningDaemon, kind: str, target: str, **more: Any) -> dict[str, Any]:
    answer = await fliqd("POST", "/v1/alerts", {"type": kind, "target": target, **more})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.body
    return made


async def told(channel: Target, number: int) -> list[dict[str, Any]]:
    return [json.loads(hit.body) for hit in await channel.received(number)]


async def fail(fliqd: RunningDaemon, target: Target, **more: Any) -> dict[str, Any]:
    target.answers.append(500)
    job = await fliqd.create(url=target.url, delay=0, **more)
    return await fliqd.until(job["id"], "failed")


async def test_a_failed_job_as_the_pages_show_it(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    await add(fliqd, "webhook", channel.url + "?key=s3cret")
    target.answers = [500, 500]
    job = await fliqd.create(url=target.url, delay=0, max_retries=1, backoff={"kind": "fixed", "initial": 0}, name="n")
    failed = await fliqd.until(job["id"], "failed")
    [alert] = await told(channel, 1)
    host = target.url.removeprefix("http://").partition("/")[0]
    assert alert == {
        "event": "failure",
        "resource_type": "job",
        "resource_id": job["id"],
        "url": target.url,
        "method": "POST",
        "last_error": "bad_status: the target answered 500",
        "status_code": 500,
        "attempts": 2,
        "failed_at": failed["finished_at"],
        "name": "n",
        "schedule_id": None,
        "subject": host,
        "count": 1,
        "opened_at": alert["opened_at"],
        "message": f"{host} fails: n ({job['id']}), after 2 attempts: bad_status: the target answered 500",
    }
    [hit] = channel.hits
    assert (hit.method, hit.path, hit.headers["Content-Type"]) == ("POST", "/hook?key=s3cret", "application/json")
    assert "X-Fliq-Signature" not in hit.headers


async def test_the_shape_of_each_type(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    base = channel.url.removesuffix("/hook")
    for kind, path in (("slack", "/services/T/B/x"), ("discord", "/api/webhooks/1/x"), ("ntfy", "/sub/topic?auth=x")):
        await add(fliqd, kind, base + path)
    job = await fliqd.create(
        url=target.url, delay="1h", name="<!channel> & @everyone", expires_at="2027-03-01T13:00:00Z"
    )
    fliqd.clock.advance(timedelta(hours=2))
    await fliqd.until(job["id"], "failed")
    bodies = {hit.path: json.loads(hit.body) for hit in await channel.received(3)}
    slack, discord, ntfy = (bodies[path] for path in ("/services/T/B/x", "/api/webhooks/1/x", "/sub/?auth=x"))
    assert set(slack) == {"text"}
    assert f"&lt;!channel&gt; &amp; @everyone ({job['id']}), after 0 attempts: expired: " in slack["text"]
    assert (discord["content"].startswith("fliqd: "), discord["allowed_mentions"]) == (True, {"parse": []})
    assert (ntfy["topic"], ntfy["priority"], ntfy["tags"]) == ("topic", 4, ["warning"])
    assert ntfy["message"] == discord["content"]


async def test_a_thousand_failures_of_one_target(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    """One message as it begins, one as it is over, and it says how many there were."""
    await add(fliqd, "slack", channel.url)
    target.answers = [500] * 1_000
    jobs = [{"url": target.url, "delay": 0} for _ in range(1_000)]
    assert (await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})).status == 200

    async def all_failed() -> bool | None:
        left = [
            (await fliqd("GET", f"/v1/jobs?status={status}&limit=1")).body["jobs"]
            for status in ("scheduled", "running")
        ]
        return not any(left) or None

    await until(all_failed, "a thousand failures")
    assert len(channel.hits) == 1
    well = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(well["id"], "success")
    first, last = await told(channel, 2)
    assert " fails: job_" in first["text"]
    assert " has recovered: 1000 jobs had failed since 2027-03-01T12:00:00" in last["text"]
    assert len(channel.hits) == 2


async def test_retries_alone_are_no_news(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    await add(fliqd, "slack", channel.url)
    target.answers = [500]
    job = await fliqd.create(url=target.url, delay=0, max_retries=1, backoff={"kind": "fixed", "initial": 0})
    await fliqd.until(job["id"], "success")
    await fail(fliqd, target)
    assert " fails: " in (await told(channel, 1))[0]["text"]


async def test_an_incident_outlives_a_restart(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    await add(fliqd, "webhook", channel.url)
    await fail(fliqd, target)
    await fail(fliqd, target)
    await told(channel, 1)
    await fliqd.stop()
    await fliqd.start()
    await fail(fliqd, target)
    await fliqd.create(url=target.url, delay=0)
    _, over = await told(channel, 2)
    assert (over["event"], over["kind"], over["count"]) == ("recovered", "failure", 3)
    assert over["opened_at"] <= over["recovered_at"]


async def test_what_could_not_be_told_before_a_stop_is_told_after_it(
    fliqd: RunningDaemon, target: Target, channel: Target
) -> None:
    await add(fliqd, "webhook", channel.url)
    channel.answers = [500]
    await fail(fliqd, target)
    await channel.received(1)
    await fliqd.stop()
    await fliqd.start()
    again = (await told(channel, 2))[1]
    assert (again["event"], again["count"]) == ("failure", 1)


async def test_a_dead_channel_holds_up_nothing(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    """Neither jobs nor the other channel; and it is tried again, twice."""
    async with serve_target() as dead:
        released = dead.hold()
        await add(fliqd, "slack", dead.url)
        await add(fliqd, "slack", channel.url)
        await fail(fliqd, target)
        await told(channel, 1)
        await dead.received(1)
        well = await fliqd.create(url=target.url, delay=0)
        await fliqd.until(well["id"], "success")
        await told(channel, 2)
        dead.answers = [503, 503]
        released.set()
        # What has come meanwhile goes as one message.
        assert " has recovered: " in (await told(dead, 2))[1]["text"]
        fliqd.clock.advance(timedelta(seconds=10))
        await dead.received(3)
        fliqd.clock.advance(timedelta(seconds=60))
        await dead.received(4)


async def test_a_secret_target_is_not_logged(
    fliqd: RunningDaemon, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve_target() as dead:
        dead.answers = [404]
        await add(fliqd, "slack", dead.url + "/T0/s3cret?k=s3cret")
        await add(fliqd, "slack", "http://127.0.0.1:9/T0/s3cret")
        await fail(fliqd, target)
        await dead.received(1)
        said = ""

        async def complained() -> bool | None:
            nonlocal said
            said += capsys.readouterr().out
            return said.count("alert.not_delivered") == 2 or None

        await until(complained, "a line for each channel")
    assert "s3cret" not in said


async def test_a_channel_passes_the_same_gate(fliqd: RunningDaemon) -> None:
    made = await add(fliqd, "webhook", "http://169.254.169.254/latest")
    tested = (await fliqd("POST", f"/v1/alerts/{made['id']}/test")).body
    assert (tested["delivered"], tested["status_code"]) == (False, None)
    assert tested["error"].startswith("egress_denied: ")
    own = await add(fliqd, "webhook", fliqd.url + "/v1/jobs")
    assert "own_listener" in (await fliqd("POST", f"/v1/alerts/{own['id']}/test")).body["error"]


async def test_channels_by_the_pages_calls(fliqd: RunningDaemon, channel: Target) -> None:
    made = await add(fliqd, "slack", channel.url + "/T0/s3cret?k=s3cret", name="on-call")
    host = channel.url.removesuffix("/hook")
    assert made | {"id": None} == {
        "id": None, "type": "slack", "target": f"{host}/***", "name": "on-call", "enabled": True, "source": "api",
        "created_at": "2027-03-01T12:00:00.000Z", "updated_at": "2027-03-01T12:00:00.000Z",
    }  # fmt: skip
    path = f"/alerts/{made['id']}"
    assert (await fliqd("GET", "/alerts")).body == {"channels": [made], "next_cursor": None}
    assert (await fliqd("GET", path)).body == made
    tested = await fliqd("POST", f"{path}/test")
    assert (tested.status, tested.body) == (200, {"delivered": True, "status_code": 200, "error": None})
    assert channel.hits[0].path == "/hook/T0/s3cret?k=s3cret"
    fliqd.clock.advance(timedelta(seconds=1))
    assert (await fliqd("PATCH", path, {"enabled": False})).status == 204
    paused = (await fliqd("GET", path)).body
    assert paused == made | {"enabled": False, "updated_at": "2027-03-01T12:00:01.000Z"}
    assert (await fliqd("PATCH", path, {"name": None, "type": "ntfy", "enabled": True})).status == 204
    assert (await fliqd("DELETE", path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await fliqd(method, path)).status == 404
    assert (await fliqd("PATCH", path, {"enabled": True})).status == 404
    assert (await fliqd("POST", f"/v1/alerts/{MISSING}/test")).status == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "email", "target": "http://a/"}, "invalid_type"),
        ({"type": None, "target": "http://a/"}, "invalid_type"),
        ({"target": "http://a/"}, "invalid_type"),
        ({"type": "slack"}, "invalid_target"),
        ({"type": "slack", "target": "ftp://a/s3cret"}, "invalid_target"),
        ({"type": "slack", "target": "http://a/s3cret s3cret"}, "invalid_target"),
        ({"type": "slack", "target": "http://s3cret:s3cret@a/"}, "invalid_target"),
        ({"type": "slack", "target": "http://a:s3cret/"}, "invalid_target"),
        ({"type": "slack", "target": "http://a/" + "s3cret" * 400}, "invalid_target"),
        ({"type": "ntfy", "target": "http://a/"}, "invalid_target"),
        ({"type": "slack", "target": "http://a/", "name": ""}, "invalid_name"),
        ({"type": "slack", "target": "http://a/", "enabled": "no"}, "invalid_enabled"),
        ({"type": "slack", "target": "http://a/", "url": "x"}, "unknown_field"),
        ({"type": "slack", "target": ["http://a/s3cret"]}, "invalid_target"),
    ],
)
async def test_wrong_channels_are_refused_without_a_word_of_the_secret(
    fliqd: RunningDaemon, body: dict[str, Any], code: str
) -> None:
    answer = await fliqd("POST", "/v1/alerts", body)
    assert (answer.status, answer.code) == (400, code)
    assert "s3cret" not in json.dumps(answer.body)
    assert (await fliqd("GET", "/v1/alerts")).body["channels"] == []


async def test_a_disabled_channel_is_told_nothing(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    made = await add(fliqd, "webhook", channel.url, enabled=False)
    await fail(fliqd, target)
    await fliqd("PATCH", f"/alerts/{made['id']}", {"enabled": True})
    # Nothing was noticed meanwhile, so this is where it begins.
    second = await fail(fliqd, target)
    [alert] = await told(channel, 1)
    assert (alert["resource_id"], alert["count"]) == (second["id"], 1)


async def test_missed_runs_are_told_in_one_message(fliqd: RunningDaemon, channel: Target) -> None:
    await add(fliqd, "webhook", channel.url)
    for number in range(8):
        schedule = {"url": "http://127.0.0.1:9/", "every": "1h", "name": f"s{number}", "misfire": "skip"}
        assert (await fliqd("POST", "/v1/schedules", schedule)).status == 201
    await fliqd.stop()
    fliqd.clock.advance(timedelta(hours=3, minutes=30))
    await fliqd.start()
    [alert] = await told(channel, 1)
    assert (alert["event"], alert["count"], len(alert["schedules"])) == ("schedules_missed", 24, 8)
    assert alert["message"].endswith("of s0 (3), s1 (3), s2 (3), s3 (3), s4 (3) and 3 more")


async def test_a_disk_that_runs_full_is_told_before_it_is(
    fliqd: RunningDaemon, channel: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, though the room comes and goes; what is little depends on the disk."""
    daemon = fliqd.daemon
    assert daemon is not None
    free, size = 10 * GIB, 100 * GIB
    monkeypatch.setattr(disk, "room_at", lambda _place: (free, size))

    async def look(now_free: int, now_size: int = size) -> None:
        nonlocal free, size
        free, size = now_free, now_size
        await daemon.beat()

    await look(GIB // 2)  # while there is nobody to tell
    await add(fliqd, "webhook", channel.url)
    for free_now in (GIB // 2, GIB // 3, GIB + 1, GIB // 2, 2 * GIB, 3 * GIB):
        await look(free_now)
    [low, over] = await told(channel, 2)
    assert (low["event"], low["subject"]) == ("disk_low", str(fliqd.state_dir))
    assert (low["free_bytes"], low["size_bytes"], low["count"]) == (GIB // 2, size, 1)
    assert low["message"] == f"the disk runs full: 512 MiB of 100 GiB are free at {fliqd.state_dir}"
    assert (over["event"], over["kind"]) == ("recovered", "disk_low")
    assert over["message"].startswith("there is room on the disk again; there was little since 2027-03-01T12:00")
    fliqd.clock.advance(timedelta(hours=1))
    await look(GIB, 8 * GIB)  # an eighth: enough of a small disk
    await look(GIB // 4, 8 * GIB)
    assert (await told(channel, 3))[2]["event"] == "disk_low"


async def test_a_disk_that_does_not_say_how_much_room_it_has_ends_nothing(
    fliqd: RunningDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert fliqd.daemon is not None
    monkeypatch.setattr(fliqd.daemon._disk, "_place", tmp_path / "gone")  # noqa: SLF001 -- as when it is unmounted
    await fliqd.daemon.beat()
    assert (await fliqd("GET", "/readyz")).status == 200


def test_the_room_on_a_disk_is_what_we_may_use(tmp_path: Path) -> None:
    free, size = disk.room_at(tmp_path)
    assert 0 <= free <= size
    assert size <= shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize("env", [ONE_AT_A_TIME])
async def test_jobs_that_go_on_being_late_are_told(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    """Once it has lasted for a minute; what a paused queue holds back is no business of ours."""
    daemon = fliqd.daemon
    assert daemon is not None
    await add(fliqd, "webhook", channel.url)
    assert (await fliqd("PUT", "/v1/queues/later", {"paused": True})).status == 200
    released = target.hold()
    for more in ({}, {}, {"queue": "later"}):
        await fliqd.create(url=target.url, delay=0, **more)
    await target.received(1)

    async def look_after(**passed: float) -> None:
        fliqd.clock.advance(timedelta(**passed))
        await daemon.beat()

    for seconds in (59, 1, 59, 1, 30):
        await look_after(seconds=seconds)
    [late] = await told(channel, 1)
    host = target.url.removeprefix("http://").partition("/")[0]
    assert (late["event"], late["late_seconds"], late["host"]) == ("jobs_late", 120, host)
    assert late["message"] == f"jobs are late: one to {host} has been due for 2m and waits for a slot"
    released.set()
    await target.received(2)
    await look_after(seconds=5)
    over = (await told(channel, 2))[1]
    assert (over["event"], over["kind"]) == ("recovered", "jobs_late")
    assert over["message"].startswith("jobs leave on time again; they were late since 2027-03-01T12:02")


@pytest.mark.parametrize("env", [ONE_AT_A_TIME])
async def test_a_job_that_waits_no_more_is_not_late(fliqd: RunningDaemon, target: Target, channel: Target) -> None:
    """But one that waits behind those is, in a queue with limits too, where they have room for it."""
    daemon = fliqd.daemon
    assert daemon is not None
    await add(fliqd, "webhook", channel.url)
    await fliqd("PUT", "/v1/queues/q", {"concurrency": 5})
    await fliqd("PUT", "/v1/queues/later", {"paused": True})
    released = target.hold()
    jobs = [await fliqd.create(url=target.url, delay=0, queue="q") for _ in range(5)]
    await target.received(1)
    await fliqd("DELETE", f"/v1/jobs/{jobs[1]['id']}")
    await fliqd("PATCH", f"/v1/jobs/{jobs[2]['id']}", {"delay": "1d"})
    for job in jobs[3:]:
        await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"queue": "later"})

    async def look_after(seconds: float) -> None:
        fliqd.clock.advance(timedelta(seconds=seconds))
        await daemon.beat()

    for _ in range(4):
        await look_after(60)
    late = await fliqd.create(url=target.url, delay=0, queue="q")
    for _ in range(4):
        await look_after(60)
    [alert] = await told(channel, 1)
    assert (alert["event"], alert["due_at"]) == ("jobs_late", late["scheduled_at"])
    released.set()
    await fliqd.until(late["id"], "success")


@pytest.mark.parametrize("env", [ONE_AT_A_TIME])
async def test_what_is_caught_up_on_within_a_minute_is_not_told(
    fliqd: RunningDaemon, target: Target, channel: Target
) -> None:
    daemon = fliqd.daemon
    assert daemon is not None
    await add(fliqd, "webhook", channel.url)
    released = target.hold()
    for _ in range(2):
        await fliqd.create(url=target.url, delay=0)
    await target.received(1)
    fliqd.clock.step(timedelta(days=1))
    await daemon.beat()
    fliqd.clock.advance(timedelta(seconds=59))
    await daemon.beat()
    released.set()
    await target.received(2)
    fliqd.clock.advance(timedelta(seconds=30))
    await daemon.beat()
    fliqd.clock.step(timedelta(hours=-1))  # of which is told
    assert [alert["event"] for alert in await told(channel, 2)] == ["clock_set", "clock_set"]


async def test_a_clock_that_was_set_is_told(fliqd: RunningDaemon, channel: Target) -> None:
    await add(fliqd, "webhook", channel.url)
    fliqd.clock.step(timedelta(hours=-2))
    [alert] = await told(channel, 1)
    assert (alert["event"], alert["step_seconds"]) == ("clock_set", -7200)
    assert alert["message"] == "the clock was set back by 2h; it is 2027-03-01T10:00:00.000Z now"


async def test_a_full_store_is_told_and_that_there_is_room_again(
    fliqd: RunningDaemon, channel: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(fliqd, "webhook", channel.url)
    daemon = fliqd.daemon
    assert daemon is not None
    writer = daemon._store._writer  # noqa: SLF001 -- filling a disk takes root; tests/process does that
    writer.blocked = "the disk is full"
    await daemon.beat()
    await daemon.beat()
    [alert] = await told(channel, 1)
    assert (alert["event"], alert["subject"]) == ("store_full", "disk")
    writer.blocked = None
    await daemon.beat()
    assert [one["event"] for one in await told(channel, 2)] == ["store_full", "recovered"]
