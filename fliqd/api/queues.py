"""`/queues`: what limits the jobs that carry a queue's name."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from fliqd.api.errors import json_response
from fliqd.api.requests import json_body, params
from fliqd.core.decoding import decode
from fliqd.core.queues import Queue, QueueDraft
from fliqd.core.times import maybe_time
from fliqd.service.queues import AskedQueue, QueueService
from fliqd.store.base import QueueCounts


def add_routes(router: web.UrlDispatcher, prefix: str, queues: QueueService) -> None:
    """Add the routes under `prefix`."""
    one = f"{prefix}/queues/{{name}}"
    router.add_get(f"{prefix}/queues", partial(list_queues, queues))
    router.add_get(one, partial(get, queues))
    router.add_put(one, partial(limit, queues, queues.put))
    router.add_patch(one, partial(limit, queues, queues.update))
    router.add_delete(one, partial(delete, queues))
    router.add_post(f"{one}/pause", partial(pause, queues, paused=True))
    router.add_post(f"{one}/resume", partial(pause, queues, paused=False))


async def list_queues(queues: QueueService, request: web.Request) -> web.Response:
    params(request)
    return json_response({"queues": [queue_view(queue, counts) for queue, counts in await queues.all()]})


async def get(queues: QueueService, request: web.Request) -> web.Response:
    params(request)
    return json_response(queue_view(*await queues.get(request.match_info["name"])))


async def limit(
    queues: QueueService, change: Callable[[str, AskedQueue], Awaitable[None]], request: web.Request
) -> web.Response:
    params(request)
    name = request.match_info["name"]
    await change(name, AskedQueue(*decode(await json_body(request), QueueDraft)))
    return json_response(queue_view(*await queues.get(name)))


async def delete(queues: QueueService, request: web.Request) -> web.Response:
    params(request)
    await queues.delete(request.match_info["name"])
    return web.Response(status=204)


async def pause(queues: QueueService, request: web.Request, *, paused: bool) -> web.Response:
    params(request)
    name = request.match_info["name"]
    await queues.pause(name, paused=paused)
    return json_response(queue_view(*await queues.get(name)))


def queue_view(queue: Queue, counts: QueueCounts) -> dict[str, Any]:
    """Return a queue as the API shows it."""
    rate = queue.rate
    return {
        "name": queue.name,
        "source": queue.source.value,
        "concurrency": queue.concurrency,
        "rate": int(rate) if rate is not None and rate.is_integer() else rate,
        "paused": queue.paused_ms is not None,
        "paused_at": maybe_time(queue.paused_ms),
        "waiting": counts.waiting,
        "running": counts.running,
    }
