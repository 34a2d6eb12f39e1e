"""In the place of Fliq (fliq.sh): its calls, in its words, over the operations of `/v1`."""

import uuid

from aiohttp import web

from fliqd.api.app import Services
from fliqd.api.auth import BEARER
from fliqd.dialects.fliq import answers
from fliqd.dialects.fliq.account import AccountCalls
from fliqd.dialects.fliq.buffers import BufferCalls
from fliqd.dialects.fliq.jobs import JobCalls
from fliqd.dialects.fliq.operations import document
from fliqd.dialects.fliq.schedules import ScheduleCalls
from fliqd.dialects.fliq.voice import LIBRARY, PAGES, Voice


class Fliq:
    """One voice of it, a stand-in of its own."""

    schemes = BEARER

    def __init__(self, services: Services, voice: Voice) -> None:
        self.name = voice.name
        self._voice = voice
        user_id = str(uuid.UUID(hex=services.store_id, version=4))  # there is one user, who is the store
        jobs = JobCalls(services.jobs, voice, user_id)
        self._calls = (
            jobs,
            ScheduleCalls(services.schedules, jobs, user_id),
            BufferCalls(services.buffers),
            AccountCalls(services),
        )

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add its routes under `prefix`."""
        for calls in self._calls:
            calls.add_routes(router, prefix)
        router.add_get(f"{prefix}/openapi.json", self.describe)

    async def describe(self, _request: web.Request) -> web.Response:
        """Answer with the document of its calls."""
        return answers.answer(document(self._voice))

    def refuse(self, err: Exception, _request_id: str) -> web.Response:
        """Answer a request that ended with an error."""
        return answers.refuse(self._voice, err)


def both(services: Services) -> tuple[Fliq, Fliq]:
    """Return it in both voices."""
    return Fliq(services, LIBRARY), Fliq(services, PAGES)
