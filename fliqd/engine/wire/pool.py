"""Idle connections, kept a few seconds for the next request to the same origin."""

import asyncio
from collections import OrderedDict, deque
from typing import Final

from fliqd.engine.wire.connection import Connection
from fliqd.engine.wire.stopwatch import Monotonic

FRESH_S: Final = 0.005


class Pool:
    """Last in, first out, so that a lull lets the surplus go.

    At most `per_origin` idle connections each and `total` in all; beyond that the one longest idle makes
    room. After `idle_s` a connection is closed: below the five seconds after which common servers do it,
    since a request that meets such a close is lost. One timer serves all, none runs while nothing is kept.
    """

    def __init__(self, *, now: Monotonic, per_origin: int, total: int, idle_s: float) -> None:
        self._now = now
        self._per_origin = per_origin
        self._total = total
        self._idle_s = idle_s
        self._stacks: dict[str, deque[Connection]] = {}
        self._since: OrderedDict[Connection, tuple[str, float]] = OrderedDict()  # longest idle first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    @property
    def has_timer(self) -> bool:
        return self._timer is not None

    def take(self, key: str) -> Connection | None:
        """Return the connection used last that can still carry a request; it is no longer the pool's."""
        stack = self._stacks.get(key)
        while stack:
            connection = stack.pop()
            _, since = self._since.pop(connection)
            if not stack:
                del self._stacks[key]
            # A look into the kernel is spared where the target is known to keep it open, and has just answered.
            fresh = connection.proven and connection.is_open and self._now() - since < FRESH_S
            if fresh or connection.is_quiet():
                return connection
            connection.drop()
        return None

    def put(self, key: str, connection: Connection) -> None:
        """Keep a clean connection."""
        stack = self._stacks.get(key)
        if stack is None:
            stack = self._stacks[key] = deque()
        elif len(stack) >= self._per_origin:
            self._evict(stack[0])
            stack = self._stacks.setdefault(key, stack)
        stack.append(connection)
        self._since[connection] = (key, self._now())
        if len(self._since) > self._total:
            self._evict(next(iter(self._since)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._expire)

    def clear(self) -> None:
        """Forget all connections; closing them is up to the caller."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stacks.clear()
        self._since.clear()

    def _expire(self) -> None:
        self._timer = None
        while self._since:
            connection, (_, since) = next(iter(self._since.items()))
            left_s = since + self._idle_s - self._now()
            if left_s > 0:
                self._timer = asyncio.get_running_loop().call_later(left_s, self._expire)
                return
            self._evict(connection)

    def _evict(self, connection: Connection) -> None:
        """Close a connection that is the longest idle of its origin."""
        key, _ = self._since.pop(connection)
        stack = self._stacks[key]
        stack.popleft()
        if not stack:
            del self._stacks[key]
        connection.close()
