"""`/buffers`: ordered streams to one target, and their items."""

from functools import partial
from typing import Any, Final

from aiohttp import web

from fliqd.api.auth import CALLER
from fliqd.api.documents import backoff_view, execution_view, seconds, statuses_view, told_view, write_cursor
from fliqd.api.errors import error_document, json_response, status_of
from fliqd.api.requests import json_body, params, path_id, refuse_key, take_key
from fliqd.core.buffers import Buffer, BufferDraft, ItemDraft
from fliqd.core.decoding import decode, decode_list, holds
from fliqd.core.headers import masked
from fliqd.core.model import FINAL, Job, JobStatus
from fliqd.core.references import as_meant
from fliqd.core.times import format_time, maybe_time
from fliqd.errors import FliqdError, InvalidError, Problem
from fliqd.service.buffers import AskedBuffer, AskedItem, BufferService

CURSOR: Final = "b"
ITEM_CURSOR: Final = "i"
MAX_BATCH: Final = 1000
ITEM_WORDS: Final = {
    JobStatus.SCHEDULED: "pending",
    JobStatus.RUNNING: "running",
    JobStatus.SUCCESS: "completed",
    JobStatus.FAILED: "failed",
}
STATUSES: Final = {word: status for status, word in ITEM_WORDS.items()}


def add_routes(router: web.UrlDispatcher, prefix: str, buffers: BufferService) -> None:
    """Add the routes under `prefix`."""
    one = f"{prefix}/buffers/{{id}}"
    item = f"{one}/items/{{item_id}}"
    router.add_post(f"{prefix}/buffers", partial(create, buffers))
    router.add_get(f"{prefix}/buffers", partial(list_buffers, buffers))
    router.add_get(one, partial(get, buffers))
    router.add_patch(one, partial(update, buffers))
    router.add_delete(one, partial(delete, buffers))
    router.add_post(f"{one}/pause", partial(pause, buffers))
    router.add_post(f"{one}/resume", partial(resume, buffers))
    router.add_get(f"{one}/stats", partial(stats, buffers))
    router.add_post(f"{one}/items", partial(push, buffers))
    router.add_get(f"{one}/items", partial(list_items, buffers))
    router.add_get(item, partial(get_item, buffers))
    router.add_get(f"{item}/executions", partial(executions, buffers))
    router.add_post(f"{item}/replay", partial(replay, buffers))


