"""A job created over HTTP arrives at its target on time, as it was asked for, and its outcome is kept."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from fliqd import __version__
from fliqd.core.signing import Signer
from tests.support import RunningDaemon, Target, serve_target, until

HOUR = timedelta(hours=1)


async def test_a_job_leaves_at_its_time_and_not_before(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(url=target.url, delay="1h")
    fliqd.clock.advance(HOUR - timedelta(milliseconds=1))

    async def claimed() -> bool | None:
        return (await fliqd.job(job["id"]))["status"] == "running" or None

    await until(claimed, "the claim just ahead of time")
    assert target.hits == []

    fliqd.clock.advance(timedelta(milliseconds=1))
    await target.received(1)
    done = await fliqd.until(job["id"], "success")
    assert done["finished_at"] is not None
    assert done["started_at"] == done["scheduled_at"] == "2027-03-01T13:00:00.000Z"
    assert (done["attempts"], done["executions"], done["last_status_code"]) == (1, 1, 200)


async def test_what_the_target_receives(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(
        url=target.url + "?a=1",
        query={"b": "x y", "ü": "&"},
        http_method="PUT",
        headers={"X-Mine": "yes", "User-Agent": "me/1", "Title": "Sauvegarde terminée"},
        body='{"raw": true}',
        scheduled_at="2027-03-01T12:00:00+00:00",
    )
    hit = (await target.received(1))[0]
    assert (hit.method, hit.path, hit.body) == ("PUT", "/hook?a=1&b=x%20y&%C3%BC=%26", b'{"raw": true}')
    assert hit.headers["X-Mine"] == "yes"
    assert hit.headers["User-Agent"] == "me/1"
    assert hit.headers["Title"].encode("utf-8", "surrogateescape").decode() == "Sauvegarde terminée"
    assert hit.headers["X-Fliq-Delivery-Id"] == job["id"]
    assert hit.headers["X-Fliq-Attempt"] == "1"
    assert hit.headers["X-Fliq-Scheduled-At"] == "2027-03-01T12:00:00.000Z"
    unwanted = {"Content-Type", "Accept-Encoding", "Cookie", "Expect", "Transfer-Encoding"}
    assert not unwanted & set(hit.headers)


async def test_json_is_sent_as_it_came(fliqd: RunningDaemon, target: Target) -> None:
    payload = '{"b": 1.0,  "a": [12345678901234567890123]}'
    raw = f'{{"url": "{target.url}", "delay": 0, "json": {payload}}}'
    answer = await fliqd("POST", "/v1/jobs", data=raw.encode())
    assert answer.status == 201
    hit = (await target.received(1))[0]
    assert hit.body == payload.encode()
    assert hit.headers["Content-Type"] == "application/json"
    assert hit.headers["User-Agent"] == f"fliqd/{__version__}"


async def test_signatures_verify(fliqd: RunningDaemon, target: Target) -> None:
    """Standard Webhooks' own library and Fliq's rule both accept a request; neither header can be overridden."""
    job = await fliqd.create(url=target.url, delay=0, json={"ü": 1}, headers={"webhook-signature": "v1,forged"})
    hit = (await target.received(1))[0]
    secret = (fliqd.state_dir / "signing.secret").read_text().strip()
    seconds = int(hit.headers["X-Fliq-Timestamp"])
    expected = dict(
        Signer(secret).headers(
            message_id=hit.headers["webhook-id"], seconds=seconds, method="POST", url=target.url, body=hit.body
        )
    )
    assert {name: hit.headers[name] for name in expected} == expected
    assert hit.headers.getall("webhook-signature") == [expected["webhook-signature"]]
    theirs = Webhook(secret).sign(job["id"], datetime.fromtimestamp(seconds, UTC), hit.body.decode())
    assert theirs == hit.headers["webhook-signature"]


async def test_retries_follow_the_backoff_and_survive_in_the_store(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [500, 503, 200]
    job = await fliqd.create(url=target.url, delay=0, max_retries=2, backoff={"kind": "fixed", "initial": "10m"})
    waiting = await fliqd.until(job["id"], "scheduled", executions=1)
    assert waiting["scheduled_at"] == "2027-03-01T12:00:00.000Z"
    assert waiting["next_attempt_at"][:16] == "2027-03-01T12:10"
    assert waiting["last_error"] == "bad_status: the target answered 500"

    await fliqd.stop()
    fliqd.clock.advance(timedelta(minutes=11))
    await fliqd.start()
    await fliqd.until(job["id"], "scheduled", executions=2)
    fliqd.clock.advance(timedelta(minutes=11))
    done = await fliqd.until(job["id"], "success", executions=3)
    assert done["attempts"] == 3
    assert [hit.headers["X-Fliq-Attempt"] for hit in target.hits] == ["1", "2", "3"]
    assert {hit.headers["X-Fliq-Delivery-Id"] for hit in target.hits} == {job["id"]}
    history = await fliqd.executions(job["id"])
    assert [(one["attempt_num"], one["status"], one["status_code"]) for one in history] == [
        (3, "success", 200),
        (2, "failed", 503),
        (1, "failed", 500),
    ]
    assert history[0]["response_body"] == "hello"


async def test_out_of_retries_is_failed(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [404]
    job = await fliqd.create(url=target.url, delay=0)
    failed = await fliqd.until(job["id"], "failed")
    assert failed["last_error"] == "bad_status: the target answered 404"
    assert failed["actions"] == ["replay"]


async def test_a_target_may_ask_for_a_wait_or_for_none(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [
        web.Response(status=429, headers={"Retry-After": "7200"}),
        web.Response(status=500, headers={"X-Fliq-No-Retry": "1"}),
        web.Response(status=489),
    ]
    slow = await fliqd.create(url=target.url, delay=0, max_retries=5)
    waiting = await fliqd.until(slow["id"], "scheduled", executions=1)
    assert waiting["next_attempt_at"][:16] == "2027-03-01T14:00"
    for _ in range(2):
        job = await fliqd.create(url=target.url, delay=0, max_retries=5)
        assert (await fliqd.until(job["id"], "failed"))["attempts"] == 1


@pytest.mark.parametrize(("statuses", "answer", "status"), [(["2xx", 409], 409, "success"), ([204], 200, "failed")])
async def test_success_is_what_the_job_calls_so(
    fliqd: RunningDaemon, target: Target, statuses: list[object], answer: int, status: str
) -> None:
    target.answers = [answer]
    job = await fliqd.create(url=target.url, delay=0, success_statuses=statuses)
    assert job["success_statuses"] == statuses
    await fliqd.until(job["id"], status)


async def test_redirects_are_not_followed(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [web.Response(status=302, headers={"Location": target.url + "/elsewhere"})]
    job = await fliqd.create(url=target.url, delay=0)
    assert (await fliqd.until(job["id"], "failed"))["last_status_code"] == 302
    assert len(target.hits) == 1


async def test_a_job_that_expires_is_not_sent(fliqd: RunningDaemon, target: Target) -> None:
    job = await fliqd.create(url=target.url, delay="1m", expires_at="2027-03-01T12:05:00Z")
    await fliqd.stop()
    fliqd.clock.advance(HOUR)
    await fliqd.start()
    failed = await fliqd.until(job["id"], "failed")
    assert failed["last_error"].startswith("expired: ")
    assert target.hits == []
    assert await fliqd.executions(job["id"]) == []


async def test_a_retry_after_expiry_is_not_made(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [500]
    job = await fliqd.create(
        url=target.url,
        delay=0,
        max_retries=3,
        backoff={"kind": "fixed", "initial": "10m"},
        expires_at="2027-03-01T12:05:00Z",
    )
    failed = await fliqd.until(job["id"], "failed")
    assert failed["last_error"].startswith("expired: ")
    assert (await fliqd.executions(job["id"]))[0]["error_code"] == "bad_status"


async def test_due_jobs_leave_in_order(fliqd: RunningDaemon, target: Target) -> None:
    """With one slot, by due time and then by creation, however they were created."""
    order = [5, 3, 9, 1, 7, 3]
    jobs = [await fliqd.create(url=f"{target.url}/{index}", delay=delay) for index, delay in enumerate(order)]
    await fliqd.stop()
    fliqd.clock.advance(timedelta(minutes=1))
    fliqd._env["FLIQD_DISPATCH__MAX_IN_FLIGHT"] = "1"  # noqa: SLF001
    await fliqd.start()
    hits = await target.received(len(jobs))
    assert [hit.path.rpartition("/")[2] for hit in hits] == ["3", "1", "5", "0", "4", "2"]


async def test_a_body_over_the_limit_is_cut(fliqd: RunningDaemon, target: Target) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:
            return response

    target.answers = [flood]
    job = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(job["id"], "success")
    execution = (await fliqd.executions(job["id"]))[0]
    assert execution["response_body"] == "x" * 2048
    assert execution["response_truncated"] is True


async def test_a_target_that_hangs_times_out(fliqd: RunningDaemon, target: Target) -> None:
    released = target.hold()
    job = await fliqd.create(url=target.url, delay=0, timeout_seconds=1)
    other = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(other["id"], "success")
    failed = await fliqd.until(job["id"], "failed")
    released.set()
    assert failed["last_error"].startswith("timeout: ")


async def test_nobody_there(fliqd: RunningDaemon, unused_tcp_port: int) -> None:
    job = await fliqd.create(url=f"http://127.0.0.1:{unused_tcp_port}/", delay=0)
    failed = await fliqd.until(job["id"], "failed")
    assert failed["last_error"].startswith("connect_refused: ")
    assert failed["last_status_code"] is None


@pytest.mark.parametrize("on_interrupt", ["retry", "fail"])
async def test_one_request_per_attempt_even_on_a_stale_connection(fliqd: RunningDaemon, on_interrupt: str) -> None:
    """A server that gives up a kept-alive connection sees each attempt once; a new attempt is made, and recorded.

    Not for a job that wants no repeats, and never twice.
    """
    requests: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            requests.append(await reader.readuntil(b"\r\n\r\n"))  # the second one gets no answer
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        first = await fliqd.create(url=url, http_method="GET", delay=0)
        await fliqd.until(first["id"], "success")
        second = await fliqd.create(url=url, http_method="GET", delay=0, on_interrupt=on_interrupt)
        ended = await fliqd.until(second["id"], "success", "failed")
    assert ended["attempts"] == 1
    attempts = [(one["status"], one["error_code"]) for one in await fliqd.executions(second["id"])]
    assert attempts == [("success", None), ("failed", "reset")][on_interrupt == "fail" :]
    assert len(requests) == 1 + len(attempts)


async def test_one_host_holds_no_more_than_its_share(fliqd: RunningDaemon, target: Target) -> None:
    """With 32 requests of a hanging host under way, its other jobs wait and another host's do not."""
    connections = 0
    hanging = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await hanging.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    dead = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        jobs = [{"url": dead, "delay": 0} for _ in range(300)]
        await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
        other = await fliqd.create(url=target.url, delay=0)
        await fliqd.until(other["id"], "success")

        async def full() -> bool | None:
            return connections == 32 or None

        await until(full, "32 requests at the hanging host")
        last = (await fliqd("GET", "/v1/jobs?limit=2")).body["jobs"][1]
        why = (await fliqd("GET", f"/v1/jobs/{last['id']}/why")).body
        assert why["waits_for"][0]["reason"] == "host_limit"
        hanging.set()
    status = (await fliqd("GET", "/v1/status")).body
    assert status["in_flight"] <= 256


