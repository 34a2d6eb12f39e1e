"""What `store/base.py` promises, kept by every store."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import msgspec
import pytest

from fliqd.core import lifecycle
from fliqd.core.accounting import account
from fliqd.core.buffers import Buffer, item_of
from fliqd.core.delivery import ErrorCode, Timings
from fliqd.core.due_heap import DueEntry
from fliqd.core.model import ExecutionStatus, Job, JobStatus, OnInterrupt, Source
from fliqd.core.occurrences import Gap, Overlap
from fliqd.core.queues import Queue
from fliqd.core.reconciling import DeclaredJob
from fliqd.core.retry import Backoff, BackoffKind
from fliqd.core.schedule import Misfire, Missed, Schedule, ScheduleStatus, WhileRunning, job_of
from fliqd.core.settle import Settlement
from fliqd.errors import ConflictError, NotFoundError
from fliqd.store.base import (
    Counts,
    Finish,
    JobFilter,
    JobOrder,
    OrderedBy,
    Place,
    QueueCounts,
    Reconciliation,
    Recorded,
    ScheduleFilter,
    Step,
    Store,
    Token,
)
from fliqd.store.sqlite import rows

S = JobStatus
NOW = 1_800_000_000_000
MINUTE = 60_000


def a_job(number: int, due_ms: int = NOW, **more: Any) -> Job:
    fields: dict[str, Any] = {
        "id": f"job_{number:026d}",
        "url": "http://a/",
        "host": "a:80",
        "lane": "a:80",
        "scheduled_ms": due_ms,
        "created_ms": NOW,
        "updated_ms": NOW,
        "next_attempt_ms": due_ms,
    }
    return Job(**{**fields, **more})


async def add(store: Store, *jobs: Job) -> list[Job]:
    await store.create_jobs(jobs)
    return [await store.job(job.id) for job in jobs]


async def claim(store: Store, jobs: Sequence[Job], now_ms: int = NOW, owner: str = "me") -> list[Job]:
    entries = [DueEntry(job.next_attempt_ms or 0, job.pk, job.lane) for job in jobs]
    return await store.attempts.claim(entries, owner=owner, now_ms=now_ms, until_ms=now_ms)


async def finish(store: Store, end: Finish) -> bool:
    [recorded] = await store.attempts.finish_all([end])
    assert isinstance(recorded, Recorded), recorded
    return recorded.ours


def the_end(job: Job, status: JobStatus = S.SUCCESS, next_ms: int | None = None) -> Finish:
    good = status is S.SUCCESS
    return Finish(
        job=job,
        settlement=Settlement(
            status=status,
            execution_status=ExecutionStatus.SUCCESS if good else ExecutionStatus.FAILED,
            attempts=job.attempts + 1,
            next_attempt_ms=next_ms,
            error_code=None if good else ErrorCode.BAD_STATUS,
            error=None if good else "bad_status: 500",
            job_error=None if good else "bad_status: 500",
        ),
        started_ms=NOW + 1,
        finished_ms=NOW + 5,
        now_ms=NOW + 5,
        late_ms=1,
        status_code=200 if good else 500,
        response_headers=(("A", "é"),),
        response_body=b"\x00\xff",
        response_truncated=True,
        timings=Timings(total_ms=4.0),
    )


# A value for each thing that most jobs are not asked for.
RARE: dict[str, Any] = {
    "dialect": "fliq",
    "query": {"q": "1"},
    "backoff": Backoff(kind=BackoffKind.TABLE, delays_s=(1.5, 2)),
    "success_statuses": ("2xx", "409"),
    "on_interrupt": OnInterrupt.FAIL,
    "description": "d",
    "tags": ("x", "y"),
    "replay_of": "job_x",
    "expires_ms": NOW + 5,
    "crashes": 1,
    "source": Source.CONFIG,
    "schedule_id": "sched_x",
    "slot_ms": NOW,
    "has_references": True,
    "webhook_url": "http://w/",
    "webhook_headers": {"A": "1"},
    "webhook_events": ("failed",),
    "callback_url": "http://c/",
    "requires_approval": True,
    "approved_ms": NOW,
    "approved_by": "me",
    "key_is_free": True,
    "dedupe_key": "k",
    "dedupe_window_ms": 5,
    "asked": b"{}",
}


async def test_a_claimed_job_is_as_it_is_read_whatever_is_rare_about_it(store: Store) -> None:
    """A claim reads fewer columns where nothing is; each that is rare is tried alone."""
    asked = {"headers": {"A": "ü"}, "body": b"\x00\xff", "token_id": "tok_1", "idempotency_key": "k"}
    changes: list[dict[str, Any]] = [{}, asked, {"body": b"x" * 20_000}, {"body": b"{}", "body_is_json": True}]
    before = {
        "last_status_code": 500,
        "last_error": "bad_status: 500",
        "started_ms": NOW - 5,
        "executions": 3,
        "attempts": 2,
    }
    changes += [before, {"name": "n", "queue": "mail", "lane": "mail|a:80"}]
    changes += [{name: value} for name, value in RARE.items()]
    jobs = await add(store, *(a_job(number, **change) for number, change in enumerate(changes)))
    claimed = await claim(store, jobs, NOW + 3)
    assert [job.id for job in claimed] == [job.id for job in jobs]
    assert claimed == [await store.job(job.id) for job in jobs]


def test_all_that_is_rare_is_tried() -> None:
    common = {*rows.CLAIMED, "status", "updated_ms", "finished_ms", "next_attempt_ms", "owner"}
    assert {*RARE} | common == {*Job.__struct_fields__} - {"buffer_id", "dynamic_fields"}


async def test_a_job_comes_back_as_it_was_given(store: Store) -> None:
    given = a_job(
        1,
        headers={"A": "1", "ü": "\u2028"},
        query={"q": ""},
        body=b"\x00\xff",
        body_is_json=True,
        backoff=Backoff(kind=BackoffKind.TABLE, delays_s=(1.5, 2)),
        success_statuses=("2xx", "409"),
        on_interrupt=OnInterrupt.FAIL,
        tags=("x", "y"),
        name="n",
        description="d",
        expires_ms=NOW + 5,
        idempotency_key="k",
        token_id="tok_1",
    )
    kept = (await add(store, given))[0]
    assert msgspec.structs.replace(kept, pk=0) == given


async def test_an_idempotency_key_makes_one_job(store: Store) -> None:
    """Also within a batch, and between calls made at the same time; a key of another API is another key."""
    batch = [a_job(1, idempotency_key="k"), a_job(2, idempotency_key="k"), a_job(3)]
    first, second, third = await store.create_jobs(batch)
    assert (first.replayed, second.replayed, third.replayed) == (False, True, False)
    assert second.job.id == batch[0].id
    racing = await asyncio.gather(
        *(store.create_jobs([a_job(number, idempotency_key="r")]) for number in range(10, 30))
    )
    assert len({made[0].job.id for made in racing}) == 1
    other = await store.create_jobs([a_job(40, idempotency_key="k", dialect="fliq")])
    assert not other[0].replayed
    later = await store.create_jobs([a_job(41, idempotency_key="k")])
    assert later[0].replayed
    assert later[0].job.id == batch[0].id


async def test_a_refused_job_takes_no_other_along(store: Store) -> None:
    """A write that the schema refuses fails alone, though it was committed together with others."""
    await add(store, a_job(1))
    outcomes = await asyncio.gather(
        store.create_jobs([a_job(2)]),
        store.create_jobs([a_job(1)]),  # an id that exists
        store.create_jobs([a_job(3, next_attempt_ms=None)]),  # a state that cannot be
        store.create_jobs([a_job(4)]),
        return_exceptions=True,
    )
    assert [isinstance(outcome, ConflictError) for outcome in outcomes] == [False, True, True, False]
    assert {job.id for job in (await store.jobs(JobFilter(), before_pk=None, limit=9)).jobs} == {
        a_job(number).id for number in (1, 2, 4)
    }


async def test_lists_are_newest_first_and_stay_right_while_jobs_come(store: Store) -> None:
    for number in range(1, 8):
        await store.create_jobs([a_job(number)])
    page = (await store.jobs(JobFilter(), before_pk=None, limit=3)).jobs
    await store.create_jobs([a_job(9)])
    rest = (await store.jobs(JobFilter(), before_pk=page[-1].pk, limit=9)).jobs
    assert [int(job.id[4:]) for job in page + rest] == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (JobFilter(), [6, 5, 4, 3, 2, 1]),
        (JobFilter(status=S.CANCELLED), [1]),
        (JobFilter(status=S.SCHEDULED), [5, 4, 3, 2]),
        (JobFilter(waiting=True), [6, 5, 4, 3, 2]),
        (JobFilter(retrying=True), [5]),
        (JobFilter(queue="mail"), [2]),
        (JobFilter(name="n"), [3]),
        (JobFilter(tag="x"), [4, 2]),
        (JobFilter(tag="x", queue="mail"), [2]),
        (JobFilter(scheduled_from_ms=NOW + 10), [6, 4, 3]),
        (JobFilter(scheduled_to_ms=NOW + 10), [5, 2, 1]),
        (JobFilter(created_to_ms=NOW), []),
    ],
)
async def test_filters(store: Store, where: JobFilter, numbers: list[int]) -> None:
    await add(
        store,
        a_job(1),
        a_job(2, queue="mail", tags=("x",)),
        a_job(3, NOW + 10, name="n", tags=("y",)),
        a_job(4, NOW + 20, tags=("x", "y")),
        a_job(5),
        a_job(6, NOW + 20, status=S.AWAITING_APPROVAL, next_attempt_ms=None),
    )
    await store.change_job(a_job(1).id, lambda job: lifecycle.cancel(job, NOW))
    [running] = await claim(store, [await store.job(a_job(5).id)])
    await finish(store, the_end(running, S.SCHEDULED, NOW + 5))
    found = (await store.jobs(where, before_pk=None, limit=9)).jobs
    assert [int(job.id[4:]) for job in found] == numbers
    assert await store.jobs_from(where, order=JobOrder(), offset=0, limit=9) == found
    assert await store.count_jobs(where) == len(found)


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (JobFilter(of_schedule=False), [5, 4, 3, 2, 1]),
        (JobFilter(of_schedule=True), [6]),
        (JobFilter(dialect="quedup"), [4, 3, 2]),
        (JobFilter(dialect="quedup", idempotency_key="k"), [3]),
        (JobFilter(dialect="v1", idempotency_key="k"), [1]),
        (JobFilter(idempotency_key="k"), [3, 1]),
        (JobFilter(kept_in="quedup"), [6, 5, 4, 3, 1]),
        (JobFilter(kept_in="dispatchq"), [6, 4, 3, 2, 1]),
    ],
)
async def test_filters_of_the_stand_ins(store: Store, where: JobFilter, numbers: list[int]) -> None:
    await add(store, a_job(1, idempotency_key="k"), a_job(2, dialect="quedup", idempotency_key="k"))
    await store.change_job(a_job(2).id, lambda job: lifecycle.free_key(job, NOW))
    await add(
        store,
        a_job(3, dialect="quedup", idempotency_key="k"),
        a_job(4, dialect="quedup"),
        a_job(5, dialect="dispatchq", key_is_free=True),
        a_job(6, schedule_id="sched_1"),
    )
    found = (await store.jobs(where, before_pk=None, limit=9)).jobs
    assert [int(job.id[4:]) for job in found] == numbers
    assert await store.jobs_from(where, order=JobOrder(), offset=0, limit=9) == found
    assert await store.count_jobs(where) == len(found)


async def test_a_job_is_given_a_key_that_no_other_holds(store: Store) -> None:
    held, _, other = await add(
        store, a_job(1, idempotency_key="held"), a_job(2, idempotency_key="free", key_is_free=True), a_job(3)
    )

    def called(key: str) -> Callable[[Job], Job]:
        return lambda job: msgspec.structs.replace(job, idempotency_key=key)

    for key in ("free", "new"):
        changed = await store.change_job(other.id, called(key))
        assert (await store.create_jobs([a_job(9, idempotency_key=key)]))[0].job == changed
    with pytest.raises(ConflictError) as caught:
        await store.change_job(other.id, called("held"))
    assert caught.value.code == "name_taken"
    assert (await store.job(other.id)).idempotency_key == "new"
    assert (await store.create_jobs([a_job(10, idempotency_key="held")]))[0].job == held


@pytest.mark.parametrize(
    ("by", "numbers"),
    [
        ("created", [1, 2, 3]),
        ("scheduled", [3, 2, 1]),
        ("updated", [3, 1, 2]),
        ("started", [3, 1, 2]),
        ("finished", [3, 1, 2]),
    ],
)
async def test_orders(store: Store, by: OrderedBy, numbers: list[int]) -> None:
    """What has never started or ended comes before all that has."""
    jobs = await add(store, a_job(1, NOW + 3), a_job(2, NOW + 2), a_job(3, NOW))
    for number, now_ms in ((1, NOW + 4), (2, NOW + 5)):
        [running] = await claim(store, [jobs[number - 1]], now_ms)
        await finish(store, msgspec.structs.replace(the_end(running), started_ms=now_ms, finished_ms=now_ms))
    for newest_first, expected in ((False, numbers), (True, numbers[::-1])):
        order = JobOrder(by, newest_first)
        found = await store.jobs_from(JobFilter(), order=order, offset=0, limit=9)
        assert [int(job.id[4:]) for job in found] == expected
        assert await store.jobs_from(JobFilter(), order=order, offset=1, limit=1) == found[1:2]


async def test_a_part_has_fewer_jobs_where_their_bodies_are_large(store: Store) -> None:
    jobs = await add(store, *(a_job(number, body=b"x" * 1_000_000) for number in range(1, 7)))
    order = JobOrder("created", newest_first=False)
    first = await store.jobs_from(JobFilter(), order=order, offset=0, limit=6)
    assert [job.id for job in first] == [job.id for job in jobs[:4]]
    rest = await store.jobs_from(JobFilter(), order=order, offset=len(first), limit=6)
    assert [job.id for job in rest] == [job.id for job in jobs[4:]]
    assert await store.jobs_from(JobFilter(), order=order, offset=6, limit=6) == []


async def test_attempts_from_a_place_on(store: Store) -> None:
    jobs = await add(store, a_job(1, max_retries=1), a_job(2))
    first, second = await claim(store, jobs)
    await finish(store, the_end(first, S.SCHEDULED, NOW + 1))
    await finish(store, the_end(second))
    await claim(store, jobs[:1], NOW + 1)

    async def numbers(job_pk: int | None, offset: int = 0, limit: int = 9, **more: bool) -> list[tuple[int, int]]:
        found = await store.executions_from(job_pk, offset=offset, limit=limit, **more)
        return [(one.job_pk, one.attempt_num) for one in found]

    newest_first = [(second.pk, 1), (first.pk, 2), (first.pk, 1)]
    assert await numbers(None) == newest_first
    assert await numbers(None, newest_first=False) == newest_first[::-1]
    assert await numbers(None, 1, 1) == newest_first[1:2]
    assert await numbers(first.pk) == newest_first[1:]


async def test_a_list_by_time_goes_on_beyond_any_job_of_it(store: Store) -> None:
    """Strictly beyond, in time and among those of one instant, whatever has come or gone meanwhile."""
    jobs = await add(store, *(a_job(number, NOW + 1000 * (number // 3)) for number in range(9)))
    wanted = sorted(jobs, key=lambda job: (job.scheduled_ms, job.pk), reverse=True)
    for place, job in enumerate(wanted):
        beyond = JobFilter(beyond_ms=job.scheduled_ms, beyond_pk=job.pk)
        assert await store.jobs_by_time(beyond, limit=9) == (wanted[place + 1 :], None)
        at_most_two = await store.jobs_by_time(beyond, limit=2)
        rest = wanted[place + 1 :]
        assert at_most_two == (rest[:2], Place(rest[1].scheduled_ms, rest[1].pk) if len(rest) > 2 else None)


async def test_a_list_by_time_stops_where_bodies_come_to_much(store: Store) -> None:
    jobs = await add(store, *(a_job(number, body=b"x" * 1024 * 1024) for number in range(10)))
    found, place = await store.jobs_by_time(JobFilter(), limit=10)
    assert 1 <= len(found) < 10
    assert place is not None
    rest, _ = await store.jobs_by_time(JobFilter(beyond_ms=place.scheduled_ms, beyond_pk=place.pk), limit=10)
    assert [job.pk for job in (*found, *rest)][:8] == [job.pk for job in jobs[::-1]][:8]


async def test_who_holds_a_key(store: Store) -> None:
    [job] = await add(store, a_job(1, dialect="a", idempotency_key="k"))
    assert await store.job_by_key("a", "k", NOW) == job
    assert await store.job_by_key("b", "k", NOW) is None
    assert await store.job_by_key("a", "K", NOW) is None
    await store.change_job(job.id, lambda job: lifecycle.free_key(job, NOW))
    assert await store.job_by_key("a", "k", NOW) is None


async def test_a_store_is_told_from_others(store: Store) -> None:
    assert re.fullmatch("[0-9a-f]{32}", store.id)


async def test_a_claim_opens_an_attempt_once(store: Store) -> None:
    jobs = await add(store, a_job(1), a_job(2, NOW + 1), a_job(3))
    first, second = await asyncio.gather(claim(store, jobs), claim(store, jobs))
    assert sorted(job.id for job in first + second) == [jobs[0].id, jobs[2].id]
    for job in first + second:
        assert (job.status, job.owner, job.executions) == (S.RUNNING, "me", 1)
        assert (await store.executions(job.id))[0].status is ExecutionStatus.RUNNING
    assert await claim(store, jobs) == []
    assert (await store.job(jobs[1].id)).status is S.SCHEDULED


async def test_a_claimed_job_is_the_job_and_nothing_less(store: Store) -> None:
    """Whatever its fields hold, and however long its body is."""
    everything: dict[str, Any] = {
        "headers": {"A": "1", "ü": '"\u2028\\'},
        "query": {"q": ""},
        "backoff": Backoff(kind=BackoffKind.TABLE, delays_s=(1.5, 2)),
        "success_statuses": ("2xx", "409"),
        "on_interrupt": OnInterrupt.FAIL,
        "tags": ("x",),
        "name": "a 'name'\n",
        "expires_ms": NOW + 9,
    }
    bodies = [None, b"", b"\x00\xff", b"x" * 16_384, bytes(range(256)) * 100]
    jobs = await add(store, *(a_job(number, body=body, **everything) for number, body in enumerate(bodies)))
    claimed = await claim(store, jobs, NOW + 3)
    assert claimed == [await store.job(job.id) for job in jobs]
    assert [job.body for job in claimed] == bodies


async def test_many_ends_at_once_each_for_itself(store: Store) -> None:
    """More than a statement takes; the one that is not the owner's any more changes nothing."""
    jobs = await claim(store, await add(store, *(a_job(number) for number in range(90))))
    stale = msgspec.structs.replace(jobs[70], owner="gone")
    ends = [the_end(job) for job in [*jobs[:70], stale, *jobs[71:]]]
    ours = [isinstance(result, Recorded) and result.ours for result in await store.attempts.finish_all(ends)]
    assert ours == [True] * 70 + [False] + [True] * 19
    assert (await store.job(stale.id)).status is S.RUNNING
    assert (await store.job(jobs[71].id)).status is S.SUCCESS


