"""The pool: last in, first out, bounded, and empty after a while by one timer."""

import asyncio
from typing import cast

import pytest

from fliqd.engine.wire.connection import Connection
from fliqd.engine.wire.pool import FRESH_S, Pool


class Kept:
    """As much of a connection as the pool sees."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.quiet = True
        self.is_open = True
        self.proven = False
        self.closed = False
        self.dropped = False

    def is_quiet(self) -> bool:
        return self.quiet

    def close(self) -> None:
        self.closed = True

    def drop(self) -> None:
        self.dropped = True


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def put(a_pool: Pool, origin: str, connection: Kept) -> None:
    a_pool.put(origin, cast("Connection", connection))


def take(a_pool: Pool, origin: str) -> Kept | None:
    return cast("Kept | None", a_pool.take(origin))


def pool(*, per_origin: int = 3, total: int = 5, idle_s: float = 0.01) -> tuple[Pool, Time]:
    time = Time()
    return Pool(now=time, per_origin=per_origin, total=total, idle_s=idle_s), time


def kept(count: int) -> list[Kept]:
    return [Kept(str(i)) for i in range(count)]


async def test_only_a_proven_connection_that_has_just_answered_is_not_looked_at() -> None:
    a_pool, time = pool()
    (connection,) = kept(1)
    connection.quiet = False
    for proven, waited_s, expected in ((True, 0.0, connection), (True, FRESH_S, None), (False, 0.0, None)):
        connection.proven = proven
        put(a_pool, "a", connection)
        time.now += waited_s
        assert take(a_pool, "a") is expected
    connection.proven, connection.is_open = True, False
    put(a_pool, "a", connection)
    assert take(a_pool, "a") is None


async def test_last_in_first_out() -> None:
    a_pool, _ = pool()
    one, two, three = kept(3)
    for connection in (one, two, three):
        put(a_pool, "a", connection)
    assert [take(a_pool, "a") for _ in range(4)] == [three, two, one, None]
    assert len(a_pool) == 0
    a_pool.clear()


async def test_origins_are_apart() -> None:
    a_pool, _ = pool()
    put(a_pool, "a", Kept("a"))
    assert take(a_pool, "b") is None
    assert len(a_pool) == 1
    a_pool.clear()


async def test_the_longest_idle_makes_room_within_its_origin() -> None:
    a_pool, _ = pool(per_origin=2)
    connections = kept(4)
    for connection in connections:
        put(a_pool, "a", connection)
    assert [connection.closed for connection in connections] == [True, True, False, False]
    assert len(a_pool) == 2
    a_pool.clear()


@pytest.mark.parametrize("per_origin", [1, 3])
async def test_the_longest_idle_of_all_makes_room_in_the_whole(per_origin: int) -> None:
    a_pool, _ = pool(per_origin=per_origin, total=3)
    connections = kept(6)
    for i, connection in enumerate(connections):
        put(a_pool, f"origin {i}", connection)
    assert [connection.closed for connection in connections] == [True] * 3 + [False] * 3
    assert [take(a_pool, f"origin {i}") for i in range(6)] == [None] * 3 + connections[3:]
    a_pool.clear()


async def test_one_per_origin_replaces_the_last() -> None:
    a_pool, _ = pool(per_origin=1)
    one, two = kept(2)
    put(a_pool, "a", one)
    put(a_pool, "a", two)
    assert (one.closed, take(a_pool, "a"), take(a_pool, "a")) == (True, two, None)
    a_pool.clear()


async def test_a_dead_connection_is_passed_over() -> None:
    a_pool, _ = pool()
    alive, dead = kept(2)
    dead.quiet = False
    put(a_pool, "a", alive)
    put(a_pool, "a", dead)
    assert take(a_pool, "a") is alive
    assert dead.dropped
    a_pool.clear()


async def test_idle_connections_are_closed_in_time_and_the_timer_ends() -> None:
    a_pool, time = pool(idle_s=0.002)
    early, late = kept(2)
    put(a_pool, "a", early)
    time.now = 0.0015
    put(a_pool, "b", late)
    time.now = 0.0025
    await asyncio.sleep(0.004)
    assert (early.closed, late.closed, len(a_pool)) == (True, False, 1)
    time.now = 1
    await asyncio.sleep(0.004)
    assert (late.closed, len(a_pool), a_pool.has_timer) == (True, 0, False)
