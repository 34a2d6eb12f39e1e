"""Tells those who asked what becomes of jobs: sends what is in the outbox, apart from the slots of jobs."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from fliqd.clock import Clock
from fliqd.core.deliveries import Delivery, DeliveryStatus, Tried, request_of, tried
from fliqd.core.delivery import ErrorCode, Failure, Response
from fliqd.core.due_heap import DueEntry
from fliqd.core.lanes import LANE_ROOM, Lanes
from fliqd.core.references import Lookup
from fliqd.core.signing import Signer
from fliqd.core.stand_ins import Keys
from fliqd.engine.scheduler import Scheduler
from fliqd.engine.sender import Sender
from fliqd.errors import FliqdError, UnavailableError
from fliqd.store.base import Outbox

log = structlog.get_logger()

MOST_UNDER_WAY: Final = 32
MOST_PER_HOST: Final = 8
BACK_OFF_S: Final = 1.0  # after the store could not write, before it is asked again
LONG_S: Final = 1.0  # a try without an answer that took so long kept others from its slot


class Messenger:
    """Sends what is in the outbox, a few at a time and fair between hosts. Between two notices it does nothing.

    A try is on disk before it leaves; one that is under way when the daemon dies is due again at the next start.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        sender: Sender,
        clock: Clock,
        signer: Signer | None,
        keys: Keys,
        owner: str,
        lookup: Lookup,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._signer = signer
        self._keys = keys
        self._owner = owner
        self._lookup = lookup
        self._due = Scheduler(source=outbox, clock=clock, hand_over=self.hand_over, lead_ms=0)
        self._lanes = Lanes(MOST_PER_HOST, MOST_UNDER_WAY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._latest_due_ms = 0
        self._crash: BaseException | None = None

    @property
    def under_way(self) -> int:
        """How many notices are being sent."""
        return len(self._tasks)

    def hand_over(self, entries: Sequence[DueEntry]) -> None:
        """Take in notices that are due."""
        self._latest_due_ms = max(self._latest_due_ms, entries[-1].due_ms)
        self._lanes.offer(entries)
        self._changed.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._due.run())
                await self._send_due()
        finally:
            await self._give_up()

    async def _send_due(self) -> None:
        while True:
            if self._crash is not None:
                raise self._crash
            self._changed.clear()
            entries = self._lanes.take(MOST_UNDER_WAY - len(self._tasks))
            if entries:
                await self._begin(entries)
            elif (thirsty := self._lanes.thirsty()) is not None:
                await self._refill(*thirsty)
            else:
                await self._changed.wait()

    async def _give_up(self) -> None:
        """Let go of what is under way; the next start sends it again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._outbox.hand_back(now_ms=self._clock.now_ms())
        except FliqdError as err:
            log.warning("outbox.not_handed_back", error=str(err), hint="the next start does it")

    async def _begin(self, entries: list[DueEntry]) -> None:
        try:
            claimed = await self._outbox.claim(
                [entry.pk for entry in entries], owner=self._owner, until_ms=self._clock.now_ms()
            )
        except UnavailableError as err:
            log.warning("outbox.claim_failed", error=str(err))
            for entry in reversed(entries):
                self._lanes.give_back(entry)
            await asyncio.sleep(BACK_OFF_S)
            return
        came = {delivery.pk: delivery for delivery in claimed}
        for entry in entries:
            delivery = came.pop(entry.pk, None)
            if delivery is None:
                self._lanes.done(entry.lane)
                continue
            task = asyncio.create_task(self._deliver(delivery, entry.lane), name="webhook")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None:
            self._crash = err
        self._changed.set()

    async def _refill(self, lane: str, place: tuple[int, int]) -> None:
        until_ms = max(self._clock.now_ms(), self._latest_due_ms)
        try:
            entries = await self._outbox.due_page(start=place, until_ms=until_ms, lane=lane, limit=LANE_ROOM)
        except UnavailableError as err:
            log.warning("outbox.refill_failed", error=str(err))
            self._lanes.refill(lane, [], rest=place)
            await asyncio.sleep(BACK_OFF_S)
            return
        more = len(entries) == LANE_ROOM
        self._lanes.refill(lane, entries, rest=(entries[-1].due_ms, entries[-1].pk + 1) if more else None)

    async def _deliver(self, delivery: Delivery, lane: str) -> None:
        started = self._clock.monotonic()
        response = await self._send(delivery)
        if response.status is not None and response.failure is None:
            self._lanes.answered(lane)
        elif self._clock.monotonic() - started >= LONG_S:
            self._lanes.missed(lane)
        end = tried(delivery, response, self._clock.now_ms())
        _tell(end)
        try:
            await self._record(end)
        finally:
            self._lanes.done(lane)

    async def _send(self, delivery: Delivery) -> Response:
        try:
            request = request_of(
                delivery, signer=self._signer, keys=self._keys, lookup=self._lookup, now_ms=self._clock.now_ms()
            )
        except ValueError as err:
            return Response(failure=Failure(code=ErrorCode.UNRESOLVED, message=str(err)))
        return await self._sender.send(request)

    async def _record(self, end: Tried) -> None:
        """See the outcome onto the disk; its slot is held until there is room there."""
        told = False
        while True:
            try:
                return await self._outbox.finish(end)
            except UnavailableError as err:
                if not told:
                    log.warning("outbox.record_waits", error=str(err))
                told = True
                await asyncio.sleep(BACK_OFF_S)


def _tell(end: Tried) -> None:
    """Log it: what is given up is news. The URL may carry a secret, so it is not said."""
    delivery = end.delivery
    failed = end.status is DeliveryStatus.FAILED
    tell = log.warning if failed else log.debug
    tell(
        "webhook.failed" if failed else "webhook.tried",
        delivery_id=delivery.id,
        job_id=delivery.job_id,
        event_told=delivery.event,
        attempt=delivery.attempts,
        status=str(end.status),
        status_code=end.status_code,
        error=end.error,
    )