async def test_an_expired_job_fails_at_its_claim(store: Store) -> None:
    jobs = await add(store, a_job(1, expires_ms=NOW), a_job(2, expires_ms=NOW + 100))
    claimed = await claim(store, jobs, NOW + 1)
    assert [job.id for job in claimed] == [jobs[1].id]
    expired = await store.job(jobs[0].id)
    assert expired.status is S.FAILED
    assert expired.last_error is not None
    assert expired.last_error.startswith("expired: ")


async def test_the_end_of_an_attempt(store: Store) -> None:
    told: list[DueEntry] = []
    store.on_due(told.extend)
    jobs = await add(store, a_job(1), a_job(2))
    told.clear()
    good, bad = await claim(store, jobs)
    ends = await asyncio.gather(finish(store, the_end(good)), finish(store, the_end(bad, S.SCHEDULED, NOW + 99)))
    assert all(ends)
    assert told == [DueEntry(NOW + 99, bad.pk, "a:80")]
    done = await store.job(good.id)
    assert (done.status, done.owner, done.finished_ms, done.attempts) == (S.SUCCESS, None, NOW + 5, 1)
    waiting = await store.job(bad.id)
    assert (waiting.status, waiting.next_attempt_ms, waiting.last_error) == (S.SCHEDULED, NOW + 99, "bad_status: 500")
    execution = (await store.executions(good.id))[0]
    assert (execution.response_body, execution.response_headers) == (b"\x00\xff", (("A", "é"),))
    assert (execution.response_truncated, execution.timings) == (True, Timings(total_ms=4.0))


