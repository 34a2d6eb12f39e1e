"""What `store/base.py` promises of the outbox, kept by every store: each change told once, in order."""

import json
from typing import Any

import msgspec
import pytest

from fliqd.core import lifecycle
from fliqd.core.deliveries import Delivery, DeliveryStatus, Tried
from fliqd.core.due_heap import DueEntry
from fliqd.core.model import Job, JobStatus, OnInterrupt
from fliqd.core.schedule import Schedule
from fliqd.store.base import DeliveryFilter, Step, Store
from tests.store.test_conformance import NOW, a_job, add, claim, finish, the_end

S = JobStatus
EVERY = ("started", "retrying", "completed", "failed", "cancelled")


def told(number: int, **more: Any) -> Job:
    return a_job(number, **{"webhook_url": "http://w/", "webhook_events": EVERY, **more})


async def written(store: Store, job: Job) -> list[tuple[str, dict[str, Any]]]:
    """Return what is told of a job, oldest first."""
    found, more = await store.outbox.page(DeliveryFilter(job_id=job.id), before_pk=None, limit=99)
    assert not more
    return [(one.event, json.loads(one.body)) for one in reversed(found)]


async def events(store: Store, job: Job) -> list[str]:
    return [event for event, _ in await written(store, job)]


async def due(store: Store) -> list[int]:
    return [entry.pk for entry in await store.outbox.due_page(start=(-1, 0), limit=99)]


def ended(delivery: Delivery, status: DeliveryStatus, next_ms: int | None = None) -> Tried:
    return Tried(
        delivery=delivery,
        status=status,
        status_code=500,
        error="bad_status: 500",
        next_attempt_ms=next_ms,
        finished_ms=None if next_ms else NOW + 50,
    )


async def test_each_change_of_a_job_is_told_in_its_own_transaction(store: Store) -> None:
    [job] = await add(store, told(1, max_retries=1))
    [running] = await claim(store, [job])
    await finish(store, the_end(running, S.SCHEDULED, NOW + 5))
    [running] = await claim(store, [job], NOW + 5)
    await finish(store, the_end(running, S.FAILED))
    assert await events(store, job) == ["job.started", "job.retrying", "job.started", "job.failed"]
    _, payload = (await written(store, job))[-1]
    assert payload == {
        "event": "job.failed",
        "job_id": job.id,
        "status": "failed",
        "status_code": 500,
        "last_error": "bad_status: 500",
        "completed_at": "2027-01-15T08:00:00.005Z",
        "attempt_num": 2,
    }


async def test_only_what_was_asked_for_is_told(store: Store) -> None:
    jobs = await add(store, a_job(1), a_job(2, webhook_url="http://w/"), told(3, webhook_events=("failed",)))
    for running in await claim(store, jobs):
        await finish(store, the_end(running))
    assert [await events(store, job) for job in jobs] == [[], ["job.completed"], []]


@pytest.mark.parametrize("way", ["cancel", "expire", "interrupt", "delete"])
async def test_every_way_to_end_is_told(store: Store, way: str) -> None:
    word = "cancelled" if way in ("cancel", "delete") else "failed"
    failed: list[Job] = []
    store.on_ended(lambda jobs, _well: failed.extend(jobs))
    [job] = await add(store, told(1, schedule_id="sched_1", expires_ms=NOW, on_interrupt=OnInterrupt.FAIL))
    match way:
        case "cancel":
            await store.change_job(job.id, lambda job: lifecycle.cancel(job, NOW))
        case "expire":
            assert await claim(store, [job], NOW + 1) == []
        case "interrupt":
            await claim(store, [job])
            await store.attempts.recover(now_ms=NOW + 1, reason="it died")
        case _:
            schedule = await store.schedules.create(a_schedule())
            gone = Step(
                old=schedule,
                now_ms=NOW,
                change=lambda old: msgspec.structs.replace(old, deleted_ms=NOW, next_run_ms=None),
            )
            await store.schedules.take([gone])
    _, payload = (await written(store, job))[-1]
    assert (payload["event"], payload["status"]) == (f"job.{word}", word)
    assert payload["completed_at"] is not None
    assert [one.id for one in failed] == ([job.id] if word == "failed" else [])


