"""`/metrics`: what a Prometheus scrapes."""

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from fliqd.api.requests import params

Render = Callable[[], Awaitable[bytes]]
# The text format (prometheus.io/docs/instrumenting/exposition_formats), which every version of Prometheus reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def add_routes(router: web.UrlDispatcher, prefix: str, render: Render) -> None:
    """Add the route under `prefix`."""
    router.add_get(f"{prefix}/metrics", partial(metrics, render))


async def metrics(render: Render, request: web.Request) -> web.Response:
    params(request)
    return web.Response(body=await render(), headers={"Content-Type": CONTENT_TYPE})
