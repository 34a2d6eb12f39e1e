"""`/buffers`: ordered streams to one target, and their items."""

from aiohttp import web

from fliqd.api.buffers import CURSOR, ITEM_CURSOR, STATUSES
from fliqd.api.documents import write_cursor
from fliqd.api.requests import path_id
from fliqd.core.stand_ins import FLIQ
from fliqd.dialects.fliq import asking
from fliqd.dialects.fliq.answers import answer, done
from fliqd.dialects.fliq.documents import NewBuffer, NewItem, buffer_draft, in_their_words, item_draft
from fliqd.dialects.fliq.views import buffer_view, item_view
from fliqd.errors import ConflictError
from fliqd.service.buffers import AskedBuffer, AskedItem, BufferService


class BufferCalls:
    """The calls about buffers, the same in either voice."""

    def __init__(self, buffers: BufferService) -> None:
        self._buffers = buffers

    def add_routes(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the routes under `prefix`."""
        one = f"{prefix}/buffers/{{id}}"
        item = f"{one}/items/{{item_id}}"
        router.add_post(f"{prefix}/buffers", self.create)
        router.add_get(f"{prefix}/buffers", self.list)
        router.add_get(one, self.get)
        router.add_delete(one, self.delete)
        router.add_post(f"{one}/pause", self.pause)
        router.add_post(f"{one}/resume", self.resume)
        router.add_get(f"{one}/stats", self.stats)
        router.add_post(f"{one}/items", self.push)
        router.add_get(f"{one}/items", self.list_items)
        router.add_get(item, self.get_item)
        router.add_post(f"{item}/replay", self.replay_item)

    async def create(self, request: web.Request) -> web.Response:
        asked, problems, names = await asking.read(request, NewBuffer)
        making = self._buffers.create(
            AskedBuffer(buffer_draft(asked, problems), problems), dialect=FLIQ, token_id=asking.token_of(request)
        )
        return answer(buffer_view(await in_their_words(names, making)), status=201)

    async def list(self, request: web.Request) -> web.Response:
        part = asking.part(request, CURSOR)
        found, next_pk = await self._buffers.page(name=None, before_pk=part.before_pk, limit=part.limit)
        return answer(
            {"buffers": [buffer_view(buffer) for buffer in found], "next_cursor": write_cursor(next_pk, CURSOR)}
        )

    async def get(self, request: web.Request) -> web.Response:
        return answer(buffer_view(await self._buffers.get(path_id(request, "buffer"))))

    async def delete(self, request: web.Request) -> web.Response:
        await self._buffers.delete(path_id(request, "buffer"))
        return done()

    async def pause(self, request: web.Request) -> web.Response:
        buffer = await self._buffers.get(path_id(request, "buffer"))
        if buffer.paused_ms is not None:
            raise ConflictError("Buffer is already paused", "already_paused")
        await self._buffers.pause(buffer.id)
        return done()

    async def resume(self, request: web.Request) -> web.Response:
        buffer = await self._buffers.get(path_id(request, "buffer"))
        if buffer.paused_ms is None:
            raise ConflictError("Buffer is not paused", "not_paused")
        await self._buffers.resume(buffer.id)
        return done()

    async def stats(self, request: web.Request) -> web.Response:
        buffer, counts = await self._buffers.counts(path_id(request, "buffer"))
        ended = buffer.completed + buffer.failed
        return answer(
            {
                "pending": counts.pending,
                "running": counts.running,
                "completed": buffer.completed,
                "failed": buffer.failed,
                "total": counts.pending + counts.running + ended,
                "success_rate": buffer.completed / ended if ended else 0,
            }
        )

    async def push(self, request: web.Request) -> web.Response:
        buffer_id = path_id(request, "buffer")
        asked, problems, _ = await asking.read(request, NewItem)
        created = await self._buffers.push(
            buffer_id, AskedItem(item_draft(asked), problems), token_id=asking.token_of(request)
        )
        if created.replayed:
            return answer(item_view(created.job), headers={"Idempotent-Replayed": "true"})
        return answer(item_view(created.job), status=201)

    async def list_items(self, request: web.Request) -> web.Response:
        part = asking.part(request, ITEM_CURSOR)
        found, next_pk = await self._buffers.items(
            path_id(request, "buffer"),
            status=asking.status(request, STATUSES),
            before_pk=part.before_pk,
            limit=part.limit,
        )
        return answer({"items": [item_view(item) for item in found], "next_cursor": write_cursor(next_pk, ITEM_CURSOR)})

    async def get_item(self, request: web.Request) -> web.Response:
        return answer(item_view(await self._buffers.item(*_ids(request))))

    async def replay_item(self, request: web.Request) -> web.Response:
        return answer(item_view(await self._buffers.replay(*_ids(request))), status=201)


def _ids(request: web.Request) -> tuple[str, str]:
    return path_id(request, "buffer"), path_id(request, "item", "item_id")