def a_schedule() -> Schedule:
    return Schedule(
        id="sched_1", name="s", every_ms=60_000, anchor_ms=NOW, url="http://a/", host="a:80", created_ms=NOW,
        updated_ms=NOW, cursor_ms=NOW,
    )  # fmt: skip


async def test_an_interrupted_attempt_that_comes_again_is_told(store: Store) -> None:
    [job] = await add(store, told(1))
    await claim(store, [job])
    await store.attempts.recover(now_ms=NOW + 1, reason="it died")
    assert await events(store, job) == ["job.started", "job.retrying"]


async def test_a_start_that_was_taken_back_is_not_told(store: Store) -> None:
    [job] = await add(store, told(1))
    await store.attempts.unclaim(await claim(store, [job]), NOW)
    assert await events(store, job) == []


async def test_booper_is_told_more_and_in_order(store: Store) -> None:
    """A start is two events of its own, which are taken back together; an end may be three."""
    [job] = await add(store, told(1, dialect="booper", max_retries=1))
    await store.attempts.unclaim(await claim(store, [job]), NOW)
    assert await events(store, job) == []
    [running] = await claim(store, [job])
    await finish(store, msgspec.structs.replace(the_end(running, S.SCHEDULED, NOW + 5), status_code=None))
    await claim(store, [job], NOW + 5)
    await store.attempts.recover(now_ms=NOW + 6, reason="it died")
    begun, failed = ["job.started", "job.request"], "job.error"
    assert await events(store, job) == [*begun, failed, *begun, failed]
    [running] = await claim(store, [await store.job(job.id)], NOW + 7)
    await finish(store, the_end(running, S.FAILED))
    found = await written(store, job)
    assert [event for event, _ in found[6:]] == [*begun, "job.response", failed, "job.finished"]
    assert found[5][1]["payload"] == {"attempt": 2, "message": "interrupted: it died"}
    assert {(payload["job_id"], payload["event"]) for _, payload in found} == {(job.pk, event) for event, _ in found}


async def test_the_answer_of_the_target_goes_to_the_callback(store: Store) -> None:
    [good, gone] = await add(store, *(a_job(number, callback_url="http://c/") for number in (1, 2)))
    [running] = await claim(store, [good])
    end = msgspec.structs.replace(
        the_end(running),
        response_headers=(("Content-Type", "application/json"),),
        response_body=b'{"a": 1.0}',
        response_truncated=False,
    )
    await finish(store, end)
    await store.change_job(gone.id, lambda job: lifecycle.cancel(job, NOW))
    assert await written(store, gone) == []
    [(event, payload)] = await written(store, good)
    assert event == "callback"
    assert payload == {
        "job_id": good.id,
        "id": good.id,
        "status": 200,
        "headers": {"Content-Type": "application/json"},
        "body": {"a": 1.0},
        "truncated": False,
        "duration_ms": 4,
        "error": None,
    }


async def test_what_one_job_tells_leaves_in_order(store: Store) -> None:
    """The second waits for the end of the first, be it that it was given up; another job's does not."""
    heard: list[DueEntry] = []
    store.outbox.on_due(heard.extend)
    jobs = await add(store, told(1), told(2))
    for running in await claim(store, jobs):
        await finish(store, the_end(running))
    first, _ = await due(store)
    assert [entry.pk for entry in heard] == await due(store)

    heard.clear()
    [delivery] = await store.outbox.claim([first], owner="me", until_ms=NOW)
    assert await store.outbox.claim([first], owner="me", until_ms=NOW) == []
    await store.outbox.finish(ended(delivery, DeliveryStatus.PENDING, NOW + 30))
    assert heard == [DueEntry(NOW + 30, first, "w:80")]
    [delivery] = await store.outbox.claim([first], owner="me", until_ms=NOW + 30)
    assert delivery.attempts == 2
    await store.outbox.finish(ended(delivery, DeliveryStatus.FAILED))
    [_, behind] = heard
    assert behind.due_ms == NOW + 50
    [delivery] = await store.outbox.claim([behind.pk], owner="me", until_ms=NOW + 50)
    assert (delivery.event, delivery.job_id) == ("job.completed", jobs[0].id)