async def test_a_clock_set_back_does_not_stretch_a_retry(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [500]
    job = await fliqd.create(url=target.url, delay=0, max_retries=1, backoff={"kind": "fixed", "initial": "10m"})
    waiting = await fliqd.until(job["id"], "scheduled", executions=1)
    other = await fliqd.create(url=target.url, delay="10m")
    fliqd.clock.step(-HOUR)

    async def moved() -> bool | None:
        return (await fliqd.job(job["id"]))["next_attempt_at"] != waiting["next_attempt_at"] or None

    await until(moved, "the retry's move")
    assert (await fliqd.job(job["id"]))["next_attempt_at"] == "2027-03-01T11:10:00.000Z"
    assert (await fliqd.job(other["id"]))["next_attempt_at"] == "2027-03-01T12:10:00.000Z"
    fliqd.clock.advance(timedelta(minutes=11))
    await fliqd.until(job["id"], "success")
    assert len(target.hits) == 2


@pytest.mark.parametrize("years", [1 / 8760, 10])
async def test_a_clock_set_forward_runs_what_is_due_once(fliqd: RunningDaemon, target: Target, years: float) -> None:
    jobs = [await fliqd.create(url=target.url, delay=f"{minutes}m") for minutes in (5, 10, 15)]
    fliqd.clock.step(timedelta(days=365 * years))
    for job in jobs:
        await fliqd.until(job["id"], "success")
    fliqd.clock.step(-timedelta(days=365 * years))
    last = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(last["id"], "success")
    assert len(target.hits) == 4


async def test_a_clock_that_was_never_set(fliqd: RunningDaemon, target: Target) -> None:
    """Before the program was made, no time means anything: nothing is taken, what is there waits."""
    job = await fliqd.create(url=target.url, delay="1h")
    fliqd.clock.step(-timedelta(days=365 * 50))
    refused = await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": 0})
    assert (refused.status, refused.code) == (503, "clock_not_set")
    assert (await fliqd("GET", "/readyz")).status == 503
    assert (await fliqd.job(job["id"]))["status"] == "scheduled"
    fliqd.clock.step(timedelta(days=365 * 50, hours=1))
    await fliqd.until(job["id"], "success")
    assert (await fliqd("GET", "/readyz")).status == 200


@pytest.mark.parametrize("back_ms", [50, 5_000, 3_600_000])
async def test_a_clock_set_back_loses_no_job_that_was_already_due(
    fliqd: RunningDaemon, target: Target, back_ms: int
) -> None:
    """Jobs that wait for a slot of their host when the clock is set back are due again, later, and leave then."""
    released = target.hold(32)
    jobs = [await fliqd.create(url=target.url, delay="1m") for _ in range(40)]
    fliqd.clock.advance(timedelta(minutes=1))
    await target.received(32)
    fliqd.clock.advance(timedelta(milliseconds=-back_ms))
    released.set()
    for job in jobs[:32]:
        await fliqd.until(job["id"], "success")
    fliqd.clock.advance(timedelta(milliseconds=back_ms))
    for job in jobs[32:]:
        await fliqd.until(job["id"], "success")
    assert len(target.hits) == 40


async def test_a_job_whose_url_changes_while_it_waits_for_a_slot(fliqd: RunningDaemon, target: Target) -> None:
    """It leaves for its new host, and its old host's slots are not mixed up."""
    released = target.hold(32)
    held = [await fliqd.create(url=target.url, delay=0) for _ in range(32)]
    await target.received(32)
    moved = [await fliqd.create(url=target.url, delay=0) for _ in range(5)]
    async with serve_target() as other:
        for job in moved:
            assert (await fliqd("PATCH", f"/v1/jobs/{job['id']}", {"url": other.url})).status == 200
        released.set()
        for job in held + moved:
            await fliqd.until(job["id"], "success")
        assert len(other.hits) == 5
    after = [await fliqd.create(url=target.url, delay=0) for _ in range(40)]
    for job in after:
        await fliqd.until(job["id"], "success")


async def test_a_job_that_was_offered_twice_leaves_once_and_frees_what_it_held(
    fliqd: RunningDaemon, target: Target
) -> None:
    """Changed again and again while its host is busy, a job stands in line several times."""
    for _ in range(2):
        target.hits.clear()
        released = target.hold(32)
        held = [await fliqd.create(url=target.url, delay=0) for _ in range(32)]
        await target.received(32)
        jobs = [await fliqd.create(url=target.url, delay=0) for _ in range(20)]
        for job in jobs:
            for _ in range(2):
                await fliqd("POST", f"/v1/jobs/{job['id']}/run")
        released.set()
        for job in held + jobs:
            await fliqd.until(job["id"], "success")
        assert len(target.hits) == 52
    released = target.hold(32)
    for _ in range(32):
        await fliqd.create(url=target.url, delay=0)
    await target.received(52 + 32)  # all the slots of the host are there
    released.set()
