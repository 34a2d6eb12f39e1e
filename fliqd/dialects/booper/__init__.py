"""`/booper`: what a client of Booper's scheduler asks, done by the operations of `/v1`.

The facts are from Booper's public pages, which are few; where they say nothing, the words of Oban, the job library
whose times they show, and our own choices fill in. `docs/how-to/from-booper.md` has them all.
"""

import uuid

from aiohttp import web

from fliqd.api.app import Services
from fliqd.dialects.booper import openapi
from fliqd.dialects.booper.errors import refusal
from fliqd.dialects.booper.routes import Routes


class Booper:
    """The stand-in for scheduler.booper.dev."""

    name: str = "booper"
    schemes: frozenset[str] = frozenset({"bearer", "token"})

    def __init__(self, services: Services, *, dynamic_fields: bool) -> None:
        """Speak for `services`; `dynamic_fields` puts those into the bodies of jobs made here."""
        self._routes = Routes(
            jobs=services.jobs,
            schedules=services.schedules,
            clock=services.clock,
            user_id=str(uuid.UUID(hex=services.store_id, version=4)),  # there is one user, who is the store
            dynamic_fields=dynamic_fields,
        )

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the routes under `prefix`."""
        self._routes.add(router, prefix)
        openapi.add_routes(router, prefix)

    def refuse(self, err: Exception, _request_id: str) -> web.Response:
        """Answer a request that ended with an error."""
        return refusal(err)