async def test_a_late_worker_cannot_overwrite_its_successor(store: Store) -> None:
    """Among many ends in one commit, the one whose attempt is not its own any more is refused, alone."""
    jobs = await add(store, *(a_job(number) for number in range(1, 6)))
    stale = await claim(store, jobs[:1], owner="gone")
    await store.attempts.hand_back(stale, now_ms=NOW, reason="a test")
    again = await claim(store, jobs)
    assert [job.executions for job in again] == [2, 1, 1, 1, 1]
    outcomes = await asyncio.gather(
        *(finish(store, the_end(job)) for job in [*stale, *again[1:]]), finish(store, the_end(again[0]))
    )
    assert outcomes == [False, True, True, True, True, True]


async def test_what_was_never_sent_is_as_if_never_claimed(store: Store) -> None:
    told: list[DueEntry] = []
    store.on_due(told.extend)
    before = await add(store, a_job(1))
    claimed = await claim(store, before)
    await store.attempts.unclaim(claimed, NOW)
    after = await store.job(before[0].id)
    assert after == before[0]
    assert await store.executions(after.id) == []
    assert told == [DueEntry(NOW, after.pk, "a:80")] * 2


async def test_interrupted_attempts_are_due_again_or_fail(store: Store) -> None:
    jobs = await add(store, a_job(1), a_job(2, on_interrupt=OnInterrupt.FAIL), a_job(3))
    await claim(store, jobs[:2])
    told: list[DueEntry] = []
    store.on_due(told.extend)
    assert await store.attempts.recover(now_ms=NOW + 7, reason="it died") == 2
    assert told == [DueEntry(NOW + 7, jobs[0].pk, "!a:80")]
    again, failed, untouched = [await store.job(job.id) for job in jobs]
    assert (again.status, again.next_attempt_ms, again.executions, again.attempts) == (S.SCHEDULED, NOW + 7, 1, 0)
    assert (failed.status, failed.last_error) == (S.FAILED, "interrupted: it died")
    assert untouched.executions == 0
    execution = (await store.executions(again.id))[0]
    assert (execution.status, execution.error_code) == (ExecutionStatus.INTERRUPTED, ErrorCode.INTERRUPTED)


async def test_the_due_index_gives_pages_in_order(store: Store) -> None:
    shuffled = [NOW + number for number in range(40)] * 2
    random.Random(1).shuffle(shuffled)
    await store.create_jobs(
        [a_job(number, due_ms, lane="b:80" if number % 4 == 0 else "a:80") for number, due_ms in enumerate(shuffled)]
    )
    seen: list[DueEntry] = []
    place = (-1, 0)
    while page := await store.due_page(start=place, until_ms=None, lane=None, limit=7):
        seen += page
        place = (page[-1].due_ms, page[-1].pk + 1)
    assert seen == sorted(seen)
    assert len(seen) == 80
    of_b = await store.due_page(start=(NOW + 10, 0), until_ms=NOW + 20, lane="b:80", limit=99)
    assert of_b == [entry for entry in seen if entry.lane == "b:80" and NOW + 10 <= entry.due_ms <= NOW + 20]


async def test_a_change_sees_and_leaves_a_whole_job(store: Store) -> None:
    job = (await add(store, a_job(1, tags=("x",))))[0]
    changed = await store.change_job(
        job.id, lambda job: msgspec.structs.replace(job, tags=("y",), next_attempt_ms=NOW + 5, updated_ms=NOW + 1)
    )
    assert await store.job(job.id) == changed
    assert (await store.jobs(JobFilter(tag="x"), before_pk=None, limit=9)).jobs == []
    assert (await store.jobs(JobFilter(tag="y"), before_pk=None, limit=9)).jobs == [changed]
    await claim(store, [job], NOW + 5)
    with pytest.raises(ConflictError):
        await store.change_job(job.id, lambda job: lifecycle.cancel(job, NOW))
    with pytest.raises(NotFoundError):
        await store.change_job(a_job(9).id, lambda job: job)


async def test_changes_made_at_once_do_not_lose_each_other(store: Store) -> None:
    job = (await add(store, a_job(1)))[0]
    await asyncio.gather(
        *(
            store.change_job(job.id, lambda job: msgspec.structs.replace(job, max_retries=job.max_retries + 1))
            for _ in range(50)
        )
    )
    assert (await store.job(job.id)).max_retries == 50


async def test_a_cancelled_caller_leaves_nothing_half_done(store: Store) -> None:
    """Whatever moment a caller is cancelled at, its job is there whole or not at all, and others are unharmed."""
    chance = random.Random(7)
    told: list[DueEntry] = []
    store.on_due(told.extend)

    async def create(number: int) -> None:
        task = asyncio.create_task(store.create_jobs([a_job(number), a_job(number + 1_000)]))
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        if number % 2:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled() == bool(number % 2)

    await asyncio.gather(*(create(number) for number in range(300)))
    await store.create_jobs([a_job(5_000)])
    found = {int(job.id[4:]) for job in (await store.jobs(JobFilter(), before_pk=None, limit=2_000)).jobs}
    assert set(range(0, 300, 2)) <= found
    assert {number + 1_000 for number in found if number < 1_000} == {n for n in found if 1_000 <= n < 5_000}
    assert len({entry.pk for entry in told}) == len(found)


async def test_tokens(store: Store) -> None:
    token = Token(id="tok_1", name="admin", hash=b"\x01" * 32, scopes=("read", "write"), created_ms=NOW)
    await store.tokens.add(token)
    with pytest.raises(ConflictError):
        await store.tokens.add(token)
    assert await store.tokens.all() == [token]


async def test_a_job_that_the_daemon_keeps_dying_of_fails_in_the_end(store: Store) -> None:
    """The first crash leads into the quarantine; three more there end it. One that ends well is free again."""
    poison, unlucky = await add(store, a_job(1), a_job(2))
    for crash in range(1, 5):
        both = await claim(store, [await store.job(job.id) for job in (poison, unlucky)])
        if crash == 3:
            await finish(store, the_end(both[1], S.SCHEDULED, NOW))
        await store.attempts.recover(now_ms=NOW, reason="it died")
        job = await store.job(poison.id)
        assert (job.crashes, job.lane) == (crash, "!a:80")
        assert job.status is (S.FAILED if crash == 4 else S.SCHEDULED)
    assert ((await store.job(unlucky.id)).crashes, (await store.job(unlucky.id)).status) == (1, S.SCHEDULED)


