"""`/webhooks/deliveries`: what was told of jobs, and what still is to be."""

from functools import partial
from typing import Final

from aiohttp import web

from fliqd.api.documents import delivery_view, write_cursor
from fliqd.api.errors import json_response
from fliqd.api.requests import params
from fliqd.core.deliveries import DeliveryStatus
from fliqd.errors import InvalidError, Problem
from fliqd.store.base import DeliveryFilter, Outbox

CURSOR: Final = "w"


def add_routes(router: web.UrlDispatcher, prefix: str, outbox: Outbox) -> None:
    """Add the routes under `prefix`."""
    router.add_get(f"{prefix}/webhooks/deliveries", partial(list_deliveries, outbox))


async def list_deliveries(outbox: Outbox, request: web.Request) -> web.Response:
    asked = params(request, "status", "job_id", "limit", "cursor")
    word = asked.text("status")
    words = [str(status) for status in DeliveryStatus]
    if word not in (None, *words):
        raise InvalidError([Problem("status", f"expected one of {', '.join(words)}")])
    where = DeliveryFilter(status=DeliveryStatus(word) if word else None, job_id=asked.text("job_id"))
    found, more = await outbox.page(where, before_pk=asked.cursor(CURSOR), limit=asked.limit())
    next_pk = found[-1].pk if more else None
    views = [delivery_view(delivery) for delivery in found]
    return json_response({"deliveries": views, "next_cursor": write_cursor(next_pk, CURSOR)})
