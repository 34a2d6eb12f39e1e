"""Turns due jobs into requests: claims them in batches, fairly, and sends with bounded concurrency."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
import structlog

from fliqd.clock import Clock
from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest, Response
from fliqd.core.due_heap import DueEntry
from fliqd.core.dynamic import ROOM, hear
from fliqd.core.gates import QueueGate
from fliqd.core.lanes import Lanes
from fliqd.core.model import NO_QUEUE, Job, JobStatus, is_quarantined, lane_of
from fliqd.core.outgoing import outgoing, redirected
from fliqd.core.queues import Queue
from fliqd.core.redirects import next_hop
from fliqd.core.references import Lookup, expand_job
from fliqd.core.settle import settle
from fliqd.core.signing import Signer
from fliqd.core.stand_ins import Keys
from fliqd.engine.recorder import Recorder
from fliqd.engine.scheduler import LEAD_MS
from fliqd.engine.sender import Exchange, Sender
from fliqd.engine.tally import Tally
from fliqd.errors import FliqdError, UnavailableError
from fliqd.store.base import Finish, Store

log = structlog.get_logger()

QUARANTINE_S: Final = 0.25  # how long a job keeps the quarantine's slot at most
BACK_OFF_S: Final = 1.0  # after the store could not write, before it is asked again
LONG_MS: Final = 1_000  # an attempt without an answer that took so long kept others from its slot
CRASHED: Final = Response(failure=Failure(code=ErrorCode.INTERNAL, message="fliqd failed to send this; see its log"))
A_TURN: Final = 16  # requests written in one turn of the loop, so that answers are read in between


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much goes out at once, and how much of what comes back is kept."""

    max_in_flight: int
    max_in_flight_per_host: int
    response_capture: int  # bytes
    response_limit: int  # bytes
    follow_redirects: int = 0


class _Attempt:
    """A claimed job on its way, from the claim to the record of its outcome. It holds a slot all that time."""

    __slots__ = (
        "_answered",
        "ends_at",
        "exchange",
        "first",
        "hops",
        "job",
        "lane",
        "request",
        "resolved",
        "started",
        "started_ms",
    )

    def __init__(self, job: Job, lane: str | None, answered: "Callable[[_Attempt, Response], None]") -> None:
        self.job = job
        self.resolved = job  # with what its references stand for: to be sent, and neither kept nor told
        self.lane = lane  # whose slot it holds; not the job's, once it has left the quarantine, and None without a slot
        self.exchange: Exchange | None = None  # while a request is under way
        self.first: OutgoingRequest | None = None
        self.request: OutgoingRequest | None = None  # the last one that left: the first, or what redirects led to
        self.hops = 0
        self.started_ms = 0
        self.started = 0.0
        self.ends_at = 0.0
        self._answered = answered

    def answered(self, response: Response) -> None:
        """Take what came back."""
        self.exchange = None
        self._answered(self, response)


