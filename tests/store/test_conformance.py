"""What `store/base.py` promises, kept by every store."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from fliqd.core import lifecycle
from fliqd.core.delivery import ErrorCode, Timings
from fliqd.core.due_heap import DueEntry
from fliqd.core.model import QUARANTINE, ExecutionStatus, Job, JobStatus, OnInterrupt
from fliqd.core.retry import Backoff, BackoffKind
from fliqd.core.settle import Settlement
from fliqd.errors import ConflictError, NotFoundError
from fliqd.store.base import Finish, JobFilter, Store, Token

S = JobStatus
NOW = 1_800_000_000_000


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
    return await store.claim([job.pk for job in jobs], owner=owner, now_ms=now_ms, until_ms=now_ms)


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
        late_ms=1,
        status_code=200 if good else 500,
        response_headers=(("A", "é"),),
        response_body=b"\x00\xff",
        response_truncated=True,
        timings=Timings(total_ms=4.0),
    )


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
        (JobFilter(), [4, 3, 2, 1]),
        (JobFilter(status=S.CANCELLED), [1]),
        (JobFilter(status=S.SCHEDULED), [4, 3, 2]),
        (JobFilter(queue="mail"), [2]),
        (JobFilter(name="n"), [3]),
        (JobFilter(tag="x"), [4, 2]),
        (JobFilter(tag="x", queue="mail"), [2]),
        (JobFilter(scheduled_from_ms=NOW + 10), [4, 3]),
        (JobFilter(scheduled_to_ms=NOW + 10), [2, 1]),
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
    )
    await store.change_job(a_job(1).id, lambda job: lifecycle.cancel(job, NOW))
    found = (await store.jobs(where, before_pk=None, limit=9)).jobs
    assert [int(job.id[4:]) for job in found] == numbers


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
    assert await store.finish_all(ends) == [True] * 70 + [False] + [True] * 19
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
    ends = await asyncio.gather(store.finish(the_end(good)), store.finish(the_end(bad, S.SCHEDULED, NOW + 99)))
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
    await store.hand_back(stale, now_ms=NOW, reason="a test")
    again = await claim(store, jobs)
    assert [job.executions for job in again] == [2, 1, 1, 1, 1]
    outcomes = await asyncio.gather(
        *(store.finish(the_end(job)) for job in [*stale, *again[1:]]), store.finish(the_end(again[0]))
    )
    assert outcomes == [False, True, True, True, True, True]


async def test_what_was_never_sent_is_as_if_never_claimed(store: Store) -> None:
    told: list[DueEntry] = []
    store.on_due(told.extend)
    before = await add(store, a_job(1))
    claimed = await claim(store, before)
    await store.unclaim(claimed, NOW)
    after = await store.job(before[0].id)
    assert after == before[0]
    assert await store.executions(after.id) == []
    assert told == [DueEntry(NOW, after.pk, "a:80")] * 2


async def test_interrupted_attempts_are_due_again_or_fail(store: Store) -> None:
    jobs = await add(store, a_job(1), a_job(2, on_interrupt=OnInterrupt.FAIL), a_job(3))
    await claim(store, jobs[:2])
    told: list[DueEntry] = []
    store.on_due(told.extend)
    assert await store.recover(now_ms=NOW + 7, reason="it died") == 2
    assert told == [DueEntry(NOW + 7, jobs[0].pk, QUARANTINE)]
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
    await store.add_token(token)
    with pytest.raises(ConflictError):
        await store.add_token(token)
    assert await store.tokens() == [token]


async def test_a_job_that_the_daemon_keeps_dying_of_fails_in_the_end(store: Store) -> None:
    """The first crash leads into the quarantine; three more there end it. One that ends well is free again."""
    poison, unlucky = await add(store, a_job(1), a_job(2))
    for crash in range(1, 5):
        both = await store.claim([poison.pk, unlucky.pk], owner="me", now_ms=NOW, until_ms=NOW)
        if crash == 3:
            await store.finish(the_end(both[1], S.SCHEDULED, NOW))
        await store.recover(now_ms=NOW, reason="it died")
        job = await store.job(poison.id)
        assert (job.crashes, job.lane) == (crash, QUARANTINE)
        assert job.status is (S.FAILED if crash == 4 else S.SCHEDULED)
    assert ((await store.job(unlucky.id)).crashes, (await store.job(unlucky.id)).status) == (1, S.SCHEDULED)


async def test_a_clean_stop_counts_against_nobody(store: Store) -> None:
    jobs = await add(store, a_job(1))
    for _ in range(9):
        await store.hand_back(await claim(store, jobs), now_ms=NOW, reason="it stops")
    job = await store.job(jobs[0].id)
    assert (job.crashes, job.lane, job.attempts, job.executions) == (0, "a:80", 0, 9)


async def test_the_oldest_finished_jobs_go_first_and_live_ones_never(store: Store) -> None:
    jobs = await add(store, *(a_job(number, tags=("x",)) for number in range(1, 8)))
    for order, job in enumerate(jobs[:5]):
        claimed = await store.claim([job.pk], owner="me", now_ms=NOW, until_ms=NOW)
        await store.finish(msgspec.structs.replace(the_end(claimed[0]), finished_ms=NOW + 100 - order))
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
