"""Take alerts to their channels: one courier a channel, so that a dead one holds up no other."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from fliqd.clock import Clock, sleep_until
from fliqd.core.channels import Channel, checked
from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest, Response
from fliqd.core.messages import Alert, of_test, problem_of, request_for, together
from fliqd.core.outgoing import USER_AGENT
from fliqd.core.references import Lookup, expand
from fliqd.engine.sender import Sender
from fliqd.store.base import AlertStore

log = structlog.get_logger()

TIMEOUT_S: Final = 10.0
READ: Final = 64 * 1024  # bytes of an answer, of which none is kept
WAITS_MS: Final = (10_000, 60_000)  # before a second and a third try; then it is given up
MOST_WAITING: Final = 100  # alerts a channel
MOST_AT_ONCE: Final = 10  # in one message


class _Parcel(NamedTuple):
    alert: Alert
    done: Callable[[], None] | None


class Couriers:
    """Sends alerts through the gate that jobs pass. What is sent is in memory alone, and bounded."""

    def __init__(self, *, store: AlertStore, sender: Sender, clock: Clock, lookup: Lookup) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._lookup = lookup
        self._waiting: dict[str, deque[_Parcel]] = {}  # by the channel's id
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def any(self) -> bool:
        """Whether there is a channel to tell anything to."""
        return any(channel.enabled for channel in self._store.channels())

    def tell(self, alert: Alert, done: Callable[[], None] | None = None) -> None:
        """Send an alert to every channel that is enabled; `done` is called as it is out, or given up, on each."""
        for channel in self._store.channels():
            if not channel.enabled:
                continue
            waiting = self._waiting.setdefault(channel.id, deque())
            if len(waiting) >= MOST_WAITING:
                log.warning("alert.dropped", channel=channel.id, event_told=waiting.popleft().alert.event)
            waiting.append(_Parcel(alert, done))
            if channel.id not in self._tasks:
                self._tasks[channel.id] = asyncio.create_task(self._run(channel.id), name="courier")

    async def stop(self) -> None:
        """Give up what has not been sent."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test(self, channel: Channel) -> Response:
        """Send a test, and return what came of it."""
        return await self._send(channel, [of_test(self._clock.now_ms())])

    async def _run(self, channel_id: str) -> None:
        try:
            await self._carry(channel_id)
        except Exception:
            # Our bug: alerts are lost by it, and nothing else may be.
            log.exception("alert.crashed", channel=channel_id)
        finally:
            # In the same turn in which nothing was left, so that what comes next finds either this task or none.
            del self._tasks[channel_id], self._waiting[channel_id]

    async def _carry(self, channel_id: str) -> None:
        """Send what waits for a channel, in order, until nothing does."""
        waiting = self._waiting[channel_id]
        while waiting:
            channel = self._channel(channel_id)
            if channel is None:
                return
            count = min(len(waiting), MOST_AT_ONCE if together(channel.type) else 1)
            parcels = [waiting.popleft() for _ in range(count)]
            await self._deliver(channel_id, [parcel.alert for parcel in parcels])
            for parcel in parcels:
                if parcel.done is not None:
                    parcel.done()

    async def _deliver(self, channel_id: str, alerts: list[Alert]) -> None:
        """Send alerts as one message, in up to three tries, as long as the channel is there and enabled."""
        for wait_ms in (*WAITS_MS, None):
            channel = self._channel(channel_id)
            if channel is None:
                return
            response = await self._send(channel, alerts)
            problem = problem_of(response)
            if problem is None:
                return
            log.warning("alert.not_delivered", channel=channel_id, error=problem, again=wait_ms is not None)
            if wait_ms is not None:
                await sleep_until(self._clock, self._clock.now_ms() + wait_ms)

    def _channel(self, channel_id: str) -> Channel | None:
        found = (one for one in self._store.channels() if one.id == channel_id and one.enabled)
        return next(found, None)

    async def _send(self, channel: Channel, alerts: list[Alert]) -> Response:
        try:
            target = expand(channel.target, self._lookup) if channel.has_references else channel.target
            url, body = request_for(channel.type, checked(target, channel.type).partition("#")[0], alerts)
        except ValueError as err:
            return Response(failure=Failure(code=ErrorCode.UNRESOLVED, message=str(err)))
        headers = (("User-Agent", USER_AGENT), ("Content-Type", "application/json"))
        return await self._sender.send(
            OutgoingRequest(
                method="POST", url=url, headers=headers, body=body, timeout_s=TIMEOUT_S, capture=0, limit=READ
            )
        )