async def test_one_that_has_changed_its_lane_is_due_there(store: Store) -> None:
    """An entry of before leads to nothing, or it would pass the limits of where the job is now."""
    [job, other] = await add(store, a_job(1), a_job(2))
    moved = await store.change_job(job.id, lambda old: msgspec.structs.replace(old, queue="mail", lane="mail|a:80"))
    told: list[DueEntry] = []
    store.on_due(told.extend)
    assert [one.id for one in await claim(store, [job, other, moved])] == [moved.id, other.id]
    assert told == []
    [job, other] = await add(store, a_job(3), a_job(4))
    moved = await store.change_job(job.id, lambda old: msgspec.structs.replace(old, queue="mail", lane="mail|a:80"))
    told.clear()
    assert [one.id for one in await claim(store, [job, other])] == [other.id]
    assert told == [(NOW, job.pk, "mail|a:80")]
    assert (await store.job(job.id)).status is S.SCHEDULED
    assert [one.id for one in await claim(store, [moved])] == [job.id]


async def test_a_clean_stop_counts_against_nobody(store: Store) -> None:
    jobs = await add(store, a_job(1))
    for _ in range(9):
        await store.attempts.hand_back(await claim(store, jobs), now_ms=NOW, reason="it stops")
    job = await store.job(jobs[0].id)
    assert (job.crashes, job.lane, job.attempts, job.executions) == (0, "a:80", 0, 9)


async def test_the_oldest_finished_jobs_go_first_and_live_ones_never(store: Store) -> None:
    jobs = await add(store, *(a_job(number, tags=("x",)) for number in range(1, 8)))
    for order, job in enumerate(jobs[:5]):
        claimed = await claim(store, [job])
        await finish(store, msgspec.structs.replace(the_end(claimed[0]), finished_ms=NOW + 100 - order))
    assert await store.oldest_finish_ms() == NOW + 96
    assert await store.nth_newest_finish_ms(3) == NOW + 97
    assert await store.nth_newest_finish_ms(5) is None
    assert await store.delete_finished(before_ms=NOW + 98, limit=99) == 2
    assert await store.delete_finished(before_ms=None, limit=1) == 1
    assert {job.pk for job in (await store.jobs(JobFilter(), before_pk=None, limit=9)).jobs} == {1, 2, 6, 7}
    assert len((await store.jobs(JobFilter(tag="x"), before_pk=None, limit=9)).jobs) == 4
    assert await store.delete_finished(before_ms=None, limit=99) == 2
    assert await store.delete_finished(before_ms=None, limit=99) == 0
    assert await store.oldest_finish_ms() is None
    with pytest.raises(NotFoundError):
        await store.executions(jobs[0].id)


async def test_counts(store: Store) -> None:
    jobs = await add(store, *(a_job(number, NOW + number) for number in range(6)))
    none = {"awaiting_approval": 0, "items_waiting": 0, "items_running": 0, "items_failed": 0}
    seen = await store.counts(since_ms=NOW)
    assert seen == Counts(waiting=6, running=0, finished=0, failed=0, first_due_ms=NOW, **none)
    claimed = await claim(store, jobs[:4], NOW + 10)
    for job, status in zip(claimed, (S.SUCCESS, S.FAILED, S.FAILED), strict=False):
        await finish(store, the_end(job, status))
    seen = await store.counts(since_ms=0)
    assert seen == Counts(waiting=2, running=1, finished=3, failed=2, first_due_ms=NOW + 4, **none)
    later = await store.counts(since_ms=NOW + 86_400_000)
    assert (later.finished, later.failed) == (0, 0)


async def test_items_of_buffers_are_counted_apart_from_jobs(store: Store) -> None:
    """An item that waits behind another one has no time of its own."""
    buffer = await store.buffers.create(a_buffer(1))
    items = await push(store, buffer, "a", "b", "c")
    seen = await store.counts(since_ms=0)
    assert (seen.waiting, seen.items_waiting, seen.first_due_ms) == (0, 3, items[0].next_attempt_ms)
    [running] = await claim(store, items[:1], NOW + 10)
    seen = await store.counts(since_ms=0)
    assert (seen.running, seen.items_waiting, seen.items_running, seen.first_due_ms) == (0, 2, 1, None)
    await finish(store, the_end(running, S.FAILED))
    seen = await store.counts(since_ms=0)
    assert (seen.finished, seen.failed, seen.items_waiting, seen.items_failed) == (0, 0, 2, 1)


# Schedules


def a_schedule(number: int, **more: Any) -> Schedule:
    """Return a schedule of every minute from NOW on, due for the first time a minute later."""
    fields: dict[str, Any] = {
        "id": f"sched_{number:026d}",
        "name": f"s{number}",
        "every_ms": MINUTE,
        "anchor_ms": NOW + MINUTE,
        "url": "http://a/",
        "host": "a:80",
        "created_ms": NOW,
        "updated_ms": NOW,
        "cursor_ms": NOW,
        "next_run_ms": NOW + MINUTE,
    }
    return Schedule(**{**fields, **more})


_ids = count()


def looked_at(schedule: Schedule, now_ms: int) -> Step:
    """Return the step that brings a schedule up to now."""
    due = account(schedule, now_ms=now_ms, lead_ms=0, new_id=lambda: f"job_of_a_schedule_{next(_ids)}")
    return Step(old=schedule, now_ms=now_ms, due=due)


async def take(store: Store, step: Step) -> Schedule:
    [taken] = await store.schedules.take([step])
    assert taken is not None
    return taken


async def jobs_of(store: Store, schedule: Schedule) -> list[Job]:
    """Return its jobs, oldest first."""
    return (await store.jobs(JobFilter(schedule_id=schedule.id), before_pk=None, limit=999)).jobs[::-1]


