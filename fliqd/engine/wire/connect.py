"""Addresses to one connected socket: first come, first served, in the order of Happy Eyeballs (RFC 8305)."""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final

from fliqd.engine.wire.dns import Address

MAX_TRIED: Final = 8

Connected = tuple[socket.socket, Address]


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Alternate the families, beginning with the first's, each in its own order (RFC 8305, section 4)."""
    first = [address for address in addresses if address.ip.version == addresses[0].ip.version]
    other = [address for address in addresses if address.ip.version != addresses[0].ip.version]
    pairs = chain.from_iterable(zip_longest(first, other))
    return [address for address in pairs if address is not None]


async def connect(addresses: Sequence[Address], port: int, *, stagger_s: float) -> Connected | list[OSError]:
    """Return the first socket that connects and its address; else the error of each address that was tried.

    Each next attempt starts `stagger_s` after the one before, or at once when that failed (RFC 8305,
    section 5). Whoever comes second is closed, and so are all on cancellation.
    """
    order = interleave(addresses)[:MAX_TRIED]
    if len(order) == 1:
        try:
            return await _attempt(order[0], port)
        except OSError as err:
            return [err]
    return await _race(order, port, stagger_s)


async def _race(order: list[Address], port: int, stagger_s: float) -> Connected | list[OSError]:
    waiting = deque(order)
    running: set[asyncio.Task[Connected]] = set()
    errors: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_attempt(waiting.popleft(), port)))
            done, _ = await asyncio.wait(
                running, timeout=stagger_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                running.remove(attempt)
                try:
                    return attempt.result()
                except OSError as err:
                    errors.append(err)
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(_discard)
    return errors


async def _attempt(address: Address, port: int) -> Connected:
    sock = socket.socket(socket.AF_INET if address.ip.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)  # noqa: PLR2004
    try:
        sock.setblocking(False)
        host = str(address.ip)
        await asyncio.get_running_loop().sock_connect(
            sock, (host, port) if sock.family == socket.AF_INET else (host, port, 0, address.scope_id)
        )
    except BaseException:
        sock.close()
        raise
    return sock, address


def _discard(attempt: asyncio.Task[Connected]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[0].close()
