"""The part of the store contract that is about buffers and queues.

Of a buffer's items only the first has a time; the others are held until the transaction that ends it. So their order
is that of the table, whatever happens, and a buffer costs memory for one item at most.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from fliqd.core.buffers import FIRST_ITEM_PK, Buffer, released, released_anew
from fliqd.core.due_heap import DueEntry
from fliqd.core.model import DEFAULT_QUEUE, FINAL, HELD_MS, NO_QUEUE, Job, JobStatus, lane_of
from fliqd.core.queues import Queue
from fliqd.errors import ConflictError, FliqdError, NotFoundError
from fliqd.store.base import BufferCounts, Created, Finish, Page, QueueCounts, Reconciliation
from fliqd.store.sqlite import rows
from fliqd.store.sqlite.budget import that_fit
from fliqd.store.sqlite.queries import Read
from fliqd.store.sqlite.writer import Transaction, Writer

BEFORE_ALL: Final = (1 << 63) - 1
DELETE_BATCH: Final = 200  # items a transaction: a create may have to wait for it


class _Push(NamedTuple):
    buffer_id: str
    items: Sequence[Job]
    now_ms: int


class _Change(NamedTuple):
    buffer_id: str
    change: Callable[[Buffer], Buffer]
    now_ms: int


class _QueueChange(NamedTuple):
    name: str
    change: Callable[[Queue | None], Queue | None]


class SqliteBuffers:
    """See `store.base.Buffers` for what each operation promises."""

    def __init__(
        self,
        writer: Writer,
        read: Read,
        *,
        insert: Callable[[Transaction, Sequence[Job]], Sequence[int]],
        has_room: Callable[[Transaction, Sequence[Sequence[Job]]], Exception | None],
    ) -> None:
        self._writer = writer
        self._read = read
        self._insert = insert
        self._has_room = has_room

    # Buffers

    async def create(self, buffer: Buffer) -> Buffer:
        return await self._writer.write(self._create, buffer)

    def _create(self, tx: Transaction, wanted: list[Buffer]) -> list[Buffer | Exception]:
        return [_create_one(tx, buffer) for buffer in wanted]

    async def get(self, buffer_id: str) -> Buffer:
        found = await self._read("buffer_by_id", {"id": buffer_id, "deleted_too": False})
        if not found:
            raise NotFoundError("buffer", buffer_id)
        return rows.buffer(found[0])

    async def page(self, *, name: str | None, before_pk: int | None, limit: int) -> tuple[list[Buffer], bool]:
        before = BEFORE_ALL if before_pk is None else before_pk
        values = {"before_pk": before, "limit": limit + 1, "name": name}
        found = await self._read("buffers_newest_first", values, "" if name is None else "AND name = :name")
        return [rows.buffer(row) for row in found[:limit]], len(found) > limit

    async def all(self) -> list[Buffer]:
        return [rows.buffer(row) for row in await self._read("buffers_all", {})]

    async def change(self, buffer_id: str, change: Callable[[Buffer], Buffer], now_ms: int) -> Buffer:
        return await self._writer.write(self._change, _Change(buffer_id, change, now_ms))

    def _change(self, tx: Transaction, changes: list[_Change]) -> list[Buffer | Exception]:
        return [_change_one(tx, change) for change in changes]

    async def deleted(self) -> list[str]:
        return [row[0] for row in await self._read("buffers_deleted", {})]

    async def delete_items(self, buffer_id: str) -> bool:
        return await self._writer.write(self._delete_items, buffer_id, rows=DELETE_BATCH)

    def _delete_items(self, tx: Transaction, ids: list[str]) -> list[bool]:
        answers = []
        for buffer_id in ids:
            gone = tx.rows("items_delete", {"id": buffer_id, "limit": DELETE_BATCH})
            if not gone:
                tx.rows("buffer_delete", {"id": buffer_id})
            answers.append(bool(gone))
        return answers

    # Items

    async def push(self, buffer_id: str, items: Sequence[Job], now_ms: int) -> list[Created]:
        return await self._writer.write(self._push, _Push(buffer_id, items, now_ms), rows=len(items))

    def _push(self, tx: Transaction, pushes: list[_Push]) -> list[list[Created] | Exception]:
        if (full := self._has_room(tx, [push.items for push in pushes])) is not None:
            return [full] * len(pushes)
        wanted = {push.buffer_id for push in pushes}
        found = {buffer_id: tx.rows("buffer_by_id", {"id": buffer_id, "deleted_too": False}) for buffer_id in wanted}
        buffers = {buffer_id: rows.buffer(row[0]) for buffer_id, row in found.items() if row}
        waits = {buffer_id for buffer_id in buffers if tx.rows("item_first", {"id": buffer_id})}
        known = _known(tx, [item for push in pushes for item in push.items])
        new: list[Job] = []
        results: list[list[Created] | Exception] = []
        for push in pushes:
            buffer = buffers.get(push.buffer_id)
            if buffer is None:
                results.append(NotFoundError("buffer", push.buffer_id))
                continue
            created = []
            for asked in push.items:
                item = asked
                key = (item.dialect, item.idempotency_key)
                if item.idempotency_key and key in known:
                    created.append(Created(known[key], replayed=True))
                    continue
                if buffer.id not in waits:
                    waits.add(buffer.id)
                    buffer, next_ms = released(buffer, item.scheduled_ms, push.now_ms)
                    buffers[buffer.id] = buffer
                    _keep_pace(tx, buffer)
                    item = msgspec.structs.replace(item, next_attempt_ms=next_ms)
                new.append(item)
                created.append(Created(item, replayed=False))
                if item.idempotency_key:
                    known[key] = item
            results.append(created)
        self._insert(tx, new)
        return results

    async def items(self, buffer_id: str, *, status: JobStatus | None, before_pk: int | None, limit: int) -> Page:
        values = {"id": buffer_id, "before_pk": BEFORE_ALL if before_pk is None else before_pk, "limit": limit + 1}
        values |= {"status": status and str(status)}
        more = "" if status is None else "AND status = :status"
        sizes = await self._read("item_sizes_newest_first", values, more)
        count = that_fit(sizes[:limit])
        if not count:
            return Page([], None)
        last_pk = sizes[count - 1][0]
        found = await self._read("items_newest_first", values | {"limit": count}, f"AND pk >= {last_pk} {more}")
        return Page([rows.job(row) for row in found], last_pk if count < len(sizes) else None)

    async def counts(self, buffer_id: str) -> BufferCounts:
        found = dict(await self._read("items_counts", {"id": buffer_id}))
        return BufferCounts(found.get("scheduled", 0), found.get("running", 0))

    # Queues

    async def queues(self) -> list[Queue]:
        return [rows.queue(row) for row in await self._read("queues_all", {})]

    async def queue_counts(self) -> dict[str, QueueCounts]:
        counts: dict[str, dict[str, int]] = {}
        for queue, status, count in await self._read("queues_live", {}):
            counts.setdefault(queue, {})[status] = count
        everything = dict(await self._read("jobs_live", {"first_item_pk": FIRST_ITEM_PK}))
        counts["default"] = {
            status: count - sum(other.get(status, 0) for other in counts.values())
            for status, count in everything.items()
        }
        return {name: QueueCounts(some.get("scheduled", 0), some.get("running", 0)) for name, some in counts.items()}

    async def queue(self, name: str) -> tuple[Queue | None, QueueCounts]:
        found = await self._read("queue_by_name", {"name": name})
        live = (await self.queue_counts())["default"] if name == DEFAULT_QUEUE else await self._queue_counts_of(name)
        return rows.queue(found[0]) if found else None, live

    async def _queue_counts_of(self, name: str) -> QueueCounts:
        found = dict(await self._read("queue_live", {"name": name}))
        return QueueCounts(found.get("scheduled", 0), found.get("running", 0))

    async def change_queue(self, name: str, change: Callable[[Queue | None], Queue | None]) -> Queue | None:
        return await self._writer.write(self._change_queue, _QueueChange(name, change))

    def _change_queue(self, tx: Transaction, changes: list[_QueueChange]) -> list[Queue | Exception | None]:
        return [self._change_one_queue(tx, wanted) for wanted in changes]

    def _change_one_queue(self, tx: Transaction, wanted: _QueueChange) -> Queue | Exception | None:
        found = tx.rows("queue_by_name", {"name": wanted.name})
        try:
            queue = wanted.change(rows.queue(found[0]) if found else None)
        except FliqdError as err:
            return err
        if queue is None:
            tx.run("queue_delete", (wanted.name,))
        else:
            tx.run("queue_put", rows.queue_values(queue))
        return queue


def differ(tx: Transaction, wanted: Reconciliation) -> bool:
    """Tell whether buffers have changed since they were read, or a new one's name has been taken."""
    for old, _ in wanted.change_buffers:
        found = tx.rows("buffer_by_id", {"id": old.id, "deleted_too": False})
        if not found or rows.buffer(found[0]).updated_ms != old.updated_ms:
            return True
    return any(_name_taken(tx, buffer) is not None for buffer in wanted.create_buffers)


