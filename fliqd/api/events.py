"""`/events`: what happens, as server-sent events (html.spec.whatwg.org, 9.2)."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from fliqd.api.auth import identify
from fliqd.api.documents import missed_view
from fliqd.api.requests import params
from fliqd.core.events import Event, EventType, JobNews, Wanted
from fliqd.core.lifecycle import ACTIONS
from fliqd.core.model import HELD_MS, JobStatus
from fliqd.core.times import format_time, maybe_time
from fliqd.errors import FliqdError, InvalidError, Problem
from fliqd.ids import id_pattern
from fliqd.service.events import SLOW, Events, Reader
from fliqd.service.tokens import Tokens

log = structlog.get_logger()

HEARTBEAT_S: Final = 15.0  # of silence, before a comment says that the stream lives
WRITE_S: Final = 60.0  # how long a reader may take none of what is sent
AT_ONCE: Final = 100  # events in a write
_EVENT_ID: Final = id_pattern("evt")
_encode: Final = msgspec.json.Encoder().encode
TOLD: Final = {
    SLOW: ("stream.dropped", "you read more slowly than things happen; connect again with Last-Event-ID"),
    "shutting_down": ("stream.end", "fliqd is shutting down"),
    "unauthorized": ("stream.end", "your token is not known any more"),
}
GAP: Final = "events may have been missed since that Last-Event-ID: read again what you need to know"


def add_routes(router: web.UrlDispatcher, prefix: str, events: Events, tokens: Tokens | None) -> None:
    """Add the route under `prefix`."""
    router.add_get(f"{prefix}/events", partial(stream, events, tokens), allow_head=False)


async def stream(events: Events, tokens: Tokens | None, request: web.Request) -> web.StreamResponse:
    asked = params(request, "type", "job_id", "schedule_id", "queue")
    problems = []
    words = (asked.text("type") or "").split(",") if asked.text("type") is not None else []
    known = {str(kind) for kind in EventType}
    if not known.issuperset(words):
        problems.append(Problem("type", f"expected one or more of {', '.join(EventType)}, with commas between"))
    after = request.headers.get("Last-Event-ID") or None
    if after is not None and not _EVENT_ID.fullmatch(after):
        problems.append(Problem("last_event_id", "expected the id of an event, such as evt_01…"))
    if problems:
        raise InvalidError(problems)
    wanted = Wanted(
        types=frozenset(map(EventType, words)) or None,
        job_id=asked.text("job_id"),
        schedule_id=asked.text("schedule_id"),
        queue=asked.text("queue"),
    )
    events.check_room()
    return EventStream(events, wanted, after, still_known=lambda: identify(request.headers, tokens))


class EventStream(web.StreamResponse):
    """An answer that goes on for as long as both sides want."""

    def __init__(self, events: Events, wanted: Wanted, after: str | None, *, still_known: Callable[[], object]) -> None:
        super().__init__(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
                hdrs.CACHE_CONTROL: "no-store",
                "X-Accel-Buffering": "no",  # a proxy that gathers answers would keep events back
            }
        )
        self._events = events
        self._wanted = wanted
        self._after = after
        self._still_known = still_known
        self._transport: asyncio.Transport | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head, then events until one side has had enough."""
        self._transport = request.transport
        async with self._events.read(self._wanted, after=self._after) as reader:
            # Told at once, rather than with the next heartbeat, by the connection that is lost.
            cast("Any", request.protocol).on_lost = lambda: reader.end("gone")
            writer = await super().prepare(request)
            try:
                await self._send(b"retry: 2000\n\n")
                if reader.missed:
                    await self._send(_told("stream.gap", GAP))
                await self._pump(reader)
            finally:
                cast("Any", request.protocol).on_lost = None
        return writer

    async def _pump(self, reader: Reader) -> None:
        while True:
            taken = await reader.take(AT_ONCE, HEARTBEAT_S)
            try:
                self._still_known()
            except FliqdError:
                await self._send(_told(*TOLD["unauthorized"]))
                return
            if taken:
                await self._send(b"".join(map(frame, taken)))
            elif reader.ended is None:
                await self._send(b":\n\n")
            else:
                if reader.ended in TOLD:
                    await self._send(_told(*TOLD[reader.ended]))
                return

    async def _send(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(WRITE_S):
                await self.write(data)
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()
            raise ConnectionResetError("a reader of events takes nothing") from None


def frame(event: Event) -> bytes:
    """Return an event as it is sent."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        event.id.encode(),
        event.news.type.encode(),
        _encode(event_view(event)),
    )


def event_view(event: Event) -> dict[str, Any]:
    """Return an event as the API shows it."""
    shown: dict[str, Any] = {"id": event.id, "type": event.news.type, "at": format_time(event.at_ms)}
    about = event.news.about
    if isinstance(about, JobNews):
        return shown | {"job": _job_view(about)}
    schedule = {"id": about.schedule_id, "name": about.name, "queue": about.queue}
    return shown | {"schedule": schedule, "missed": missed_view(about.missed)}


def _job_view(job: JobNews) -> dict[str, Any]:
    """Return the part of a job that is told, under the names of the whole."""
    return {
        "id": job.id,
        "status": job.status,
        "name": job.name,
        "queue": job.queue,
        "schedule_id": job.schedule_id,
        "host": job.host,
        "scheduled_at": format_time(job.scheduled_ms),
        "updated_at": format_time(job.updated_ms),
        "started_at": maybe_time(job.started_ms),
        "finished_at": maybe_time(job.finished_ms),
        "next_attempt_at": None if job.next_attempt_ms == HELD_MS else maybe_time(job.next_attempt_ms),
        "attempts": job.attempts,
        "executions": job.executions,
        "last_status_code": job.last_status_code,
        "last_error": job.last_error,
        "actions": ACTIONS[JobStatus(job.status)],
    }


def _told(kind: str, message: str) -> bytes:
    """Return what is told about the stream itself; it has no id, so that a reader comes back to where it was."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), _encode({"type": kind, "message": message}))
