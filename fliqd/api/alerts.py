"""`/alerts`: the channels that alerts go to."""

from functools import partial
from typing import Any, Final

from aiohttp import web

from fliqd.api.documents import write_cursor
from fliqd.api.errors import json_response
from fliqd.api.requests import json_body, params, path_id
from fliqd.core.channels import Channel, ChannelDraft, shown
from fliqd.core.decoding import decode
from fliqd.core.messages import problem_of
from fliqd.core.times import format_time
from fliqd.service.channels import AlertChannels, AskedChannel

CURSOR: Final = "a"


def add_routes(router: web.UrlDispatcher, prefix: str, channels: AlertChannels) -> None:
    """Add the routes under `prefix`."""
    one = f"{prefix}/alerts/{{id}}"
    router.add_post(f"{prefix}/alerts", partial(create, channels))
    router.add_get(f"{prefix}/alerts", partial(list_channels, channels))
    router.add_get(one, partial(get, channels))
    router.add_patch(one, partial(update, channels))
    router.add_delete(one, partial(delete, channels))
    router.add_post(f"{one}/test", partial(test, channels))


async def create(channels: AlertChannels, request: web.Request) -> web.Response:
    params(request)
    return json_response(channel_view(await channels.create(_asked(await json_body(request)))), status=201)


async def list_channels(channels: AlertChannels, request: web.Request) -> web.Response:
    asked = params(request, "limit", "cursor")
    found, next_pk = channels.page(before_pk=asked.cursor(CURSOR), limit=asked.limit())
    views = [channel_view(channel) for channel in found]
    return json_response({"channels": views, "next_cursor": write_cursor(next_pk, CURSOR)})


async def get(channels: AlertChannels, request: web.Request) -> web.Response:
    params(request)
    return json_response(channel_view(channels.get(path_id(request, "channel"))))


async def update(channels: AlertChannels, request: web.Request) -> web.Response:
    params(request)
    channel_id = path_id(request, "channel")
    await channels.update(channel_id, _asked(await json_body(request)))
    return web.Response(status=204)


async def delete(channels: AlertChannels, request: web.Request) -> web.Response:
    params(request)
    await channels.delete(path_id(request, "channel"))
    return web.Response(status=204)


async def test(channels: AlertChannels, request: web.Request) -> web.Response:
    params(request)
    response = await channels.test(path_id(request, "channel"))
    problem = problem_of(response)
    return json_response({"delivered": problem is None, "status_code": response.status, "error": problem})


def channel_view(channel: Channel) -> dict[str, Any]:
    """Return a channel as the API shows it, to whomever: its target is a secret, and only its host is shown."""
    return {
        "id": channel.id,
        "type": channel.type.value,
        "target": shown(channel),
        "name": channel.name,
        "enabled": channel.enabled,
        "source": channel.source.value,
        "created_at": format_time(channel.created_ms),
        "updated_at": format_time(channel.updated_ms),
    }


def _asked(body: bytes) -> AskedChannel:
    draft, problems = decode(body, ChannelDraft)
    return AskedChannel(draft, problems)
