"""What the runs of a schedule tell each other, through the daemon and its store."""

from datetime import timedelta
from typing import Any

from aiohttp import web

from tests.support import RunningDaemon, Target


def answer(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(document, status=status)


async def schedule(fliqd: RunningDaemon, target: Target, **fields: Any) -> dict[str, Any]:
    made = await fliqd("POST", "/v1/schedules", {"url": target.url, "every": "1h", **fields})
    assert made.status == 201, made.body
    document: dict[str, Any] = made.body
    return document


async def run(fliqd: RunningDaemon, target: Target, number: int) -> Any:
    """Let an hour pass; return the body of the run."""
    fliqd.clock.advance(timedelta(hours=1))
    hits = await target.received(number)
    await fliqd.until(hits[-1].headers["X-Fliq-Delivery-Id"], "success")
    return hits[-1].json


async def test_a_cursor_is_carried_from_run_to_run(fliqd: RunningDaemon, target: Target) -> None:
    body = {"since": "$state.cursor", "last": "$previous.count", "$state": {"cursor": 0}}
    made = await schedule(fliqd, target, json=body, dynamic_fields="replace")
    assert (made["dynamic_fields"], made["state"]) == ("replace", None)
    target.answers += [answer({"count": 5, "$state": {"cursor": 100}}), answer({"count": 6})]
    assert await run(fliqd, target, 1) == {"since": 0, "last": None}
    assert (await fliqd("GET", f"/v1/schedules/{made['id']}")).body["state"] == {"cursor": 100}
    await fliqd.stop()
    await fliqd.start()
    assert await run(fliqd, target, 2) == {"since": 100, "last": 5}
    assert await run(fliqd, target, 3) == {"since": 100, "last": 6}


async def test_what_was_sent_is_kept_with_the_attempt(fliqd: RunningDaemon, target: Target) -> None:
    await schedule(fliqd, target, json={"id": "$job.id", "n": "$job.attempt"}, dynamic_fields="replace", max_retries=1)
    target.answers += [500]
    fliqd.clock.advance(timedelta(hours=1))
    [first] = await target.received(1)
    job_id = first.headers["X-Fliq-Delivery-Id"]
    await fliqd.until(job_id, "scheduled", executions=1)
    fliqd.clock.advance(timedelta(minutes=2))
    await fliqd.until(job_id, "success")
    executions = (await fliqd("GET", f"/v1/jobs/{job_id}/executions")).body["executions"]
    assert [one["request_body"] for one in executions] == [f'{{"id":"{job_id}","n":{n}}}' for n in (2, 1)]
    assert [hit.body.decode() for hit in target.hits] == [one["request_body"] for one in reversed(executions)]
    # The job keeps what was asked for.
    assert (await fliqd.job(job_id))["json"] == {"id": "$job.id", "n": "$job.attempt"}


async def test_a_retry_knows_what_the_first_attempt_knew(fliqd: RunningDaemon, target: Target) -> None:
    await schedule(fliqd, target, json=["$state.n"], dynamic_fields="replace", max_retries=1)
    target.answers += [answer({"$state": {"n": 9}}, 500), answer({"$state": {"n": 1}})]
    fliqd.clock.advance(timedelta(hours=1))
    [first] = await target.received(1)
    job_id = first.headers["X-Fliq-Delivery-Id"]
    await fliqd.until(job_id, "scheduled", executions=1)
    fliqd.clock.advance(timedelta(minutes=2))
    await fliqd.until(job_id, "success")
    assert [hit.json for hit in target.hits] == [[None], [None]]
    assert await run(fliqd, target, 3) == [1]


async def test_a_long_answer_is_heard_as_a_whole_and_kept_in_part(fliqd: RunningDaemon, target: Target) -> None:
    await schedule(fliqd, target, json="$previous.end", dynamic_fields="replace")
    target.answers += [answer({"long": "x" * 10_000, "end": "here"})]
    await run(fliqd, target, 1)
    job_id = target.hits[0].headers["X-Fliq-Delivery-Id"]
    [execution] = (await fliqd("GET", f"/v1/jobs/{job_id}/executions")).body["executions"]
    assert (len(execution["response_body"]), execution["response_truncated"]) == (2048, True)
    assert await run(fliqd, target, 2) == "here"


async def test_without_it_a_body_is_sent_as_it_is(fliqd: RunningDaemon, target: Target) -> None:
    await schedule(fliqd, target, json={"a": "$job.id"})
    assert await run(fliqd, target, 1) == {"a": "$job.id"}


async def test_a_change_of_the_schedule_keeps_its_state(fliqd: RunningDaemon, target: Target) -> None:
    made = await schedule(fliqd, target, json="$state.n", dynamic_fields="replace")
    target.answers += [answer({"$state": {"n": 4}})]
    await run(fliqd, target, 1)
    await fliqd("PATCH", f"/v1/schedules/{made['id']}", {"json": ["$state.n"]})
    assert await run(fliqd, target, 2) == [4]


async def test_a_state_goes_on_from_what_it_began_as(fliqd: RunningDaemon, target: Target) -> None:
    body = {"n": "$state.n", "kept": "$state.kept", "$state": {"n": 0, "kept": "yes"}}
    await schedule(fliqd, target, json=body, dynamic_fields="replace")
    target.answers += [answer({"$state": {"n": 1}})]
    assert await run(fliqd, target, 1) == {"n": 0, "kept": "yes"}
    assert await run(fliqd, target, 2) == {"n": 1, "kept": "yes"}