def reconcile(tx: Transaction, wanted: Reconciliation) -> None:
    """Make buffers and queues as the configuration file declares them."""
    for buffer in wanted.create_buffers:
        _create_one(tx, buffer)
    for old, change in wanted.change_buffers:
        _change_one(tx, _Change(old.id, change, wanted.now_ms))
    tx.each("queue_put", [rows.queue_values(queue) for queue in wanted.put_queues])
    tx.each("queue_delete", [(name,) for name in wanted.drop_queues])


def _create_one(tx: Transaction, buffer: Buffer) -> Buffer | Exception:
    if (taken := _name_taken(tx, buffer)) is not None:
        return taken
    values = rows.buffer_values(buffer)
    del values["pk"]
    return msgspec.structs.replace(buffer, pk=tx.rows("buffer_insert", values)[0][0])


def _change_one(tx: Transaction, wanted: _Change) -> Buffer | Exception:
    found = tx.rows("buffer_by_id", {"id": wanted.buffer_id, "deleted_too": False})
    if not found:
        return NotFoundError("buffer", wanted.buffer_id)
    old = rows.buffer(found[0])
    try:
        new = wanted.change(old)
    except FliqdError as err:
        return err
    if (taken := _name_taken(tx, new)) is not None:
        return taken
    if any(getattr(new, name) != getattr(old, name) for name in ("paused_ms", "deleted_ms", "rate_limit")):
        for pk, lane, status, next_ms in tx.rows("item_first", {"id": new.id}):
            if status == JobStatus.SCHEDULED:
                new, again_ms = released_anew(new, next_ms, wanted.now_ms)
                _tell(tx, _wait(tx, pk, lane, again_ms))
    tx.run("buffer_replace", rows.buffer_values(new))
    return new