async def create(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    asked = _asked(await json_body(request))
    return json_response(buffer_view(await buffers.create(asked, token_id=request[CALLER].token_id)), status=201)


async def list_buffers(buffers: BufferService, request: web.Request) -> web.Response:
    asked = params(request, "name", "limit", "cursor")
    found, next_pk = await buffers.page(name=asked.text("name"), before_pk=asked.cursor(CURSOR), limit=asked.limit())
    secrets = request[CALLER].sees_secrets
    views = [buffer_view(buffer, secrets=secrets) for buffer in found]
    return json_response({"buffers": views, "next_cursor": write_cursor(next_pk, CURSOR)})


async def get(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    buffer = await buffers.get(path_id(request, "buffer"))
    return json_response(buffer_view(buffer, secrets=request[CALLER].sees_secrets))


async def update(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    buffer_id = path_id(request, "buffer")
    return json_response(buffer_view(await buffers.update(buffer_id, _asked(await json_body(request)))))


async def delete(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    await buffers.delete(path_id(request, "buffer"))
    return web.Response(status=204)


async def pause(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    return json_response(buffer_view(await buffers.pause(path_id(request, "buffer"))))


async def resume(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    return json_response(buffer_view(await buffers.resume(path_id(request, "buffer"))))


async def stats(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    buffer, counts = await buffers.counts(path_id(request, "buffer"))
    ended = buffer.completed + buffer.failed
    return json_response(
        {
            "pending": counts.pending,
            "running": counts.running,
            "completed": buffer.completed,
            "failed": buffer.failed,
            "total": counts.pending + counts.running + ended,
            "success_rate": buffer.completed / ended if ended else 0,
        }
    )


async def push(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    buffer_id = path_id(request, "buffer")
    body = await json_body(request)
    if holds(body, "items"):
        return await push_batch(buffers, request, buffer_id, body)
    asked = _asked_item(body)
    take_key(asked.draft, request)
    created = await buffers.push(buffer_id, asked, token_id=request[CALLER].token_id)
    if created.replayed:
        return json_response(item_view(created.job), headers={"Idempotent-Replayed": "true"})
    return json_response(item_view(created.job), status=201)


async def push_batch(buffers: BufferService, request: web.Request, buffer_id: str, items: bytes) -> web.Response:
    """Push `{"items": [item, …]}`, in this order; each is answered for itself."""
    refuse_key(request, "item")
    asks: list[AskedItem | FliqdError] = []
    for body in decode_list(items, "items", MAX_BATCH):
        try:
            asks.append(_asked_item(body))
        except InvalidError as err:
            asks.append(err)
    right = [asked for asked in asks if isinstance(asked, AskedItem)]
    made = iter(await buffers.push_many(buffer_id, right, token_id=request[CALLER].token_id))
    results = []
    for asked in asks:
        result = next(made) if isinstance(asked, AskedItem) else asked
        if isinstance(result, FliqdError):
            results.append({"status": status_of(result), **error_document(result, None)})
        else:
            results.append({"status": 200 if result.replayed else 201, "item": item_view(result.job)})
    return json_response({"results": results})


async def list_items(buffers: BufferService, request: web.Request) -> web.Response:
    asked = params(request, "status", "limit", "cursor")
    word = asked.text("status")
    if word is not None and word not in STATUSES:
        raise InvalidError([Problem("status", f"expected one of {', '.join(STATUSES)}")])
    found, next_pk = await buffers.items(
        path_id(request, "buffer"),
        status=None if word is None else STATUSES[word],
        before_pk=asked.cursor(ITEM_CURSOR),
        limit=asked.limit(),
    )
    secrets = request[CALLER].sees_secrets
    views = [item_view(item, secrets=secrets) for item in found]
    return json_response({"items": views, "next_cursor": write_cursor(next_pk, ITEM_CURSOR)})


async def get_item(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    item = await buffers.item(path_id(request, "buffer"), path_id(request, "item", "item_id"))
    return json_response(item_view(item, secrets=request[CALLER].sees_secrets))


async def executions(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    found = await buffers.executions(path_id(request, "buffer"), path_id(request, "item", "item_id"))
    secrets = request[CALLER].sees_secrets
    return json_response({"executions": [execution_view(execution, secrets=secrets) for execution in found]})


async def replay(buffers: BufferService, request: web.Request) -> web.Response:
    params(request)
    item = await buffers.replay(path_id(request, "buffer"), path_id(request, "item", "item_id"))
    return json_response(item_view(item), status=201)


def buffer_view(buffer: Buffer, *, secrets: bool = True) -> dict[str, Any]:
    """Return a buffer as the API shows it; without `secrets`, headers that carry some are masked."""
    return {
        "id": buffer.id,
        "name": buffer.name,
        "source": buffer.source.value,
        "url": buffer.url,
        "http_method": buffer.http_method,
        "headers": buffer.headers if secrets else masked(buffer.headers),
        "query": buffer.query,
        "rate_limit": int(buffer.rate_limit) if buffer.rate_limit.is_integer() else buffer.rate_limit,
        "max_retries": buffer.max_retries,
        "backoff": backoff_view(buffer.backoff),
        "timeout_seconds": seconds(buffer.timeout_ms),
        "success_statuses": statuses_view(buffer.success_statuses),
        "on_interrupt": buffer.on_interrupt.value,
        **told_view(buffer, secrets=secrets),
        "description": buffer.description,
        "paused": buffer.paused_ms is not None,
        "paused_at": maybe_time(buffer.paused_ms),
        "created_at": format_time(buffer.created_ms),
        "updated_at": format_time(buffer.updated_ms),
    }


def item_view(item: Job, *, secrets: bool = True) -> dict[str, Any]:
    """Return an item as the API shows it; without `secrets`, headers that carry some are masked."""
    ended = item.status in FINAL
    waits = item.status is JobStatus.SCHEDULED and not item.is_held
    body = item.body
    headers = item.headers
    if item.has_references:  # then its own stand there escaped, and come back as they were given
        headers = {name: as_meant(value) for name, value in headers.items()}
    return {
        "id": item.id,
        "buffer_id": item.buffer_id,
        "status": ITEM_WORDS[item.status],
        "status_code": item.last_status_code,
        "headers": headers if secrets else masked(headers),
        "body": None if body is None else body.decode(errors="replace"),
        "idempotency_key": item.idempotency_key,
        "retry_count": max(0, item.attempts - 1) if ended else item.attempts,
        "max_retries": item.max_retries,
        "executions": item.executions,
        "last_error": item.last_error,
        "replay_of": item.replay_of,
        "created_at": format_time(item.created_ms),
        "started_at": maybe_time(item.started_ms),
        "completed_at": maybe_time(item.finished_ms) if ended else None,
        "next_attempt_at": maybe_time(item.next_attempt_ms) if waits else None,
    }


def _asked(body: bytes) -> AskedBuffer:
    return AskedBuffer(*decode(body, BufferDraft))


def _asked_item(body: bytes) -> AskedItem:
    return AskedItem(*decode(body, ItemDraft))