async def missed(store: Store, schedule: Schedule) -> list[tuple[int, int, int, str]]:
    """Return what it missed, oldest first: from which minute to which, how many, and why."""
    found, more = await store.schedules.missed(schedule, before_pk=None, limit=999)
    assert more is None
    return [
        ((one.first_ms - NOW) // MINUTE, (one.last_ms - NOW) // MINUTE, one.count, str(one.reason))
        for one in reversed(found)
    ]


async def test_a_schedule_comes_back_as_it_was_given(store: Store) -> None:
    given = a_schedule(
        1,
        cron="0 3 * * *",
        every_ms=None,
        anchor_ms=None,
        timezone="Europe/Berlin",
        dst_gap=Gap.SKIP,
        dst_overlap=Overlap.BOTH,
        starts_ms=NOW + 1,
        ends_ms=NOW + 2,
        max_runs=3,
        jitter_ms=4,
        misfire=Misfire.ALL,
        misfire_grace_ms=5,
        overlap=WhileRunning.ALLOW,
        http_method="PUT",
        headers={"A": "1"},
        query={"q": "ü"},
        body=b"\x00\xff",
        body_is_json=True,
        has_references=True,
        timeout_ms=6_000,
        max_retries=7,
        backoff=Backoff(kind=BackoffKind.TABLE, delays_s=(1.5, 2)),
        success_statuses=("2xx", "409"),
        on_interrupt=OnInterrupt.FAIL,
        queue="mail",
        description="d",
        tags=("x", "y"),
        source=Source.CONFIG,
        token_id="tok_1",
        paused_ms=NOW + 8,
        next_run_ms=None,
        run_count=9,
        error="e",
    )
    made = await store.schedules.create(given)
    assert msgspec.structs.replace(made, pk=0) == given
    assert await store.schedules.get(given.id) == made
    assert await store.schedules.all() == [made]
    assert await store.schedules.by_pk([made.pk, made.pk + 1]) == [made]
    with pytest.raises(NotFoundError):
        await store.schedules.get(a_schedule(2).id)


async def test_a_schedule_and_its_first_job_come_together_or_not_at_all(store: Store) -> None:
    told: list[DueEntry] = []
    store.on_due(told.extend)
    schedule = a_schedule(1, cursor_ms=NOW + 5, next_run_ms=NOW + 5 + MINUTE, run_count=1)
    keyed = {"idempotency_key": "k", "schedule_id": schedule.id, "slot_ms": NOW + 5}
    made = await store.schedules.create_with_job(schedule, a_job(1, NOW + 5, **keyed))
    assert (made.replayed, made.job) == (False, await store.job(a_job(1).id))
    assert [(entry.due_ms, entry.pk) for entry in told] == [(NOW + 5, made.job.pk)]
    assert (await store.schedules.get(schedule.id)).last_run_ms == NOW + 5
    with pytest.raises(ConflictError):
        await store.schedules.create_with_job(a_schedule(2, name="s1"), a_job(2))
    again = await store.schedules.create_with_job(a_schedule(3), a_job(3, idempotency_key="k"))
    assert (again.replayed, again.job) == (True, made.job)
    for number in (2, 3):
        with pytest.raises(NotFoundError):
            await store.job(a_job(number).id)
    assert [one.id for one in await store.schedules.all()] == [schedule.id]


async def test_names_are_unique_while_their_owners_live(store: Store) -> None:
    first = await store.schedules.create(a_schedule(1))
    second, third = [await store.schedules.create(a_schedule(number)) for number in (2, 3)]
    outcomes = await asyncio.gather(
        store.schedules.create(a_schedule(4, name="s1")),
        store.schedules.create(a_schedule(5, name="new")),
        store.schedules.create(a_schedule(6, name="new")),
        return_exceptions=True,
    )
    assert [isinstance(outcome, ConflictError) and outcome.code for outcome in outcomes].count("name_taken") == 2
    renamed = Step(old=second, now_ms=NOW, change=lambda old: msgspec.structs.replace(old, name="s1"))
    other = Step(old=third, now_ms=NOW, change=lambda old: msgspec.structs.replace(old, description="d"))
    with pytest.raises(ConflictError) as refused:
        await store.schedules.take([other, renamed])
    assert refused.value.code == "name_taken"
    assert (await store.schedules.get(third.id)).description is None, "it has taken none"
    gone = Step(old=first, now_ms=NOW, change=deleted)
    await take(store, gone)
    assert (await take(store, renamed)).name == "s1"


def deleted(old: Schedule) -> Schedule:
    return msgspec.structs.replace(old, deleted_ms=NOW + MINUTE, next_run_ms=None)


async def test_lists_of_schedules_and_their_filters(store: Store) -> None:
    await store.schedules.create(a_schedule(1))
    await store.schedules.create(a_schedule(2, paused_ms=NOW, next_run_ms=None))
    await store.schedules.create(a_schedule(3, next_run_ms=None))
    await store.schedules.create(a_schedule(4, next_run_ms=None, error="e", source=Source.CONFIG))
    gone = await store.schedules.create(a_schedule(5))
    await take(store, Step(old=gone, now_ms=NOW, change=deleted))

    async def listed(**where: Any) -> list[int]:
        found, more = await store.schedules.page(ScheduleFilter(**where), before_pk=None, limit=9)
        assert not more
        return [int(one.name[1:]) for one in found]

    assert await listed() == [4, 3, 2, 1]
    assert await listed(status=ScheduleStatus.ACTIVE) == [4, 1]
    assert await listed(status=ScheduleStatus.PAUSED) == [2]
    assert await listed(status=ScheduleStatus.ENDED) == [3]
    assert await listed(name="s3") == [3]
    assert await listed(source=Source.CONFIG) == [4]
    page, more = await store.schedules.page(ScheduleFilter(), before_pk=None, limit=3)
    assert (len(page), more) == (3, True)
    rest, more = await store.schedules.page(ScheduleFilter(), before_pk=page[-1].pk, limit=3)
    assert ([one.name for one in rest], more) == (["s1"], False)
    for one in page + rest:
        assert one.status is (await store.schedules.get(one.id)).status


async def test_the_next_runs_are_a_due_index_that_tells_of_changes(store: Store) -> None:
    told: list[DueEntry] = []
    store.schedules.on_due(told.extend)
    made = [await store.schedules.create(a_schedule(number, next_run_ms=NOW + 9 - number)) for number in range(1, 6)]
    await store.schedules.create(a_schedule(9, next_run_ms=None, paused_ms=NOW))
    parked = await store.schedules.create(a_schedule(10, next_run_ms=None, error="e"))
    assert told == [DueEntry(NOW + 9 - number, one.pk, "") for number, one in enumerate(made, 1)]
    assert await store.schedules.due_page(start=(-1, 0), limit=9) == sorted(told)
    assert await store.schedules.due_page(start=(NOW + 5, made[3].pk + 1), limit=2) == sorted(told)[2:4]
    assert await store.schedules.parked() == [parked.pk]
    told.clear()
    moved = Step(old=made[0], now_ms=NOW, change=lambda old: msgspec.structs.replace(old, next_run_ms=NOW + 99))
    await take(store, moved)
    assert told == [DueEntry(NOW + 99, made[0].pk, "")]


async def test_a_due_time_becomes_a_job_and_the_schedule_moves_on(store: Store) -> None:
    told: list[DueEntry] = []
    store.on_due(told.extend)
    made = await store.schedules.create(a_schedule(1, body=b"b", tags=("x",), max_retries=2))
    moved = await take(store, looked_at(made, NOW + MINUTE))
    [job] = await jobs_of(store, made)
    assert (job.slot_ms, job.scheduled_ms, job.status) == (NOW + MINUTE, NOW + MINUTE, S.SCHEDULED)
    assert (job.name, job.body, job.tags, job.max_retries, job.lane) == ("s1", b"b", ("x",), 2, "a:80")
    assert told == [DueEntry(NOW + MINUTE, job.pk, "a:80")]
    kept = await store.schedules.get(made.id)
    assert (kept.cursor_ms, kept.next_run_ms, kept.run_count) == (NOW + MINUTE, NOW + 2 * MINUTE, 1)
    assert (kept.last_run_ms, kept.last_status) == (NOW + MINUTE, S.SCHEDULED)
    assert (kept.version, moved.version) == (1, 1)


async def test_a_step_from_an_old_reading_does_nothing(store: Store) -> None:
    """Of many who decide about one schedule at once, one has its way; the others hear of it."""
    made = await store.schedules.create(a_schedule(1))
    results = await asyncio.gather(*(store.schedules.take([looked_at(made, NOW + MINUTE)]) for _ in range(20)))
    assert sum(result is not None for [result] in results) == 1
    assert len(await jobs_of(store, made)) == 1
    both = await store.schedules.take([looked_at(made, NOW + 9 * MINUTE), looked_at(await get(store, made), NOW)])
    assert [result is None for result in both] == [True, False], "each for itself"
    assert await missed(store, made) == []


async def get(store: Store, schedule: Schedule) -> Schedule:
    return await store.schedules.get(schedule.id)


async def test_a_slot_never_gets_a_second_job(store: Store) -> None:
    """Not even when its schedule is led back before it."""
    made = await store.schedules.create(a_schedule(1, overlap=WhileRunning.ALLOW, misfire=Misfire.ALL))
    await take(store, looked_at(made, NOW + 3 * MINUTE))
    back = Step(
        old=await get(store, made),
        now_ms=NOW,
        change=lambda old: msgspec.structs.replace(old, cursor_ms=NOW + MINUTE, next_run_ms=NOW + 2 * MINUTE),
    )
    again = await take(store, back)
    await take(store, looked_at(again, NOW + 4 * MINUTE))
    assert [((job.slot_ms or 0) - NOW) // MINUTE for job in await jobs_of(store, made)] == [1, 2, 3, 4]


async def test_what_is_missed_in_a_row_is_one_note(store: Store) -> None:
    made = await store.schedules.create(a_schedule(1, overlap=WhileRunning.SKIP))
    for minute in (1, 2, 3):
        await take(store, looked_at(await get(store, made), NOW + minute * MINUTE))
    assert await missed(store, made) == [(2, 3, 2, "overlap")]
    [first] = await claim(store, await jobs_of(store, made), NOW + 4 * MINUTE)
    await finish(store, the_end(first))
    # Two at once: the fourth runs, the fifth finds it running. No range may reach across the one that ran.
    await take(store, looked_at(await get(store, made), NOW + 5 * MINUTE))
    assert [((job.slot_ms or 0) - NOW) // MINUTE for job in await jobs_of(store, made)] == [1, 4]
    assert await missed(store, made) == [(2, 3, 2, "overlap"), (5, 5, 1, "overlap")]
    await take(store, looked_at(await get(store, made), NOW + 6 * MINUTE))
    await take(store, looked_at(await get(store, made), NOW + 20 * MINUTE))
    assert (await missed(store, made))[1:] == [(5, 6, 2, "overlap"), (7, 18, 12, "misfire"), (19, 20, 2, "overlap")]


@pytest.mark.parametrize("limit", [1, 2, 3, 9])
async def test_what_was_missed_comes_in_pages(store: Store, limit: int) -> None:
    made = await store.schedules.create(a_schedule(1, misfire_grace_ms=0, overlap=WhileRunning.ALLOW))
    for minute in (3, 6, 9, 12, 15):
        await take(store, looked_at(await get(store, made), NOW + minute * MINUTE))
    seen: list[Missed] = []
    place = None
    while True:
        page, place = await store.schedules.missed(made, before_pk=place, limit=limit)
        seen += page
        if place is None:
            break
        assert len(page) == limit
    assert [((one.first_ms - NOW) // MINUTE, one.count) for one in seen] == [(13, 2), (10, 2), (7, 2), (4, 2), (1, 2)]
    nothing, place = await store.schedules.missed(made, before_pk=None, limit=0)
    assert nothing == []
    assert place is not None
    assert (await store.schedules.missed(made, before_pk=place, limit=9))[0] == seen


async def in_line(store: Store, number: int = 1) -> tuple[Schedule, list[Job]]:
    """Return a schedule with a run under way and two that wait for it."""
    made = await store.schedules.create(a_schedule(number, misfire=Misfire.ALL, misfire_grace_ms=0))
    await take(store, looked_at(made, NOW + 3 * MINUTE + 1))
    first, second, third = await jobs_of(store, made)
    assert [job.is_held for job in (first, second, third)] == [False, True, True]
    return made, [first, second, third]


async def ends_well(store: Store, job: Job) -> None:
    await finish(store, the_end(job))


async def fails(store: Store, job: Job) -> None:
    await finish(store, the_end(job, S.FAILED))


async def is_cut_off(store: Store, job: Job) -> None:
    await store.attempts.recover(now_ms=NOW + 5 * MINUTE, reason="it died")


@pytest.mark.parametrize("end", [ends_well, fails, is_cut_off])
async def test_the_end_of_a_run_lets_the_next_one_go(
    store: Store, end: Callable[[Store, Job], Awaitable[None]]
) -> None:
    made = await store.schedules.create(
        a_schedule(1, misfire=Misfire.ALL, misfire_grace_ms=0, on_interrupt=OnInterrupt.FAIL)
    )
    await take(store, looked_at(made, NOW + 3 * MINUTE + 1))
    first, second, third = await jobs_of(store, made)
    told: list[DueEntry] = []
    store.on_due(told.extend)
    [running] = await claim(store, [first], NOW + 4 * MINUTE)
    assert told == []
    assert await claim(store, [second, third], NOW + 10**9) == [], "not by any clock"
    await end(store, running)
    [entry] = told
    assert entry.pk == second.pk
    assert (await store.job(second.id)).next_attempt_ms == entry.due_ms
    assert (await store.job(third.id)).is_held


async def test_a_retry_or_a_crash_of_a_run_is_not_its_end(store: Store) -> None:
    _, [first, second, _] = await in_line(store)
    [running] = await claim(store, [first], NOW + 4 * MINUTE)
    await finish(store, the_end(running, S.SCHEDULED, NOW + 5 * MINUTE))
    [running] = await claim(store, [first], NOW + 6 * MINUTE)
    await store.attempts.recover(now_ms=NOW + 7 * MINUTE, reason="it died")
    await store.attempts.hand_back(
        await claim(store, [first], NOW + 8 * MINUTE), now_ms=NOW + 9 * MINUTE, reason="it stops"
    )
    await store.attempts.unclaim(await claim(store, [first], NOW + 9 * MINUTE), NOW + 9 * MINUTE)
    assert (await store.job(second.id)).is_held
    [running] = await claim(store, [await store.job(first.id)], NOW + 9 * MINUTE)
    await finish(store, the_end(running))
    assert not (await store.job(second.id)).is_held


async def test_cancelling_any_of_a_line_lets_the_rest_go_on(store: Store) -> None:
    _, [first, second, third] = await in_line(store)
    await store.change_job(second.id, lambda job: lifecycle.cancel(job, NOW))
    assert (await store.job(third.id)).is_held, "the first is still there"
    await store.change_job(first.id, lambda job: lifecycle.cancel(job, NOW + 5 * MINUTE))
    assert (await store.job(third.id)).next_attempt_ms == third.scheduled_ms


async def test_one_of_a_line_can_be_run_at_once(store: Store) -> None:
    """Then two run, and the last waits for both."""
    _, [first, second, third] = await in_line(store)
    await store.change_job(third.id, lambda job: lifecycle.run_now(job, NOW + 4 * MINUTE))
    running = await claim(store, [first, third], NOW + 4 * MINUTE)
    assert [job.id for job in running] == [first.id, third.id]
    await finish(store, the_end(running[0]))
    assert (await store.job(second.id)).is_held
    await finish(store, the_end(running[1]))
    assert not (await store.job(second.id)).is_held


async def test_the_lines_of_two_schedules_are_two(store: Store) -> None:
    _, [first, second, _] = await in_line(store, 1)
    _, [_, other, _] = await in_line(store, 2)
    await finish(store, the_end((await claim(store, [first], NOW + 4 * MINUTE))[0]))
    assert not (await store.job(second.id)).is_held
    assert (await store.job(other.id)).is_held


async def test_the_last_status_is_that_of_the_last_run_for_ever(store: Store) -> None:
    made = await store.schedules.create(a_schedule(1))
    await take(store, looked_at(made, NOW + MINUTE))
    [job] = await jobs_of(store, made)
    [running] = await claim(store, [job], NOW + MINUTE)
    assert (await get(store, made)).last_status is S.RUNNING
    await finish(store, the_end(running, S.FAILED))
    assert (await get(store, made)).last_status is S.FAILED
    assert await store.delete_finished(before_ms=None, limit=9) == 1
    kept = await get(store, made)
    assert (kept.last_status, kept.last_run_ms, kept.run_count) == (S.FAILED, NOW + MINUTE, 1)
    [(listed, *_), _] = await store.schedules.page(ScheduleFilter(), before_pk=None, limit=9)
    assert listed == kept


async def test_deleting_cancels_what_never_started_and_keeps_the_rest(store: Store) -> None:
    made = await store.schedules.create(a_schedule(1, misfire=Misfire.ALL, overlap=WhileRunning.ALLOW))
    await take(store, looked_at(made, NOW + 4 * MINUTE))
    retrying, running, done, waiting = await jobs_of(store, made)
    claimed = await claim(store, [retrying, running, done], NOW + 4 * MINUTE)
    await finish(store, the_end(claimed[0], S.SCHEDULED, NOW + 9 * MINUTE))
    await finish(store, the_end(claimed[2]))
    await take(store, Step(old=await get(store, made), now_ms=NOW + 5 * MINUTE, change=deleted))
    statuses = [(await store.job(job.id)).status for job in (retrying, running, done, waiting)]
    assert statuses == [S.SCHEDULED, S.RUNNING, S.SUCCESS, S.CANCELLED]
    with pytest.raises(NotFoundError):
        await store.schedules.get(made.id)
    gone = await store.schedules.get(made.id, deleted_too=True)
    assert gone.deleted_ms == NOW + MINUTE
    assert await store.schedules.all() == []
    assert await store.schedules.by_pk([made.pk]) == []
    assert await store.schedules.take([looked_at(gone, NOW + 9 * MINUTE)]) == [None]


async def test_deleting_leaves_no_line_behind(store: Store) -> None:
    made, [first, second, third] = await in_line(store)
    [running] = await claim(store, [first], NOW + 4 * MINUTE)
    await take(store, Step(old=await get(store, made), now_ms=NOW + 5 * MINUTE, change=deleted))
    await finish(store, the_end(running))
    assert [(await store.job(job.id)).status for job in (first, second, third)] == [S.SUCCESS, S.CANCELLED, S.CANCELLED]


async def test_old_notes_go_and_deleted_schedules_of_which_nothing_is_left(store: Store) -> None:
    made = await store.schedules.create(a_schedule(1, misfire_grace_ms=0))
    alive = await store.schedules.create(a_schedule(2, misfire_grace_ms=0))
    await take(store, looked_at(made, NOW + 3 * MINUTE))
    await take(store, looked_at(alive, NOW + 9 * MINUTE))
    [job] = await jobs_of(store, made)
    await take(store, Step(old=await get(store, made), now_ms=NOW + 3 * MINUTE, change=deleted))
    assert (await store.job(job.id)).status is S.CANCELLED
    assert await store.schedules.forget(before_ms=NOW + 3 * MINUTE, limit=9) == 0
    assert await store.schedules.forget(before_ms=NOW + 4 * MINUTE, limit=9) == 1
    await store.schedules.get(made.id, deleted_too=True)  # its job is still to be seen
    await store.delete_finished(before_ms=None, limit=9)
    await store.schedules.forget(before_ms=NOW + 4 * MINUTE, limit=9)
    with pytest.raises(NotFoundError):
        await store.schedules.get(made.id, deleted_too=True)
    assert await missed(store, alive) == [(1, 8, 8, "misfire")]


async def test_a_step_may_add_a_job_of_no_slot(store: Store) -> None:
    made = await store.schedules.create(a_schedule(1))
    asked = job_of(made, job_id="job_asked", slot_ms=None, due_ms=NOW, now_ms=NOW)
    again = msgspec.structs.replace(asked, id="job_again")
    await take(store, Step(old=made, now_ms=NOW, jobs=(asked,)))
    await take(store, Step(old=await get(store, made), now_ms=NOW, jobs=(again,)))
    kept = await get(store, made)
    assert [job.id for job in await jobs_of(store, made)] == ["job_asked", "job_again"]
    assert (kept.cursor_ms, kept.next_run_ms, kept.run_count) == (NOW, NOW + MINUTE, 0)


async def test_a_reconciliation_is_done_as_a_whole_or_not_at_all(store: Store) -> None:
    kept = await store.schedules.create(a_schedule(1))
    [old] = await add(store, a_job(1, name="j"))
    memory = DeclaredJob(name="j", job_id=old.id, scheduled_ms=NOW, seen_ms=NOW)
    changed = Step(old=kept, now_ms=NOW, change=lambda schedule: msgspec.structs.replace(schedule, description="d"))
    wanted = Reconciliation(
        create=(a_schedule(2),),
        steps=(changed,),
        create_jobs=(a_job(2),),
        change_jobs=((old, msgspec.structs.replace(old, description="d")),),
        remember=(memory,),
    )
    for spoilt in (
        msgspec.structs.replace(wanted, steps=(msgspec.structs.replace(changed, old=a_schedule(1, pk=99)),)),
        msgspec.structs.replace(wanted, change_jobs=((msgspec.structs.replace(old, queue="other"), old),)),
    ):
        assert not await store.schedules.reconcile(spoilt)
    with pytest.raises(ConflictError) as refused:
        await store.schedules.reconcile(
            msgspec.structs.replace(wanted, create=(a_schedule(3), a_schedule(4, name="s1")))
        )
    assert refused.value.code == "name_taken"
    assert [one.name for one in await store.schedules.all()] == ["s1"]
    assert (await store.job(old.id)).description is None
    assert await store.schedules.declared() == []

    assert await store.schedules.reconcile(wanted)
    assert [(one.name, one.description) for one in await store.schedules.all()] == [("s1", "d"), ("s2", None)]
    assert (await store.job(old.id)).description == "d"
    assert [job.id for job in await store.schedules.jobs([old.id, a_job(2).id, a_job(3).id])] == [old.id, a_job(2).id]
    assert await store.schedules.declared() == [memory]
    assert await store.schedules.reconcile(Reconciliation(forget=("j",)))
    assert await store.schedules.declared() == []


# Buffers


def a_buffer(number: int, **more: Any) -> Buffer:
    fields: dict[str, Any] = {
        "id": f"buf_{number:026d}",
        "name": f"b{number}",
        "url": "http://a/",
        "host": "a:80",
        "created_ms": NOW,
        "updated_ms": NOW,
        "tokens": 10.0,
        "tokens_ms": NOW,
    }
    return Buffer(**{**fields, **more})


async def push(store: Store, buffer: Buffer, *items: str, now_ms: int = NOW, **more: Any) -> list[Job]:
    """Push items with these bodies; return them as they are then."""
    made = [
        item_of(
            buffer, item_id=f"item_{buffer.pk:02d}{body:>024}", fields={"body": body.encode(), **more}, now_ms=now_ms
        )
        for body in items
    ]
    created = await store.buffers.push(buffer.id, made, now_ms)
    return [await store.job(one.job.id) for one in created]


async def due(store: Store) -> list[tuple[int, str]]:
    """Return what waits for a time: when, and the body."""
    page = await store.due_page(start=(0, 0), limit=99)
    found = []
    for entry in page:
        [item] = [item for item in await all_items(store) if item.pk == entry.pk]
        found.append((entry.due_ms, (item.body or b"").decode()))
    return found


async def all_items(store: Store) -> list[Job]:
    pages = [
        await store.buffers.items(buffer.id, status=None, before_pk=None, limit=99)
        for buffer in await store.buffers.all()
    ]
    return [item for page in pages for item in page.jobs]


async def next_one(store: Store, now_ms: int = NOW) -> Job:
    """Claim the one item that is due."""
    [entry] = [entry for entry in await store.due_page(start=(0, 0), limit=99) if entry.due_ms <= now_ms]
    [item] = await store.attempts.claim([entry], owner="me", now_ms=now_ms, until_ms=now_ms)
    return item


async def test_a_buffer_comes_back_as_it_was_given(store: Store) -> None:
    given = a_buffer(
        1, source=Source.CONFIG, dialect="fliq", token_id="tok_1", http_method="PUT", headers={"A": "é"},
        query={"q": "1"}, has_references=True, timeout_ms=5, max_retries=7, backoff=Backoff(kind=BackoffKind.LINEAR),
        success_statuses=("2xx", "409"), on_interrupt=OnInterrupt.FAIL, description="d", rate_limit=0.5, paused_ms=NOW,
        tokens=-1.25, head_next_ms=NOW + 9,
    )  # fmt: skip
    made = await store.buffers.create(given)
    assert made.pk > 0
    assert await store.buffers.get(given.id) == made == msgspec.structs.replace(given, pk=made.pk)
    assert await store.buffers.all() == [made]
    with pytest.raises(NotFoundError):
        await store.buffers.get(a_buffer(2).id)


async def test_names_of_buffers_are_unique_while_they_live(store: Store) -> None:
    first = await store.buffers.create(a_buffer(1, name="x"))
    second = await store.buffers.create(a_buffer(2))
    with pytest.raises(ConflictError):
        await store.buffers.create(a_buffer(3, name="x"))
    with pytest.raises(ConflictError):
        await store.buffers.change(second.id, lambda old: msgspec.structs.replace(old, name="x"), NOW)
    await store.buffers.change(first.id, lambda old: msgspec.structs.replace(old, deleted_ms=NOW), NOW)
    assert [one.id for one in await store.buffers.all()] == [second.id]
    assert await store.buffers.deleted() == [first.id]
    await store.buffers.create(a_buffer(3, name="x"))


async def test_lists_of_buffers_are_newest_first(store: Store) -> None:
    made = [await store.buffers.create(a_buffer(number)) for number in range(1, 6)]
    page, more = await store.buffers.page(name=None, before_pk=None, limit=3)
    assert ([one.id for one in page], more) == ([made[4].id, made[3].id, made[2].id], True)
    page, more = await store.buffers.page(name=None, before_pk=page[-1].pk, limit=3)
    assert ([one.id for one in page], more) == ([made[1].id, made[0].id], False)
    page, more = await store.buffers.page(name="b4", before_pk=None, limit=3)
    assert ([one.id for one in page], more) == ([made[3].id], False)


async def test_only_the_first_item_waits_for_a_time(store: Store) -> None:
    told: list[DueEntry] = []
    store.on_due(told.extend)
    buffer = await store.buffers.create(a_buffer(1))
    first, second, _ = await push(store, buffer, "a", "b", "c")
    assert (first.buffer_id, first.next_attempt_ms, second.is_held) == (buffer.id, NOW, True)
    assert [entry.pk for entry in told] == [first.pk]
    assert await due(store) == [(NOW, "a")]
    assert await finish(store, the_end(await next_one(store)))
    assert await due(store) == [(NOW + 5, "b")]
    running = await next_one(store, NOW + 5)
    assert await due(store) == []
    await push(store, buffer, "d")
    assert await due(store) == []
    counts = await store.buffers.counts(buffer.id)
    assert counts == (2, 1)
    assert await finish(store, the_end(running, S.FAILED))
    ended = await store.buffers.get(buffer.id)
    assert (ended.completed, ended.failed) == (1, 1)
    assert told[-1].pk == (await next_one(store, NOW + 9)).pk


async def test_a_retry_keeps_the_place(store: Store) -> None:
    buffer = await store.buffers.create(a_buffer(1))
    first, _ = await push(store, buffer, "a", "b")
    assert await finish(store, the_end(await next_one(store), S.SCHEDULED, NOW + MINUTE))
    assert await due(store) == [(NOW + MINUTE, "a")]
    again = await next_one(store, NOW + MINUTE)
    assert (again.pk, again.executions) == (first.pk, 2)


async def test_the_end_of_an_item_may_claim_the_next(store: Store) -> None:
    buffer = await store.buffers.create(a_buffer(1))
    _, second, third = await push(store, buffer, "a", "b", "c")
    running = await next_one(store)
    told: list[DueEntry] = []
    store.on_due(told.extend)
    end = msgspec.structs.replace(the_end(running), next_by_ms=NOW + 30)
    [recorded] = await store.attempts.finish_all([end])
    assert isinstance(recorded, Recorded)
    following = recorded.next
    assert following is not None
    assert (following.pk, following.status, following.owner, following.body) == (second.pk, S.RUNNING, "me", b"b")
    assert (following.due_ms, following.executions) == (NOW + 5, 1)
    assert told == []
    assert [one.status for one in await store.executions(second.id)] == [ExecutionStatus.RUNNING]
    assert await store.attempts.finish_all([end]) == [Recorded(ours=False)]  # a late repeat claims nothing
    assert (await store.job(third.id)).is_held
    await store.attempts.unclaim([following], NOW + 6)
    assert await due(store) == [(NOW + 5, "b")]
    assert await store.executions(second.id) == []


async def test_the_next_is_not_claimed_before_its_time_nor_to_another_host_nor_in_a_pause(store: Store) -> None:
    slow = await store.buffers.create(a_buffer(1, rate_limit=0.5, tokens=1.0))
    await push(store, slow, "a", "b")
    moved = await store.buffers.create(a_buffer(2))
    await push(store, moved, "c")
    changed = await store.buffers.change(
        moved.id, lambda old: msgspec.structs.replace(old, url="http://b/", host="b:80"), NOW
    )
    await push(store, changed, "d")
    paused = await store.buffers.create(a_buffer(3))
    await push(store, paused, "e", "f")
    entries = await store.due_page(start=(0, 0), limit=9)
    running = await store.attempts.claim(entries, owner="me", now_ms=NOW, until_ms=NOW)
    await store.buffers.change(paused.id, lambda old: msgspec.structs.replace(old, paused_ms=NOW), NOW)
    results = await store.attempts.finish_all(
        [msgspec.structs.replace(the_end(item), next_by_ms=NOW + 30) for item in running]
    )
    assert results == [Recorded(ours=True)] * 3
    assert await due(store) == [(NOW + 5, "d"), (NOW + 2_000, "b")]


async def test_pauses_and_rates_move_the_first_item(store: Store) -> None:
    told: list[DueEntry] = []
    buffer = await store.buffers.create(a_buffer(1, rate_limit=0.1, tokens=0.0))
    [first] = await push(store, buffer, "a")
    store.on_due(told.extend)
    assert await due(store) == [(NOW + 10_000, "a")]

    async def change(now_ms: int, **fields: Any) -> None:
        await store.buffers.change(buffer.id, lambda old: msgspec.structs.replace(old, **fields), now_ms)

    await change(NOW + 100, paused_ms=NOW + 100)
    assert await due(store) == []
    assert (await store.job(first.id)).is_held
    await push(store, buffer, "b")
    await change(NOW + 200, paused_ms=None)
    assert await due(store) == [(NOW + 10_000, "a")]
    await change(NOW + 300, description="nothing that matters")
    assert len(told) == 1
    await change(NOW + 1_000, rate_limit=1.0)
    assert [due_ms < NOW + 2_000 for due_ms, _ in await due(store)] == [True]
    assert len(told) == 2


async def test_keys_are_unique_within_a_buffer(store: Store) -> None:
    first, second = [await store.buffers.create(a_buffer(number)) for number in (1, 2)]
    items = [
        item_of(buffer, item_id=f"item_{number}", fields={"idempotency_key": "k"}, now_ms=NOW)
        for number, buffer in enumerate((first, first, second))
    ]
    pushed = await store.buffers.push(first.id, items[:2], NOW)
    assert [(one.job.id, one.replayed) for one in pushed] == [("item_0", False), ("item_0", True)]
    again = await store.buffers.push(first.id, items[1:2], NOW)
    assert [(one.job.id, one.replayed) for one in again] == [("item_0", True)]
    assert [one.replayed for one in await store.buffers.push(second.id, items[2:], NOW)] == [False]
    assert (await store.buffers.counts(first.id)).pending == 1


async def test_pushes_at_once_make_one_line(store: Store) -> None:
    buffer = await store.buffers.create(a_buffer(1))
    await asyncio.gather(*(push(store, buffer, f"{number}a", f"{number}b") for number in range(30)))
    order = []
    now_ms = NOW
    for _ in range(60):
        item = await next_one(store, now_ms)
        order.append((item.body or b"").decode())
        await finish(store, msgspec.structs.replace(the_end(item), now_ms=now_ms))
        now_ms += 1_000
    listed = await store.buffers.items(buffer.id, status=None, before_pk=None, limit=99)
    assert order == [(item.body or b"").decode() for item in reversed(listed.jobs)]
    assert all(order.index(f"{number}a") + 1 == order.index(f"{number}b") for number in range(30))


async def test_lists_of_items_by_status(store: Store) -> None:
    buffer = await store.buffers.create(a_buffer(1))
    items = await push(store, buffer, *"abcde")
    await finish(store, the_end(await next_one(store)))
    page = await store.buffers.items(buffer.id, status=None, before_pk=None, limit=3)
    assert ([item.id for item in page.jobs], page.next_pk) == ([item.id for item in items[:1:-1]], items[2].pk)
    page = await store.buffers.items(buffer.id, status=None, before_pk=page.next_pk, limit=3)
    assert ([item.id for item in page.jobs], page.next_pk) == ([items[1].id, items[0].id], None)
    page = await store.buffers.items(buffer.id, status=S.SUCCESS, before_pk=None, limit=3)
    assert [item.id for item in page.jobs] == [items[0].id]


async def test_items_are_in_no_list_of_jobs(store: Store) -> None:
    buffer = await store.buffers.create(a_buffer(1))
    await push(store, buffer, "a")
    [job] = await add(store, a_job(1))
    for before_pk in (None, 10**18 - 1):
        assert [one.id for one in (await store.jobs(JobFilter(), before_pk=before_pk, limit=9)).jobs] == [job.id]
    assert await store.buffers.queue_counts() == {"default": QueueCounts(1, 0)}


@pytest.mark.parametrize("status", [S.SUCCESS, S.SCHEDULED])
async def test_a_deleted_buffer_goes_with_its_items(store: Store, status: JobStatus) -> None:
    buffer, other = [await store.buffers.create(a_buffer(number)) for number in (1, 2)]
    items = await push(store, buffer, *"abc")
    [kept] = await push(store, other, "a", now_ms=NOW + 9)
    running = await next_one(store)
    await store.buffers.change(buffer.id, lambda old: msgspec.structs.replace(old, deleted_ms=NOW), NOW)
    with pytest.raises(NotFoundError):
        await store.buffers.push(buffer.id, [item_of(buffer, item_id="item_x", fields={}, now_ms=NOW)], NOW)
    with pytest.raises(NotFoundError):
        await store.buffers.change(buffer.id, lambda old: old, NOW)
    while await store.buffers.delete_items(buffer.id):
        pass
    assert (await store.job(running.id)).status is S.RUNNING
    assert await finish(store, the_end(running, status, NOW + 9 if status is S.SCHEDULED else None))
    for item in items:
        with pytest.raises(NotFoundError):
            await store.job(item.id)
    assert await store.buffers.deleted() == []
    assert (await store.job(kept.id)).status is S.SCHEDULED


async def test_a_crash_keeps_the_line(store: Store) -> None:
    buffer, paused = [await store.buffers.create(a_buffer(number)) for number in (1, 2)]
    await push(store, buffer, "a", "b")
    await push(store, paused, "c", "d")
    entries = await store.due_page(start=(0, 0), limit=9)
    await store.attempts.claim(entries, owner="me", now_ms=NOW, until_ms=NOW)
    await store.buffers.change(paused.id, lambda old: msgspec.structs.replace(old, paused_ms=NOW), NOW)
    assert await store.attempts.recover(now_ms=NOW + 1, reason="it died") == 2
    assert await due(store) == [(NOW + 1, "a")]
    await store.buffers.change(paused.id, lambda old: msgspec.structs.replace(old, paused_ms=None), NOW + 2)
    assert [body for _, body in await due(store)] == ["a", "c"]


async def test_an_item_that_may_not_be_repeated_fails_at_a_crash_and_the_line_goes_on(store: Store) -> None:
    buffer = await store.buffers.create(a_buffer(1, on_interrupt=OnInterrupt.FAIL))
    await push(store, buffer, "a", "b")
    await next_one(store)
    assert await store.attempts.recover(now_ms=NOW + 1, reason="it died") == 1
    assert await due(store) == [(NOW + 1, "b")]
    assert (await store.buffers.get(buffer.id)).failed == 1


async def test_a_clock_set_back_stretches_no_wait_of_a_buffer(store: Store) -> None:
    waits, paused = [await store.buffers.create(a_buffer(number)) for number in (1, 2)]
    for buffer in (waits, paused):
        await push(store, buffer, "a")
        await finish(store, the_end(await next_one(store), S.SCHEDULED, NOW + MINUTE))
    await store.buffers.change(paused.id, lambda old: msgspec.structs.replace(old, paused_ms=NOW), NOW)
    await store.attempts.pull_retries(by_ms=10 * MINUTE, now_ms=NOW - 10 * MINUTE)
    now_ms = NOW - 10 * MINUTE
    await store.buffers.change(paused.id, lambda old: msgspec.structs.replace(old, paused_ms=None), now_ms)
    assert {due_ms - now_ms for due_ms, _ in await due(store)} == {MINUTE}


async def test_queues_and_what_is_in_them(store: Store) -> None:
    assert await store.buffers.queue("mail") == (None, QueueCounts(0, 0))
    await add(store, a_job(1, queue="mail", lane="mail|a:80"), a_job(2), a_job(3, queue="sms", lane="sms|a:80"))
    mail = Queue(name="mail", concurrency=2, rate=0.5, paused_ms=NOW, created_ms=NOW, updated_ms=NOW)
    assert await store.buffers.change_queue("mail", lambda old: old or mail) == mail
    assert await store.buffers.queues() == [mail]
    assert await store.buffers.queue("mail") == (mail, QueueCounts(1, 0))
    assert await store.buffers.queue("default") == (None, QueueCounts(1, 0))
    assert await store.buffers.queue_counts() == {
        "mail": QueueCounts(1, 0), "sms": QueueCounts(1, 0), "default": QueueCounts(1, 0),
    }  # fmt: skip

    def refuse(_old: Queue | None) -> Queue:
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        await store.buffers.change_queue("mail", refuse)

    def one_more(old: Queue | None) -> Queue:
        assert old is not None
        return msgspec.structs.replace(old, concurrency=(old.concurrency or 0) + 1)

    await asyncio.gather(*(store.buffers.change_queue("mail", one_more) for _ in range(20)))
    assert [queue.concurrency for queue in await store.buffers.queues()] == [22]
    assert await store.buffers.change_queue("mail", lambda _old: None) is None
    assert await store.buffers.queues() == []
    assert await store.buffers.queue("mail") == (None, QueueCounts(1, 0))
