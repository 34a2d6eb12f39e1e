"""`/healthz`, `/readyz`, `/status` and `/summary`: how the daemon is."""

from functools import partial
from typing import Any, Protocol

from aiohttp import web

from fliqd.api.errors import json_response
from fliqd.api.requests import params
from fliqd.errors import UnavailableError


class System(Protocol):
    """What the daemon tells about itself."""

    async def not_ready(self) -> str | None:
        """Return why it cannot take work, None when it can."""

    def status(self) -> dict[str, Any]:
        """Return what `/v1/status` answers."""

    async def summary(self) -> dict[str, Any]:
        """Return what `/v1/summary` answers."""


def add_routes(router: web.UrlDispatcher, prefix: str, system: System) -> None:
    """Add the routes under `prefix`; the probes have no other name."""
    if not prefix:
        router.add_get("/healthz", healthz)
        router.add_get("/readyz", partial(readyz, system))
    router.add_get(f"{prefix}/status", partial(status, system))
    router.add_get(f"{prefix}/summary", partial(summary, system))


async def healthz(_request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


async def readyz(system: System, _request: web.Request) -> web.Response:
    reason = await system.not_ready()
    if reason is not None:
        raise UnavailableError(reason, "not_ready")
    return json_response({"status": "ready"})


async def status(system: System, request: web.Request) -> web.Response:
    params(request)
    return json_response(system.status())


async def summary(system: System, request: web.Request) -> web.Response:
    params(request)
    return json_response(await system.summary())
