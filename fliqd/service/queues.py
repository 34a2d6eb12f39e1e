"""What can be done with queues: their limits, and what waits in them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from fliqd.clock import Clock
from fliqd.core.model import DEFAULT_QUEUE, Source
from fliqd.core.queues import NAME, Queue, QueueDraft, queue_fields
from fliqd.errors import ConflictError, InvalidError, NotFoundError, Problem
from fliqd.store.base import Buffers, QueueCounts

NOTHING: Final = QueueCounts(0, 0)
MOST_TOLD: Final = 100  # queues that are told apart in the metrics
OTHERS: Final = "(others)"  # no queue's name


class AskedQueue(NamedTuple):
    """A draft as it came in, with what was already wrong with it."""

    draft: QueueDraft
    problems: Sequence[Problem] = ()


class QueueService:
    """Sets limits: in the store, and from then on at the door of the dispatcher."""

    def __init__(self, *, store: Buffers, clock: Clock, limit: Callable[[Queue], None]) -> None:
        self._store = store
        self._clock = clock
        self._limit = limit

    async def load(self) -> None:
        """Put the limits that the store knows into effect."""
        for queue in await self._store.queues():
            self._limit(queue)

    async def took_over(self, names: Sequence[str]) -> None:
        """Put into effect what the configuration file has changed; `names` are those that have no limits any more."""
        for name in names:
            self._limit(bare(name))
        await self.load()

    async def all(self) -> list[tuple[Queue, QueueCounts]]:
        """Return every queue that has limits or live jobs, by name, and the default one."""
        known = {queue.name: queue for queue in await self._store.queues()}
        counts = await self._store.queue_counts()
        names = sorted({DEFAULT_QUEUE, *known, *counts})
        return [(known.get(name) or bare(name), counts.get(name, NOTHING)) for name in names]

    async def depths(self) -> dict[str, QueueCounts]:
        """Return how much waits and runs in the default queue, in those that have limits, and in all others together.

        Names that somebody has set limits for are few and stay; what jobs say is as many as they please.
        """
        counts = await self._store.queue_counts()
        limited = [queue.name for queue in await self._store.queues() if queue.name != DEFAULT_QUEUE]
        told = (DEFAULT_QUEUE, *limited[:MOST_TOLD])
        depths = {name: counts.pop(name, NOTHING) for name in told}
        rest = counts.values()
        others = QueueCounts(sum(one.waiting for one in rest), sum(one.running for one in rest))
        return depths | {OTHERS: others}

    async def get(self, name: str) -> tuple[Queue, QueueCounts]:
        """Return a queue; one that nobody has set limits for and that holds nothing is there all the same."""
        _check(name)
        found, counts = await self._store.queue(name)
        return found or bare(name), counts

    async def put(self, name: str, asked: AskedQueue) -> None:
        """Set the limits of a queue: those that the draft leaves out are taken away, but for its pause."""
        await self._set(name, asked, {"concurrency": None, "rate": None})

    async def update(self, name: str, asked: AskedQueue) -> None:
        """Set some limits of a queue: those that the draft leaves out stay as they are."""
        await self._set(name, asked, {})

    async def _set(self, name: str, asked: AskedQueue, defaults: Mapping[str, None]) -> None:
        _check(name)
        problems = list(asked.problems)
        fields = queue_fields(asked.draft, problems)
        if isinstance(asked.draft.name, str) and asked.draft.name != name:
            problems.append(Problem("name", f'differs from the "{name}" of the path'))
        if problems:
            raise InvalidError(problems)
        now_ms = self._clock.now_ms()
        paused = asked.draft.paused

        def change(old: Queue | None) -> Queue:
            limits = {**defaults, "updated_ms": now_ms, **fields}
            new = msgspec.structs.replace(_own(old or bare(name, now_ms)), **limits)
            return with_pause(new, now_ms, paused=paused) if isinstance(paused, bool) else new

        await self._change(name, change)

    async def pause(self, name: str, *, paused: bool) -> None:
        """Let no more jobs of it leave, or go on; those that are under way end."""
        _check(name)
        now_ms = self._clock.now_ms()
        await self._change(name, lambda old: with_pause(old or bare(name, now_ms), now_ms, paused=paused))

    async def delete(self, name: str) -> None:
        """Forget the limits of a queue, and its pause; raise NotFoundError where it has none. Its jobs stay."""
        _check(name)

        def change(old: Queue | None) -> None:
            if old is None:
                raise NotFoundError("queue with limits", name)
            _own(old)

        await self._change(name, change)

    async def _change(self, name: str, change: Callable[[Queue | None], Queue | None]) -> None:
        queue = await self._store.change_queue(name, change)
        self._limit(queue or bare(name))


def _own(queue: Queue) -> Queue:
    if queue.source is Source.CONFIG:
        message = f'the queue "{queue.name}" is declared in the configuration file: change it there and reload'
        raise ConflictError(message, "managed_by_config")
    return queue


def bare(name: str, now_ms: int = 0) -> Queue:
    """Return a queue without limits."""
    return Queue(name=name, created_ms=now_ms, updated_ms=now_ms)


def with_pause(queue: Queue, now_ms: int, *, paused: bool) -> Queue:
    """Return a queue that is paused, or not."""
    if paused == (queue.paused_ms is not None):
        return queue
    return msgspec.structs.replace(queue, paused_ms=now_ms if paused else None, updated_ms=now_ms)


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise NotFoundError("queue", f"{name[:64]!r}: names have 1 to 64 of the characters a-z A-Z 0-9 _ -")
