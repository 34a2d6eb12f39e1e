"""Turns due jobs into requests: claims them in batches, fairly, and sends with bounded concurrency."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from fliqd.clock import Clock, sleep_until
from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest, Response
from fliqd.core.due_heap import DueEntry
from fliqd.core.lanes import LANE_ROOM, Lanes
from fliqd.core.model import QUARANTINE, Job, JobStatus
from fliqd.core.outgoing import outgoing, redirected
from fliqd.core.redirects import next_hop
from fliqd.core.settle import settle
from fliqd.core.signing import Signer
from fliqd.engine.scheduler import LEAD_MS
from fliqd.engine.sender import Sender
from fliqd.errors import FliqdError, UnavailableError
from fliqd.store.base import Finish, Store

log = structlog.get_logger()

QUARANTINE_S: Final = 0.25  # how long a job keeps the quarantine's slot at most
BACK_OFF_S: Final = 1.0  # after the store could not write, before it is asked again


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much goes out at once, and how much of what comes back is kept."""

    max_in_flight: int
    max_in_flight_per_host: int
    response_capture: int  # bytes
    response_limit: int  # bytes
    follow_redirects: int = 0


class Dispatcher:
    """Claims due jobs when there are free slots, has workers send them, records what came back.

    A slot is held until the outcome is on disk. So a crash repeats at most `max_in_flight` requests, and
    outcomes that cannot be written (a full disk) are bounded and wait, while claiming stops by itself.
    """

    def __init__(
        self,
        *,
        store: Store,
        sender: Sender,
        clock: Clock,
        signer: Signer | None,
        spread: Callable[[], float],
        owner: str,
        limits: Limits,
        give_back: Callable[[Sequence[DueEntry]], None],
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._signer = signer
        self._spread = spread
        self._owner = owner
        self._limits = limits
        self._give_back = give_back
        self._lanes = Lanes(limits.max_in_flight_per_host)
        self._claimed: asyncio.Queue[Job] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._idle_workers = 0
        self._in_flight: dict[int, Job] = {}
        self._unsent: set[int] = set()  # claimed, and the request has surely not left yet
        self._lane_of: dict[int, str] = {}  # the lane whose slot an attempt holds: that of its entry, not of the job,
        # which may have been changed since it was offered
        self._latest_due_ms = 0
        self._changed = asyncio.Event()
        self._all_done = asyncio.Event()
        self._stopping = False
        self._crash: BaseException | None = None
        self._claiming = asyncio.Lock()

    @property
    def in_flight(self) -> int:
        """How many attempts are open."""
        return len(self._in_flight)

    @property
    def backlog(self) -> int:
        """How many due jobs wait in memory for a slot."""
        return self._lanes.waiting

    def room(self) -> int:
        """Return how many more requests may go out now."""
        return self._limits.max_in_flight - len(self._in_flight)

    def lane_room(self, lane: str) -> int:
        """Return how many more may go out through `lane`."""
        return self._lanes.room(lane)

    def hand_over(self, entries: Sequence[DueEntry]) -> None:
        """Take in jobs that are due."""
        self._latest_due_ms = max(self._latest_due_ms, entries[-1].due_ms)
        self._lanes.offer(entries)
        self._changed.set()

    async def run(self) -> None:
        """Claim what is due whenever there is room, until told to stop."""
        while not self._stopping:
            if self._crash is not None:
                raise self._crash  # a worker died: a daemon with fewer and fewer of them would be half alive
            self._changed.clear()
            entries = self._lanes.take(self.room())
            if entries:
                async with self._claiming:
                    await self._claim(entries)
            elif (thirsty := self._lanes.thirsty()) is not None:
                await self._refill(*thirsty)
            else:
                await self._changed.wait()

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, let attempts finish within the grace, hand back the rest."""
        self._stopping = True
        self._changed.set()
        async with self._claiming:
            pass  # a claim under way is on disk and in the queue now
        await self._hand_back_unsent()
        if self._in_flight:
            log.info("dispatcher.draining", in_flight=len(self._in_flight), grace_s=grace_s)
            try:
                async with asyncio.timeout(grace_s if self._crash is None else 0):
                    while self._in_flight:
                        self._all_done.clear()
                        await self._all_done.wait()
            except TimeoutError:
                log.warning("dispatcher.grace_over", in_flight=len(self._in_flight))
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._in_flight:
            jobs = list(self._in_flight.values())
            try:
                await self._store.hand_back(
                    jobs, now_ms=self._clock.now_ms(), reason="fliqd was stopped before the answer came"
                )
            except FliqdError as err:
                log.error("dispatcher.not_handed_back", jobs=len(jobs), error=str(err))  # noqa: TRY400 -- it says enough

    async def _hand_back_unsent(self) -> None:
        """Undo the claims whose request has not left; nobody will see that they were made."""
        jobs = [self._in_flight.pop(pk) for pk in list(self._unsent)]
        self._unsent.clear()
        if not jobs:
            return
        try:
            await self._store.unclaim(jobs, self._clock.now_ms())
        except FliqdError as err:
            log.error("dispatcher.not_unclaimed", jobs=len(jobs), error=str(err))  # noqa: TRY400 -- it says enough

    async def _claim(self, entries: list[DueEntry]) -> None:
        now_ms = self._clock.now_ms()
        until_ms = now_ms + LEAD_MS
        try:
            jobs = await self._store.claim(
                [entry.pk for entry in entries], owner=self._owner, now_ms=now_ms, until_ms=until_ms
            )
        except UnavailableError as err:
            log.warning("dispatcher.claim_failed", error=str(err))
            for entry in reversed(entries):
                self._lanes.give_back(entry)
            await asyncio.sleep(BACK_OFF_S)
            return
        came = {job.pk for job in jobs}
        early = []
        for entry in entries:
            if entry.pk in came:
                came.discard(entry.pk)  # a job may have been offered twice; one entry's slot is enough for it
                self._lane_of[entry.pk] = entry.lane
                continue
            self._lanes.done(entry.lane)
            if entry.due_ms > until_ms:
                early.append(entry)
        for job in jobs:
            self._in_flight[job.pk] = job
            self._unsent.add(job.pk)
            self._claimed.put_nowait(job)
        if early:
            # The clock has been set back since they were handed over: they are due, but not yet again.
            self._give_back(early)
        while self._idle_workers < self._claimed.qsize() and len(self._workers) < self._limits.max_in_flight:
            worker = asyncio.create_task(self._work(), name=f"worker-{len(self._workers)}")
            worker.add_done_callback(self._worker_ended)
            self._workers.append(worker)
            self._idle_workers += 1

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled():
            self._crash = worker.exception()
            self._changed.set()

    async def _refill(self, lane: str, place: tuple[int, int]) -> None:
        # Up to what has been handed over, even if the clock has been set back since.
        until_ms = max(self._clock.now_ms() + LEAD_MS, self._latest_due_ms)
        try:
            entries = await self._store.due_page(start=place, until_ms=until_ms, lane=lane, limit=LANE_ROOM)
        except UnavailableError as err:
            log.warning("dispatcher.refill_failed", error=str(err))
            self._lanes.refill(lane, [], rest=place)
            await asyncio.sleep(BACK_OFF_S)
            return
        more = len(entries) == LANE_ROOM
        self._lanes.refill(lane, entries, rest=(entries[-1].due_ms, entries[-1].pk + 1) if more else None)

    async def _work(self) -> None:
        while True:
            job = await self._claimed.get()
            self._idle_workers -= 1
            await self._attempt(job)
            self._idle_workers += 1

    async def _attempt(self, job: Job) -> None:
        """Send one claimed job's request and see its outcome onto the disk."""
        due_ms = job.due_ms or 0
        await sleep_until(self._clock, due_ms)
        if job.pk not in self._unsent:
            return  # handed back meanwhile
        self._unsent.discard(job.pk)
        if job.lane == QUARANTINE:
            # What kills the daemon does it soon: after a moment the next one may go, or one slow target of a
            # crash would hold up all the others.
            asyncio.get_running_loop().call_later(QUARANTINE_S, self._leave_lane, job)
        started_ms = self._clock.now_ms()
        started = self._clock.monotonic()
        response = await self._send(job, started_ms)
        # The wall clock may be set while a request is under way; its length may not change by that.
        finished_ms = started_ms + round((self._clock.monotonic() - started) * 1000)
        now_ms = self._clock.now_ms()
        settlement = settle(job, response, now_ms, self._spread())
        await self._record(
            Finish(
                job=job,
                settlement=settlement,
                started_ms=started_ms,
                finished_ms=finished_ms,
                now_ms=now_ms,
                late_ms=max(0, started_ms - due_ms),
                status_code=response.status,
                response_headers=response.headers,
                response_body=response.body or None,
                response_truncated=response.truncated,
                timings=response.timings,
            )
        )
        self._leave_lane(job)
        del self._in_flight[job.pk]
        self._changed.set()
        if not self._in_flight:
            self._all_done.set()

    def _leave_lane(self, job: Job) -> None:
        """Make room in the lane that an attempt holds a slot of, once."""
        if self._in_flight.get(job.pk) is job and (lane := self._lane_of.pop(job.pk, None)) is not None:
            self._lanes.done(lane)
            self._changed.set()

    async def _send(self, job: Job, now_ms: int) -> Response:
        try:
            request = outgoing(
                job,
                signer=self._signer,
                now_ms=now_ms,
                capture=self._limits.response_capture,
                limit=self._limits.response_limit,
                timeout_s=job.timeout_ms / 1000,
            )
            response = await self._sender.send(request)
            if self._limits.follow_redirects:
                response = await self._follow(job, request, response, now_ms)
        except Exception:
            # Our bug, and one job's bad luck: it must neither kill the worker nor leave the job running.
            log.exception("attempt.crashed", job_id=job.id)
            return Response(failure=Failure(code=ErrorCode.INTERNAL, message="fliqd failed to send this; see its log"))
        return response

    async def _follow(self, job: Job, first: OutgoingRequest, response: Response, now_ms: int) -> Response:
        """Follow redirects as far as is allowed, within the one deadline; each hop passes the gate again."""
        request = first
        ends = self._clock.monotonic() + first.timeout_s - response.timings.total_ms / 1000
        for _ in range(self._limits.follow_redirects):
            hop = next_hop(first, request, response)
            if hop is None or response.peer is None:
                break
            if isinstance(hop, Failure):
                return msgspec.structs.replace(response, failure=hop)
            request = redirected(
                job,
                request,
                hop,
                signer=self._signer,
                now_ms=now_ms,
                timeout_s=max(0.001, ends - self._clock.monotonic()),
                previous=response.peer,
            )
            response = await self._sender.send(request)
        return response

    async def _record(self, end: Finish) -> None:
        settlement = end.settlement
        # A job that has failed is news; an attempt that will be made again, or went well, is detail.
        tell = log.warning if settlement.status is JobStatus.FAILED else log.debug
        tell(
            "job.failed" if settlement.status is JobStatus.FAILED else "attempt.ended",
            job_id=end.job.id,
            attempt=end.job.executions,
            status=str(settlement.status),
            status_code=end.status_code,
            error_code=settlement.error_code and str(settlement.error_code),
            late_ms=end.late_ms,
        )
        tries = 0
        while True:
            tries += 1
            try:
                if not await self._store.finish(end):
                    log.error("attempt.not_ours", job_id=end.job.id, attempt=end.job.executions)
            except UnavailableError as err:
                if tries == 1:
                    log.warning("attempt.record_waits", job_id=end.job.id, error=str(err))
                await asyncio.sleep(BACK_OFF_S)
            except FliqdError as err:
                log.error("attempt.record_failed", job_id=end.job.id, error=str(err))  # noqa: TRY400 -- the store ends the process
                return
            except Exception:
                if not end.response_headers and end.response_body is None:
                    raise
                # Something in the answer cannot be kept: the outcome must be, and one job may not stop the rest.
                log.exception("attempt.answer_unkept", job_id=end.job.id)
                end = msgspec.structs.replace(end, response_headers=(), response_body=None)
            else:
                return
