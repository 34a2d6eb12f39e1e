"""`/quedup`: the API of QuedUp, over our jobs and schedules."""

from typing import Final

from aiohttp import web

from fliqd.api.app import Services
from fliqd.api.errors import json_response
from fliqd.core.stand_ins import QUEDUP
from fliqd.dialects.quedup import routes
from fliqd.dialects.quedup.documents import NAMES
from fliqd.dialects.quedup.jobs import QuedUpJobs
from fliqd.dialects.refusals import problems_of, status_and_headers, told

SCHEMES: Final = frozenset({"bearer"})


class QuedUp:
    """The stand-in API; see `api.app.StandIn`."""

    name = QUEDUP
    schemes = SCHEMES

    def __init__(self, services: Services) -> None:
        self._jobs = QuedUpJobs(services.jobs, services.schedules)

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add its routes under `prefix`."""
        routes.add_routes(router, prefix, self._jobs)

    def refuse(self, err: Exception, _request_id: str) -> web.Response:
        """Answer a request that ended with an error: what is wrong, as one text."""
        status, headers = status_and_headers(err)
        return json_response({"error": told(err, problems_of(err, NAMES))}, status=status, headers=headers)
