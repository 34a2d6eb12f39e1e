"""What can be done with buffers and their items."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from fliqd.clock import Clock
from fliqd.core import lifecycle
from fliqd.core.buffers import BUFFER_ORDER, Buffer, BufferDraft, ItemDraft, buffer_fields, item_of
from fliqd.core.drafts import MAX_KEY, Defaults, content_fields, in_order, told_somewhere, whole_url
from fliqd.core.headers import check_headers, check_size
from fliqd.core.model import HELD_MS, NO_QUEUE, Execution, Job, JobStatus, Source, lane_of
from fliqd.core.pacing import Bucket, filled
from fliqd.errors import ConflictError, FliqdError, InvalidError, NotFoundError, Problem
from fliqd.store.base import BufferCounts, Created, Store

FULL: Final = 1e9  # more tokens than any bucket holds


class AskedBuffer(NamedTuple):
    """A draft as it came in, with what was already wrong with it."""

    draft: BufferDraft
    problems: Sequence[Problem] = ()


class AskedItem(NamedTuple):
    """A draft as it came in, with what was already wrong with it."""

    draft: ItemDraft
    problems: Sequence[Problem] = ()


class BufferService:
    """Creates, reads and changes buffers, and pushes items; every rule is in `core`, every transaction in the store."""

    def __init__(
        self, *, store: Store, clock: Clock, new_ulid: Callable[[], str], defaults: Callable[[], Defaults]
    ) -> None:
        self._store = store
        self._buffers = store.buffers
        self._clock = clock
        self._new_ulid = new_ulid
        self._defaults = defaults

    async def create(self, asked: AskedBuffer, *, dialect: str = "v1", token_id: str | None = None) -> Buffer:
        """Add a buffer; raise InvalidError with everything that is wrong, ConflictError for a name that is taken."""
        buffer = self.new(asked, self._clock.now_ms())
        return await self._buffers.create(msgspec.structs.replace(buffer, dialect=dialect, token_id=token_id))

    def new(self, asked: AskedBuffer, now_ms: int) -> Buffer:
        """Return the buffer that is asked for; raise InvalidError."""
        problems = list(asked.problems)
        defaults = self._defaults()
        fields = buffer_fields(asked.draft, defaults, now_ms, problems)
        at_fault = {problem.field for problem in problems}
        problems += [
            Problem(name, "is required")
            for name in ("url", "name")
            if getattr(asked.draft, name) in (UNSET, None) and name not in at_fault
        ]
        problems += told_somewhere(asked.draft, at_fault)
        if problems:
            raise InvalidError(in_order(problems, BUFFER_ORDER))
        for name in ("timeout_ms", "backoff"):
            fields.setdefault(name, getattr(defaults, name))
        buffer = Buffer(
            id=f"buf_{self._new_ulid()}",
            created_ms=now_ms,
            updated_ms=now_ms,
            paused_ms=now_ms if asked.draft.paused is True else None,
            tokens=FULL,
            tokens_ms=now_ms,
            **fields,
        )
        _judge(buffer)
        return buffer

    async def get(self, buffer_id: str) -> Buffer:
        """Return a buffer; raise NotFoundError."""
        return await self._buffers.get(buffer_id)

    async def page(self, *, name: str | None, before_pk: int | None, limit: int) -> tuple[Sequence[Buffer], int | None]:
        """Return buffers, newest first, and the pk to go on before, None at the end."""
        found, more = await self._buffers.page(name=name, before_pk=before_pk, limit=limit)
        return found, found[-1].pk if more else None

    async def update(self, buffer_id: str, asked: AskedBuffer) -> Buffer:
        """Change a buffer; items that are in it stay as they are, its rate counts from now on."""
        now_ms = self._clock.now_ms()
        problems = list(asked.problems)
        fields = buffer_fields(asked.draft, self._defaults(), now_ms, problems)
        if "name" in fields and fields["name"] is None:
            problems.append(Problem("name", "cannot be taken away"))
        if problems:
            raise InvalidError(in_order(problems, BUFFER_ORDER))
        paused = asked.draft.paused

        def change(old: Buffer) -> Buffer:
            new = edited(_own(old), fields, now_ms)
            _judge(new)
            return with_pause(new, now_ms, paused=paused) if isinstance(paused, bool) else new

        return await self._buffers.change(buffer_id, change, now_ms)

    async def pause(self, buffer_id: str) -> Buffer:
        """Send no more; pushes are taken all the same."""
        return await self._set_pause(buffer_id, paused=True)

    async def resume(self, buffer_id: str) -> Buffer:
        """Go on where it stopped."""
        return await self._set_pause(buffer_id, paused=False)

    async def _set_pause(self, buffer_id: str, *, paused: bool) -> Buffer:
        now_ms = self._clock.now_ms()
        return await self._buffers.change(buffer_id, lambda old: with_pause(old, now_ms, paused=paused), now_ms)

    async def delete(self, buffer_id: str) -> None:
        """Delete a buffer and its items; the one that is under way ends, and goes then."""
        now_ms = self._clock.now_ms()
        await self._buffers.change(
            buffer_id, lambda old: msgspec.structs.replace(_own(old), deleted_ms=now_ms, updated_ms=now_ms), now_ms
        )
        while await self._buffers.delete_items(buffer_id):
            pass

    async def counts(self, buffer_id: str) -> tuple[Buffer, BufferCounts]:
        """Return a buffer, and how many of its items have not ended."""
        return await self._buffers.get(buffer_id), await self._buffers.counts(buffer_id)

    # Items

    async def push(self, buffer_id: str, asked: AskedItem, *, token_id: str | None = None) -> Created:
        """Add an item at the tail; raise NotFoundError, InvalidError."""
        [result] = await self.push_many(buffer_id, [asked], token_id=token_id)
        if isinstance(result, FliqdError):
            raise result
        return result

    async def push_many(
        self, buffer_id: str, asks: Sequence[AskedItem], *, token_id: str | None = None
    ) -> list[Created | FliqdError]:
        """Add those that are right, in one transaction and in their order; the others come back as their errors."""
        buffer = await self._buffers.get(buffer_id)
        now_ms = self._clock.now_ms()
        made: list[Job | FliqdError] = []
        for asked in asks:
            try:
                made.append(self._item(buffer, asked, now_ms, token_id))
            except InvalidError as err:
                made.append(err)
        right = [item for item in made if isinstance(item, Job)]
        created = iter(await self._buffers.push(buffer_id, right, now_ms) if right else [])
        return [next(created) if isinstance(item, Job) else item for item in made]

    async def item(self, buffer_id: str, item_id: str) -> Job:
        """Return an item; raise NotFoundError."""
        await self._buffers.get(buffer_id)
        item = await self._store.job(item_id)
        if item.buffer_id != buffer_id:
            raise NotFoundError("item", item_id)
        return item

    async def items(
        self, buffer_id: str, *, status: JobStatus | None, before_pk: int | None, limit: int
    ) -> tuple[Sequence[Job], int | None]:
        """Return items, newest first, and the pk to go on before, None at the end; raise NotFoundError."""
        await self._buffers.get(buffer_id)
        page = await self._buffers.items(buffer_id, status=status, before_pk=before_pk, limit=limit)
        return page.jobs, page.next_pk

    async def executions(self, buffer_id: str, item_id: str) -> Sequence[Execution]:
        """Return the attempts at an item, newest first."""
        await self.item(buffer_id, item_id)
        return await self._store.executions(item_id)

    async def replay(self, buffer_id: str, item_id: str) -> Job:
        """Push a failed item again, at the tail."""
        failed = await self.item(buffer_id, item_id)
        now_ms = self._clock.now_ms()
        again = lifecycle.replay(failed, new_id=f"item_{self._new_ulid()}", now_ms=now_ms, token_id=failed.token_id)
        again = msgspec.structs.replace(again, next_attempt_ms=HELD_MS, lane=lane_of(NO_QUEUE, failed.host))
        return (await self._buffers.push(buffer_id, [again], now_ms))[0].job

    def _item(self, buffer: Buffer, asked: AskedItem, now_ms: int, token_id: str | None) -> Job:
        problems = list(asked.problems)
        draft = asked.draft
        fields: dict[str, Any] = content_fields(draft.body, draft.json, problems)
        if isinstance(draft.headers, dict):
            problems += check_headers("headers", draft.headers)
            fields["headers"] = draft.headers
        if isinstance(draft.idempotency_key, str):
            if not 1 <= len(draft.idempotency_key) <= MAX_KEY:
                problems.append(Problem("idempotency_key", f"expected 1 to {MAX_KEY} characters"))
            fields["idempotency_key"] = draft.idempotency_key
        if problems:
            raise InvalidError(problems)
        item = item_of(buffer, item_id=f"item_{self._new_ulid()}", fields=fields, now_ms=now_ms)
        # What the references of its buffer make of the headers is only known when they are sent.
        merged = check_size if item.has_references else check_headers
        problems += [
            Problem(wrong.field, f"with those of its buffer: {wrong.problem}")
            for wrong in merged("headers", item.headers)
        ]
        if problems:
            raise InvalidError(problems)
        return msgspec.structs.replace(item, token_id=token_id)


def edited(old: Buffer, fields: dict[str, Any], now_ms: int) -> Buffer:
    """Return a buffer with new fields, its bucket filled at the old rate up to now."""
    level = filled(Bucket(old.tokens, old.tokens_ms), old.rate_limit, now_ms)
    return msgspec.structs.replace(old, **fields, updated_ms=now_ms, tokens=level, tokens_ms=now_ms)


def with_pause(buffer: Buffer, now_ms: int, *, paused: bool) -> Buffer:
    """Return a buffer that is paused, or not."""
    if paused == (buffer.paused_ms is not None):
        return buffer
    return msgspec.structs.replace(buffer, paused_ms=now_ms if paused else None, updated_ms=now_ms)


def _judge(buffer: Buffer) -> None:
    problems = list(whole_url(buffer.url, buffer.query))
    if problems:
        raise InvalidError(problems)


def _own(buffer: Buffer) -> Buffer:
    if buffer.source is Source.CONFIG:
        message = f'the buffer "{buffer.name}" is declared in the configuration file: change it there and reload'
        raise ConflictError(message, "managed_by_config")
    return buffer