async def test_a_webhook_and_a_callback_do_not_wait_for_each_other(store: Store) -> None:
    [running] = await claim(store, await add(store, a_job(1, webhook_url="http://w/", callback_url="http://c/")))
    await finish(store, the_end(running))
    assert len(await due(store)) == 2


async def test_a_try_under_way_is_handed_back_uncounted(store: Store) -> None:
    [running] = await claim(store, await add(store, told(1)))
    [delivery] = await store.outbox.claim(await due(store), owner="me", until_ms=NOW)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.DELIVERING, 1)
    assert await store.outbox.hand_back(now_ms=NOW + 9) == 1
    await store.outbox.finish(ended(delivery, DeliveryStatus.DELIVERED))  # too late: nothing happens
    [again] = await store.outbox.claim(await due(store), owner="other", until_ms=NOW + 9)
    assert (again.pk, again.attempts, again.body) == (delivery.pk, 1, delivery.body)
    assert running.id == again.job_id


async def test_waits_shrink_by_what_the_clock_was_set_back(store: Store) -> None:
    [running] = await claim(store, await add(store, told(1)))
    [delivery] = await store.outbox.claim(await due(store), owner="me", until_ms=NOW)
    await store.outbox.finish(ended(delivery, DeliveryStatus.PENDING, NOW + 30_000))
    await finish(store, the_end(running))  # held behind it
    await store.outbox.pull(by_ms=10_000, now_ms=NOW - 10_000)
    [entry] = await store.outbox.due_page(start=(-1, 0), limit=9)
    assert entry.due_ms == NOW + 20_000


async def test_what_was_told_goes_with_its_job_and_what_was_not_stays(store: Store) -> None:
    jobs = await add(store, told(1), told(2))
    for running in await claim(store, jobs):
        await finish(store, the_end(running))
    [delivery] = await store.outbox.claim([(await due(store))[0]], owner="me", until_ms=NOW)
    await store.outbox.finish(ended(delivery, DeliveryStatus.DELIVERED))
    assert await store.delete_finished(before_ms=None, limit=9) == 2
    assert [await events(store, job) for job in jobs] == [["job.completed"], ["job.started", "job.completed"]]
    assert await store.outbox.forget(before_ms=NOW, limit=9) == 0
    for pk in await due(store):
        [delivery] = await store.outbox.claim([pk], owner="me", until_ms=NOW + 99)
        await store.outbox.finish(ended(delivery, DeliveryStatus.FAILED))
    assert await store.outbox.forget(before_ms=NOW + 51, limit=1) == 1


async def test_pages_and_filters(store: Store) -> None:
    jobs = await add(store, *(told(number, webhook_events=("completed",)) for number in range(5)))
    for running in await claim(store, jobs):
        await finish(store, the_end(running))
    [delivery] = await store.outbox.claim([(await due(store))[0]], owner="me", until_ms=NOW + 5)
    await store.outbox.finish(ended(delivery, DeliveryStatus.DELIVERED))
    page, more = await store.outbox.page(DeliveryFilter(), before_pk=None, limit=3)
    rest, end = await store.outbox.page(DeliveryFilter(), before_pk=page[-1].pk, limit=3)
    assert [one.job_id for one in page + rest] == [job.id for job in reversed(jobs)]
    assert (more, end) == (True, False)
    [one], _ = await store.outbox.page(DeliveryFilter(status=DeliveryStatus.DELIVERED), before_pk=None, limit=9)
    assert one.pk == delivery.pk