def settled(tx: Transaction, end: Finish) -> DueEntry | None:
    """Go on with a buffer after an attempt at its first item: with the next one, or with the same at another time.

    Return which waits for what time now, None for none.
    """
    item, status = end.job, end.settlement.status
    buffer = rows.buffer(tx.rows("buffer_by_id", {"id": item.buffer_id, "deleted_too": True})[0])
    if buffer.deleted_ms is not None:
        tx.run("item_delete", (item.pk,))
        tx.rows("buffer_delete", {"id": buffer.id})  # unless there are more to delete
        return None
    if status in FINAL:
        return _go_on(tx, buffer, end.now_ms, completed=status is JobStatus.SUCCESS)
    buffer, next_ms = released(buffer, end.settlement.next_attempt_ms or end.now_ms, end.now_ms)
    _keep_pace(tx, buffer)
    return _wait(tx, item.pk, lane_of(NO_QUEUE, item.host), next_ms)


def failed(tx: Transaction, buffer_id: str | None, now_ms: int) -> None:
    """Go on with a buffer whose first item has failed without an answer."""
    if buffer_id is not None:
        buffer = rows.buffer(tx.rows("buffer_by_id", {"id": buffer_id, "deleted_too": True})[0])
        _tell(tx, _go_on(tx, buffer, now_ms, completed=False))


def _go_on(tx: Transaction, buffer: Buffer, now_ms: int, *, completed: bool) -> DueEntry | None:
    entry = None
    for pk, lane, scheduled_ms in tx.rows("item_next", {"id": buffer.id}):
        # Of a clock that was set back since the push, the item knows nothing.
        buffer, next_ms = released(buffer, min(scheduled_ms, now_ms), now_ms)
        entry = _wait(tx, pk, lane, next_ms)
    _keep_pace(tx, buffer, completed=int(completed), failed=int(not completed))
    return entry


def _wait(tx: Transaction, pk: int, lane: str, next_ms: int) -> DueEntry | None:
    """Have an item wait for a time; return its place in the due index, None where it is held."""
    tx.run("item_due", (next_ms, pk))
    return None if next_ms == HELD_MS else DueEntry(next_ms, pk, lane)


def _tell(tx: Transaction, entry: DueEntry | None) -> None:
    if entry is not None:
        tx.due.append(entry)


def _keep_pace(tx: Transaction, buffer: Buffer, *, completed: int = 0, failed: int = 0) -> None:
    tx.run("buffer_paced", (buffer.tokens, buffer.tokens_ms, buffer.head_next_ms, completed, failed, buffer.pk))


def _known(tx: Transaction, items: Sequence[Job]) -> dict[tuple[str, str | None], Job]:
    """Return the items that the idempotency keys among `items` have made already."""
    keys = [(item.dialect, item.idempotency_key) for item in items if item.idempotency_key]
    if not keys:
        return {}
    found = map(rows.job, tx.rows("jobs_by_key", {"keys": msgspec.json.encode(keys).decode()}))
    return {(item.dialect, item.idempotency_key): item for item in found}


def _name_taken(tx: Transaction, buffer: Buffer) -> ConflictError | None:
    if buffer.deleted_ms is not None:
        return None
    for (other_id,) in tx.rows("buffer_name_taken", {"name": buffer.name, "pk": buffer.pk}):
        return ConflictError(f'the name "{buffer.name}" is taken by {other_id}; names are unique', "name_taken")
    return None
