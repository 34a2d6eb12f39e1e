"""The API: every request gets an id, a check at the door, a caller, and an answer in the one shape."""

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from aiohttp import hdrs, web
from yarl import URL

from fliqd.api import (
    alerts,
    auth,
    buffers,
    calendar,
    config,
    events,
    jobs,
    metrics,
    openapi,
    queues,
    schedules,
    signing,
    stats,
    system,
    webhooks,
)
from fliqd.api import tokens as token_routes
from fliqd.api.answers import Answer, Handler
from fliqd.api.errors import respond_to
from fliqd.api.origin import Doorkeeper
from fliqd.clock import Clock
from fliqd.errors import FliqdError, UnavailableError
from fliqd.service.buffers import BufferService
from fliqd.service.channels import AlertChannels
from fliqd.service.events import Events
from fliqd.service.jobs import Jobs
from fliqd.service.queues import QueueService
from fliqd.service.schedules import ScheduleService
from fliqd.service.stats import Stats
from fliqd.service.tokens import Tokens
from fliqd.store.base import Outbox

log = structlog.get_logger()

READS_AT_ONCE: Final = 8  # each has its page in memory, twice; one thread reads them, so that more are not quicker
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes call; `tokens` is None where no token is asked for."""

    jobs: Jobs
    schedules: ScheduleService
    buffers: BufferService
    queues: QueueService
    outbox: Outbox
    channels: AlertChannels
    signing: signing.Secrets
    events: Events
    stats: Stats
    metrics: metrics.Render
    reloading: config.Reloading
    tokens: Tokens | None
    system: system.System
    clock: Clock
    store_id: str


class StandIn(Protocol):
    """An API in the place of another service's, below a path of its own: `/` and its name."""

    name: str  # one part of a path, or two for what another stand-in has below its own
    schemes: frozenset[str]  # the words that may stand before a token, in lower case

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add its routes under `prefix`."""

    def refuse(self, err: Exception, request_id: str) -> web.Response:
        """Answer a request that ended with a FliqdError, one of aiohttp's HTTPExceptions, or a bug of ours."""


def build(services: Services, stand_ins: Collection[StandIn], *, max_body: int) -> web.Application:
    """Return the routes over the services, and those of the stand-in APIs."""
    app = web.Application(client_max_size=max_body)
    for one in stand_ins:
        one.add_routes(app.router, f"/{one.name}")
    for prefix in ("", "/v1"):
        jobs.add_routes(app.router, prefix, services.jobs)
        schedules.add_routes(app.router, prefix, services.schedules, services.jobs)
        buffers.add_routes(app.router, prefix, services.buffers)
        queues.add_routes(app.router, prefix, services.queues)
        webhooks.add_routes(app.router, prefix, services.outbox)
        alerts.add_routes(app.router, prefix, services.channels)
        signing.add_routes(app.router, prefix, services.signing)
        events.add_routes(app.router, prefix, services.events, services.tokens)
        stats.add_routes(app.router, prefix, services.stats)
        config.add_routes(app.router, prefix, services.reloading)
        system.add_routes(app.router, prefix, services.system)
        metrics.add_routes(app.router, prefix, services.metrics)
        calendar.add_routes(app.router, prefix, services.clock)
        openapi.add_routes(app.router, prefix)
        if services.tokens is not None:
            token_routes.add_routes(app.router, prefix, services.tokens)
    return app


class Edge:
    """What every request passes on its way in and out; around the application, not a middleware of it.

    A path without an id in it is found by one look into a dictionary: resolving routes through aiohttp
    costs a create a tenth of its time.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        tokens: Tokens | None,
        stand_ins: Collection[StandIn],
        doorkeeper: Doorkeeper,
        new_request_id: Callable[[], str],
        closed: Callable[[], UnavailableError | None],
        answers: dict[int, int],
        base: str = "",
    ) -> None:
        """Stand around `app`, and take requests at `base` too, the path under which a proxy shows us.

        `answers` is where those given are counted, by status.
        """
        self._base = base
        self._dispatch: Handler = app._handle  # noqa: SLF001 -- what aiohttp's own server calls
        self._plain: Mapping[tuple[str, str], Handler] = {
            (route.method, route.resource.canonical): route.handler
            for route in app.router.routes()
            if isinstance(route.resource, web.PlainResource)
        }
        self._tokens = tokens
        self._stand_ins = {one.name: one for one in stand_ins}
        self._doorkeeper = doorkeeper
        self._new_request_id = new_request_id
        self._closed = closed
        self._answers = answers
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    def is_below(self, path: str) -> bool:
        """Whether a path may begin with the one under which a proxy shows us."""
        return bool(self._base) and path.startswith(self._base)

    def _stand_in(self, path: str) -> StandIn | None:
        """Return the stand-in API that a path belongs to, the one with the longer name of two."""
        first, _, rest = path[1:].partition("/")
        found = self._stand_ins.get(first)
        return found and self._stand_ins.get(f"{first}/{rest.partition('/')[0]}", found)

    def _check_open(self, method: str) -> None:
        """Raise UnavailableError for a write while none is taken; reading goes on."""
        if method not in ("GET", "HEAD") and (reason := self._closed()) is not None:
            raise reason

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = await self.answer(request)
        return response.in_full() if isinstance(response, Answer) else response

    async def answer(self, request: web.Request) -> web.StreamResponse | Answer:
        """Return the answer to a request, whatever comes."""
        headers = request.headers
        given = headers.get("X-Request-Id")
        request_id = given if given and REQUEST_ID.fullmatch(given) else self._new_request_id()
        stand_in = None
        response: web.StreamResponse | Answer
        try:
            if self.is_below(request.raw_path):
                request = _below(request, self._base)
            path = request.path
            stand_in = self._stand_in(path)
            self._doorkeeper.check(headers)
            if path not in auth.OPEN:
                caller = auth.identify(headers, self._tokens, auth.BEARER if stand_in is None else stand_in.schemes)
                auth.check(caller, request.method, path)
                request[auth.CALLER] = caller
            self._check_open(request.method)
            handler = self._plain.get((request.method, path))
            if handler is None or hdrs.EXPECT in headers:
                handler = self._dispatch
            if request.method == "GET" and path not in auth.OPEN:
                async with self._reads:
                    response = await handler(request)
            else:
                response = await handler(request)
        except Exception as err:
            if not isinstance(err, FliqdError | web.HTTPException):
                log.exception("api.crashed", method=request.method, path=request.path, request_id=request_id)
            refuse = respond_to if stand_in is None else stand_in.refuse
            response = refuse(err, request_id)
        response.headers["X-Request-Id"] = request_id
        self._answers[response.status] = self._answers.get(response.status, 0) + 1
        return response


def _below(request: web.Request, base: str) -> web.Request:
    """Return a request without the path that a proxy has put before ours, as it is where that does not end there."""
    rest = request.raw_path[len(base) :]
    if rest[:1] not in ("", "/", "?"):
        return request
    return request.clone(rel_url=URL(rest if rest.startswith("/") else f"/{rest}", encoded=True))