class Dispatcher:
    """Claims due jobs when there are free slots, has them sent at their time, and what came back recorded.

    No job has a task of its own: a batch that is claimed is sent by callbacks, a few requests in each turn of the
    loop, and what comes back goes to the recorder in batches.

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
        keys: Keys,
        spread: Callable[[], float],
        owner: str,
        limits: Limits,
        give_back: Callable[[Sequence[DueEntry]], None],
        lookup: Lookup,
        tally: Tally,
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._signer = signer
        self._keys = keys
        self._spread = spread
        self._owner = owner
        self._limits = limits
        self._give_back = give_back
        self._lookup = lookup
        self._lanes = Lanes(limits.max_in_flight_per_host, limits.max_in_flight)
        self._recorder = Recorder(store, tally=tally, on_recorded=self._recorded, on_crash=self._crashed)
        self._in_flight: dict[int, _Attempt] = {}
        self._unsent: set[int] = set()  # claimed, and the request has surely not left yet
        self._ready: deque[_Attempt] = deque()  # claimed and due
        self._early: dict[int, list[_Attempt]] = {}  # claimed ahead, by when they are due
        self._tells_all = bool(log.is_enabled_for(logging.DEBUG))
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

    def oldest(self) -> DueEntry | None:
        """Return the job that is due for the longest and waits for a slot, and for nothing that somebody has set."""
        return self._lanes.oldest(self._rates_ms())

    async def still_waits(self, entry: DueEntry) -> bool:
        """Tell whether a job that waits in memory does in the store; if not, all that waits beside it is read again."""
        try:
            found = await self._store.due_page(start=entry[:2], until_ms=entry.due_ms, lane=entry.lane, limit=1)
        except UnavailableError:
            return False
        if found != [entry]:
            self._lanes.reread(entry.lane, self._rates_ms())
            self._changed.set()
        return found == [entry]

    def room(self) -> int:
        """Return how many more requests may go out now."""
        return self._limits.max_in_flight - len(self._in_flight)

    def lane_room(self, lane: str) -> int:
        """Return how many more may go out through `lane`."""
        return self._lanes.room(lane, self.room())

    def hand_over(self, entries: Sequence[DueEntry]) -> None:
        """Take in jobs that are due."""
        self._latest_due_ms = max(self._latest_due_ms, entries[-1].due_ms)
        self._lanes.offer(entries, self._rates_ms())
        self._changed.set()

    def limit_queue(self, queue: Queue) -> None:
        """Take over the limits of a queue."""
        self._lanes.limit(queue, self._rates_ms())
        self._changed.set()

    def closed_queue(self, lane: str) -> QueueGate | None:
        """Return what stops the queue of `lane` right now, None if nothing does."""
        return self._lanes.closed_queue(lane, self._rates_ms())

    def _rates_ms(self) -> float:
        return self._clock.monotonic() * 1000

    async def run(self) -> None:
        """Claim what is due whenever there is room, until told to stop."""
        while not self._stopping:
            if self._crash is not None:
                raise self._crash  # a job was lost on its way: a daemon that loses its slots would be half alive
            self._changed.clear()
            now_ms = self._rates_ms()
            entries = self._lanes.take(self.room(), now_ms)
            if entries:
                async with self._claiming:
                    await self._claim(entries)
            elif (thirsty := self._lanes.thirsty()) is not None:
                await self._refill(*thirsty)
            else:
                await self._wait(self._lanes.opens_ms(now_ms), now_ms)

    async def _wait(self, opens_ms: float | None, now_ms: float) -> None:
        """Wait for a change, or until the rate of a queue lets the next one through."""
        timer = None
        if opens_ms is not None:
            timer = asyncio.get_running_loop().call_later((opens_ms - now_ms + 1) / 1000, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, let attempts finish within the grace, hand back the rest."""
        self._stopping = True
        self._changed.set()
        async with self._claiming:
            pass  # a claim under way is on disk and in flight now
        await self._hand_back_unsent()
        self._recorder.hurry()
        if self._in_flight:
            log.info("dispatcher.draining", in_flight=len(self._in_flight), grace_s=grace_s)
            try:
                async with asyncio.timeout(grace_s if self._crash is None else 0):
                    while self._in_flight:
                        self._all_done.clear()
                        await self._hand_back_unsent()  # items that were claimed by the end of the one before
                        if self._in_flight:
                            await self._all_done.wait()
            except TimeoutError:
                log.warning("dispatcher.grace_over", in_flight=len(self._in_flight))
        for attempt in self._in_flight.values():
            if attempt.exchange is not None:
                attempt.exchange.cancel()
        await self._recorder.stop()
        if self._in_flight:
            jobs = [attempt.job for attempt in self._in_flight.values()]
            try:
                await self._store.attempts.hand_back(
                    jobs, now_ms=self._clock.now_ms(), reason="fliqd was stopped before the answer came"
                )
            except FliqdError as err:
                log.error("dispatcher.not_handed_back", jobs=len(jobs), error=str(err))  # noqa: TRY400 -- it says enough

    async def _hand_back_unsent(self) -> None:
        """Undo the claims whose request has not left; nobody will see that they were made."""
        jobs = [self._in_flight.pop(pk).job for pk in self._unsent]
        self._unsent.clear()
        if not jobs:
            return
        try:
            await self._store.attempts.unclaim(jobs, self._clock.now_ms())
        except FliqdError as err:
            log.error("dispatcher.not_unclaimed", jobs=len(jobs), error=str(err))  # noqa: TRY400 -- it says enough

    async def _claim(self, entries: list[DueEntry]) -> None:
        now_ms = self._clock.now_ms()
        until_ms = now_ms + LEAD_MS
        try:
            jobs = await self._store.attempts.claim(entries, owner=self._owner, now_ms=now_ms, until_ms=until_ms)
        except UnavailableError as err:
            log.warning("dispatcher.claim_failed", error=str(err))
            for entry in reversed(entries):
                self._lanes.give_back(entry, self._rates_ms())
            await asyncio.sleep(BACK_OFF_S)
            return
        for job in jobs:
            self._in_flight[job.pk] = attempt = _Attempt(job, job.lane, self._answered)
            self._unsent.add(job.pk)
            self._await_time(attempt, now_ms)
        came = {(job.pk, job.lane) for job in jobs}
        early = []
        for entry in entries:
            if entry[1:] in came:
                came.discard(entry[1:])  # a job may have been offered twice; one entry's slot is enough for it
                continue
            self._lanes.drop(entry, self._rates_ms())
            if entry.due_ms > until_ms:
                early.append(entry)
        if early:
            # The clock has been set back since they were handed over: they are due, but not yet again.
            self._give_back(early)

    def _await_time(self, attempt: _Attempt, now_ms: int) -> None:
        """Have an attempt leave at its exact time, or with those that are late already."""
        due_ms = attempt.job.due_ms or 0
        if due_ms <= now_ms:
            if not self._ready:
                asyncio.get_running_loop().call_soon(self._send_some)
            self._ready.append(attempt)
        elif due_ms in self._early:
            self._early[due_ms].append(attempt)
        else:
            self._early[due_ms] = [attempt]
            self._clock.call_at(due_ms, partial(self._time_has_come, due_ms))

    def _time_has_come(self, due_ms: int) -> None:
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._send_some)
        self._ready += self._early.pop(due_ms)

    def _crashed(self, err: Exception) -> None:
        self._crash = err
        self._changed.set()

    async def _refill(self, lane: str, place: tuple[int, int]) -> None:
        # Up to what has been handed over, even if the clock has been set back since.
        until_ms = max(self._clock.now_ms() + LEAD_MS, self._latest_due_ms)
        limit = self._lanes.lane_room
        try:
            entries = await self._store.due_page(start=place, until_ms=until_ms, lane=lane, limit=limit)
        except UnavailableError as err:
            log.warning("dispatcher.refill_failed", error=str(err))
            self._lanes.refill(lane, [], rest=place, now_ms=self._rates_ms())
            await asyncio.sleep(BACK_OFF_S)
            return
        more = len(entries) == limit
        rest = (entries[-1].due_ms, entries[-1].pk + 1) if more else None
        self._lanes.refill(lane, entries, rest=rest, now_ms=self._rates_ms())

    def _send_some(self) -> None:
        """Send a few of those that are due, and see to it that the others' turn comes."""
        for _ in range(min(A_TURN, len(self._ready))):
            attempt = self._ready.popleft()
            if attempt.job.pk in self._unsent:  # else handed back meanwhile
                self._unsent.discard(attempt.job.pk)
                self._begin(attempt)
        if self._ready:
            asyncio.get_running_loop().call_soon(self._send_some)

    def _begin(self, attempt: _Attempt) -> None:
        job = attempt.job
        if attempt.lane is not None and is_quarantined(attempt.lane):
            # What kills the daemon does it soon: after a moment the next one may go, or one slow target of a
            # crash would hold up all the others.
            asyncio.get_running_loop().call_later(QUARANTINE_S, self._leave_quarantine, attempt)
        attempt.started_ms = self._clock.now_ms()
        attempt.started = self._clock.monotonic()
        timeout_s = job.timeout_ms / 1000
        attempt.ends_at = attempt.started + timeout_s
        if job.has_references:
            try:
                attempt.resolved = expand_job(job, self._lookup)
            except ValueError as err:
                self._end(attempt, Response(failure=Failure(code=ErrorCode.UNRESOLVED, message=str(err))))
                return
        try:
            attempt.first = attempt.request = outgoing(
                attempt.resolved,
                signer=self._signer,
                keys=self._keys,
                now_ms=attempt.started_ms,
                capture=self._capture(job),
                limit=self._limits.response_limit,
                timeout_s=timeout_s,
            )
            attempt.exchange = self._sender.start(attempt.request, attempt.answered)
        except Exception:
            # Our bug, and one job's bad luck: it must neither stop the others nor leave the job running.
            log.exception("attempt.crashed", job_id=job.id)
            self._end(attempt, CRASHED)

    def _capture(self, job: Job) -> int:
        """Return how much of the answer is wanted: the next run may be told all of it."""
        kept = self._limits.response_capture
        return max(kept, ROOM) if job.dynamic_fields and job.schedule_id is not None else kept

    def _answered(self, attempt: _Attempt, response: Response) -> None:
        try:
            if self._limits.follow_redirects and (followed := self._follow(attempt, response)) is not None:
                response = followed
            if attempt.exchange is None:  # no redirect was followed
                self._end(attempt, response)
        except Exception as err:
            log.exception("attempt.crashed", job_id=attempt.job.id)
            self._crashed(err)

    def _follow(self, attempt: _Attempt, response: Response) -> Response | None:
        """Follow a redirect as far as is allowed, within the one deadline; each hop passes the gate again.

        Return what stands in the place of a redirect that may not be followed.
        """
        first, request = attempt.first, attempt.request
        if first is None or request is None or attempt.hops >= self._limits.follow_redirects:
            return None
        attempt.hops += 1
        hop = next_hop(first, request, response)
        if hop is None or response.peer is None:
            return None
        if isinstance(hop, Failure):
            return msgspec.structs.replace(response, failure=hop)
        try:
            attempt.request = redirected(
                attempt.resolved,
                request,
                hop,
                signer=self._signer,
                keys=self._keys,
                now_ms=attempt.started_ms,
                timeout_s=max(0.001, attempt.ends_at - self._clock.monotonic()),
                previous=response.peer,
            )
            attempt.exchange = self._sender.start(attempt.request, attempt.answered)
        except Exception:
            log.exception("attempt.crashed", job_id=attempt.job.id)
            return CRASHED
        return None

    def _end(self, attempt: _Attempt, response: Response) -> None:
        """Decide what an outcome makes of the job, and have that recorded."""
        job = attempt.job
        # The wall clock may be set while a request is under way; its length may not change by that.
        finished_ms = attempt.started_ms + round((self._clock.monotonic() - attempt.started) * 1000)
        now_ms = self._clock.now_ms()
        settlement = settle(job, response, now_ms, self._spread())
        heard = hear(response) if job.dynamic_fields and job.schedule_id is not None else None
        kept = self._limits.response_capture
        end = Finish(
            job=job,
            settlement=settlement,
            started_ms=attempt.started_ms,
            finished_ms=finished_ms,
            now_ms=now_ms,
            late_ms=max(0, attempt.started_ms - (job.due_ms or 0)),
            status_code=response.status,
            response_headers=response.headers,
            response_body=response.body[:kept] or None,
            response_truncated=response.truncated or len(response.body) > kept,
            timings=response.timings,
            heard=heard,
            next_by_ms=now_ms + LEAD_MS if self._may_be_followed(attempt) else None,
        )
        if attempt.lane is not None:
            self._judge_host(attempt.lane, response, finished_ms - attempt.started_ms)
        if self._tells_all or settlement.status is JobStatus.FAILED:
            _tell(end)
        self._recorder.add(end, wanted=self._lanes.waiting > 0)

    def _may_be_followed(self, attempt: _Attempt) -> bool:
        """Tell whether the slot of an item may go straight to the next one: when no one else waits for it.

        One commit instead of two an item is what makes a buffer fast.
        """
        job, lane = attempt.job, attempt.lane
        if job.buffer_id is None or lane is None or lane != lane_of(NO_QUEUE, job.host) or self._stopping:
            return False
        return self._lanes.may_be_followed(lane, self.room())

    def _judge_host(self, lane: str, response: Response, took_ms: int) -> None:
        """Have it count for or against a host whether it answered, where that says something."""
        if response.status is not None and response.failure is None:
            self._lanes.answered(lane, self._rates_ms())
        elif took_ms >= LONG_MS:
            self._lanes.missed(lane, self._rates_ms(), took_ms=took_ms)

    def _recorded(self, ends: Sequence[Finish], followers: Mapping[int, Job]) -> None:
        """Free the slots of attempts whose outcomes are on disk, or give them to those that were claimed for them."""
        for end in ends:
            ended = self._in_flight.pop(end.job.pk)
            follower = followers.get(end.job.pk)
            if follower is None:
                self._leave_lane(ended)
            else:
                self._take_over(ended.lane, follower)
        self._changed.set()
        if not self._in_flight or self._stopping:
            self._all_done.set()

    def _take_over(self, lane: str | None, job: Job) -> None:
        """Have an item leave in the slot of the one before it."""
        self._in_flight[job.pk] = attempt = _Attempt(job, lane, self._answered)
        self._unsent.add(job.pk)
        if not self._stopping:  # else it is handed back
            self._await_time(attempt, self._clock.now_ms())

    def _leave_quarantine(self, attempt: _Attempt) -> None:
        """Let the next one that is quarantined go, though this one is still under way."""
        if attempt.lane is not None:
            attempt.lane = self._lanes.leave_quarantine(attempt.lane, self._rates_ms())
            self._changed.set()

    def _leave_lane(self, attempt: _Attempt) -> None:
        """Make room in the lane that an attempt holds a slot of, once."""
        lane, attempt.lane = attempt.lane, None
        if lane is not None:
            self._lanes.done(lane, self._rates_ms())
            self._changed.set()


def _tell(end: Finish) -> None:
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
