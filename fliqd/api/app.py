"""The API: every request gets an id, a check at the door, a caller, and an answer in the one shape."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from aiohttp import hdrs, web

from fliqd.api import auth, calendar, config, events, jobs, metrics, schedules, signing, stats, system
from fliqd.api import tokens as token_routes
from fliqd.api.errors import document, json_response, respond, respond_to_aiohttp
from fliqd.api.origin import Doorkeeper
from fliqd.clock import Clock
from fliqd.errors import FliqdError, UnavailableError
from fliqd.service.events import Events
from fliqd.service.jobs import Jobs
from fliqd.service.schedules import ScheduleService
from fliqd.service.stats import Stats
from fliqd.service.tokens import Tokens

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)


def build(
    *,
    jobs_service: Jobs,
    schedules_service: ScheduleService,
    reloading: config.Reloading,
    status: system.System,
    stats_service: Stats,
    events_service: Events,
    tokens: Tokens | None,
    signing_secrets: signing.Secrets,
    render_metrics: metrics.Render,
    clock: Clock,
    max_body: int,
) -> web.Application:
    """Return the routes over the services; `tokens` is None where no token is asked for."""
    app = web.Application(client_max_size=max_body)
    for prefix in ("", "/v1"):
        jobs.add_routes(app.router, prefix, jobs_service)
        schedules.add_routes(app.router, prefix, schedules_service, jobs_service)
        signing.add_routes(app.router, prefix, signing_secrets)
        events.add_routes(app.router, prefix, events_service, tokens)
        stats.add_routes(app.router, prefix, stats_service)
        system.add_routes(app.router, prefix, status)
        metrics.add_routes(app.router, prefix, render_metrics)
        config.add_routes(app.router, prefix, reloading)
        calendar.add_routes(app.router, prefix, clock)
        if tokens is not None:
            token_routes.add_routes(app.router, prefix, tokens)
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
        doorkeeper: Doorkeeper,
        new_request_id: Callable[[], str],
        closed: Callable[[], UnavailableError | None],
        answers: dict[int, int],
    ) -> None:
        """Stand around `app`; `answers` is where those given are counted, by status."""
        self._dispatch: Handler = app._handle  # noqa: SLF001 -- what aiohttp's own server calls
        self._plain: Mapping[tuple[str, str], Handler] = {
            (route.method, route.resource.canonical): route.handler
            for route in app.router.routes()
            if isinstance(route.resource, web.PlainResource)
        }
        self._tokens = tokens
        self._doorkeeper = doorkeeper
        self._new_request_id = new_request_id
        self._closed = closed
        self._answers = answers

    def _check_open(self, method: str) -> None:
        """Raise UnavailableError for a write while none is taken; reading goes on."""
        if method not in ("GET", "HEAD") and (reason := self._closed()) is not None:
            raise reason

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        given = headers.get("X-Request-Id")
        request_id = given if given and REQUEST_ID.fullmatch(given) else self._new_request_id()
        try:
            self._doorkeeper.check(headers)
            path = request.path
            if path not in auth.OPEN:
                caller = auth.identify(headers, self._tokens)
                auth.check(caller, request.method, path)
                request[auth.CALLER] = caller
            self._check_open(request.method)
            handler = self._plain.get((request.method, path))
            if handler is None or hdrs.EXPECT in headers:
                handler = self._dispatch
            response = await handler(request)
        except FliqdError as err:
            response = respond(err, request_id)
        except web.HTTPException as err:
            response = respond_to_aiohttp(err, request_id)
        except Exception:
            log.exception("api.crashed", method=request.method, path=request.path, request_id=request_id)
            message = "fliqd failed; its log says why, under this request_id"
            response = json_response(document("internal", message, request_id), status=500)
        response.headers["X-Request-Id"] = request_id
        self._answers[response.status] = self._answers.get(response.status, 0) + 1
        return response
