"""`/dispatchq`: the API of DispatchQ, over our jobs and schedules."""

from typing import Final

from aiohttp import web

from fliqd.api.app import Services
from fliqd.core.stand_ins import DISPATCHQ
from fliqd.dialects.dispatchq import refusing, routes

SCHEMES: Final = frozenset({"bearer"})


class DispatchQ:
    """The stand-in API; see `api.app.StandIn`."""

    name = DISPATCHQ
    schemes = SCHEMES

    def __init__(self, services: Services) -> None:
        self._operations = routes.Operations(services.jobs, services.schedules, services.clock.now_ms)

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add its routes under `prefix`."""
        routes.add_routes(router, prefix, self._operations)

    def refuse(self, err: Exception, request_id: str) -> web.Response:
        """Answer a request that ended with an error."""
        return refusing.refuse(err, request_id)
