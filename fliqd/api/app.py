"""The application: every request gets an id, a caller, and an answer in the one shape."""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from fliqd.api import auth, jobs, system
from fliqd.api import tokens as token_routes
from fliqd.api.errors import document, json_response, respond, respond_to_aiohttp
from fliqd.api.origin import Doorkeeper
from fliqd.errors import FliqdError
from fliqd.service.jobs import Jobs
from fliqd.service.tokens import Tokens

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)


def build(
    *,
    jobs_service: Jobs,
    status: system.System,
    tokens: Tokens | None,
    new_ulid: Callable[[], str],
    doorkeeper: Doorkeeper,
    max_body: int,
) -> web.Application:
    """Return the application over the services; `tokens` is None where no token is asked for."""

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-Id")
        request_id = given if given and REQUEST_ID.fullmatch(given) else f"req_{new_ulid()}"
        try:
            doorkeeper.check(request.headers)
            if request.path not in auth.OPEN:
                caller = auth.identify(request, tokens)
                auth.check(caller, request)
                request[auth.CALLER] = caller
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
        return response

    app = web.Application(middlewares=[edge], client_max_size=max_body)
    for prefix in ("", "/v1"):
        jobs.add_routes(app.router, prefix, jobs_service)
        system.add_routes(app.router, prefix, status)
        if tokens is not None:
            token_routes.add_routes(app.router, prefix, tokens)
    return app
