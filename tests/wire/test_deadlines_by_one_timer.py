"""One timer for the deadlines of all: the earliest counts, and none is left when nothing is under way."""

import asyncio
import time
from typing import cast

import pytest

from fliqd.engine.wire.connection import Connection
from fliqd.engine.wire.deadlines import Deadlines
from tests.support import PATIENCE_S


class Busy:
    """As much of a connection as a deadline sees."""

    def __init__(self, name: str, expired: list[str]) -> None:
        self._name = name
        self._expired = expired
        self.gone = asyncio.Event()

    def expire(self) -> None:
        self._expired.append(self._name)
        self.gone.set()


def a_connection(name: str, expired: list[str]) -> Connection:
    return cast("Connection", Busy(name, expired))


@pytest.mark.parametrize("waits", [(0.01, 0.03, 0.02), (0.03, 0.02, 0.01), (0.01, 0.01, 0.01)])
async def test_they_expire_in_the_order_of_their_deadlines(waits: tuple[float, ...]) -> None:
    expired: list[str] = []
    deadlines = Deadlines(time.monotonic)
    connections = [a_connection(str(number), expired) for number in range(len(waits))]
    for connection, wait_s in zip(connections, waits, strict=True):
        deadlines.set(connection, wait_s)
    for connection in connections:
        await asyncio.wait_for(cast("Busy", connection).gone.wait(), PATIENCE_S)
    assert expired == sorted("012", key=lambda name: waits[int(name)])
    assert not deadlines.has_timer


async def test_after_a_long_turn_of_the_loop_they_expire_in_order_too() -> None:
    expired: list[str] = []
    now = 0.0
    deadlines = Deadlines(lambda: now)
    late, early = a_connection("late", expired), a_connection("early", expired)
    deadlines.set(late, 0.02)
    deadlines.set(early, 0.01)
    now = 1.0
    await asyncio.wait_for(cast("Busy", late).gone.wait(), PATIENCE_S)
    assert expired == ["early", "late"]


async def test_what_came_while_the_process_was_frozen_is_read_first() -> None:
    expired: list[str] = []
    now = 0.0
    deadlines = Deadlines(lambda: now)
    answered, silent = a_connection("answered", expired), a_connection("silent", expired)
    for connection in (answered, silent):
        deadlines.set(connection, 0.01)
    now = 80.0

    def read() -> None:
        nonlocal now
        deadlines.clear(answered)
        now += 0.1

    asyncio.get_running_loop().call_later(0.03, read)
    await asyncio.wait_for(cast("Busy", silent).gone.wait(), PATIENCE_S)
    assert expired == ["silent"]


async def test_one_that_is_over_in_time_does_not_expire() -> None:
    expired: list[str] = []
    deadlines = Deadlines(time.monotonic)
    over, late = a_connection("over", expired), a_connection("late", expired)
    deadlines.set(over, 0.01)
    deadlines.set(late, 0.02)
    deadlines.clear(over)
    await asyncio.wait_for(cast("Busy", late).gone.wait(), PATIENCE_S)
    assert expired == ["late"]


async def test_nothing_under_way_leaves_no_timer() -> None:
    deadlines = Deadlines(time.monotonic)
    connection = a_connection("only", [])
    deadlines.set(connection, 30.0)
    assert deadlines.has_timer
    deadlines.clear(connection)
    deadlines.clear(connection)
    assert not deadlines.has_timer
