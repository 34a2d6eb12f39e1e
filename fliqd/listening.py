"""Where the API listens: places of the configuration, and sockets that a service manager opened for us."""

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from fliqd.api.server import EdgeRunner
from fliqd.errors import ConfigError, FliqdError, Problem
from fliqd.notify import is_meant
from fliqd.settings import Listen

log = structlog.get_logger()

FIRST_FD: Final = 3  # sd_listen_fds(3)
BACKLOG: Final = 1024  # connections that wait while we are busy; the kernel's own limit may be lower
FIRST_ANSWER_S: Final = 1.0  # what a client that was let in last has for its request
HANDSHAKE_S: Final = 10.0  # until a TLS handshake is over, its connection counts for no limit of ours


@dataclass(frozen=True, slots=True)
class Handed:
    """A listening socket that was open before we were; it stays open when we end, and keeps who comes meanwhile."""

    sock: socket.socket
    name: str  # that the service manager gave it
    place: Listen

    def covers(self, place: Listen) -> bool:
        """Whether it is the place that the configuration means; a wildcard covers each address."""
        if place.path or self.place.path:
            return place.path == self.place.path
        if not place.port or place.port != self.place.port:
            return False
        ours, theirs = ipaddress.ip_address(self.place.host), ipaddress.ip_address(place.host)
        return ours in (theirs, ipaddress.ip_address("::")) or (ours.is_unspecified and ours.version == theirs.version)


def handed_over(env: Mapping[str, str]) -> list[Handed]:
    """Return the sockets that the service manager hands to this process; raise FliqdError for what is no listener."""
    count = env.get("LISTEN_FDS", "")
    if not count.isdecimal() or not is_meant(env.get("LISTEN_PID")):
        return []
    names = env.get("LISTEN_FDNAMES", "").split(":")
    fds = range(FIRST_FD, FIRST_FD + int(count))
    return [_handed(fd, name or "unknown") for fd, name in zip(fds, [*names, *[""] * len(fds)], strict=False)]


def _handed(fd: int, name: str) -> Handed:
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and sock.type == socket.SOCK_STREAM
        place = _place(sock)
    except OSError as err:
        raise FliqdError(f"descriptor {fd} ({name}), which was handed over, is no socket: {err.strerror}") from err
    if not listens or place is None:
        raise FliqdError(f"the socket {name}, handed over, takes no connections: use ListenStream= and Accept=no")
    sock.setblocking(False)
    sock.set_inheritable(False)
    return Handed(sock, name, place)


def _place(sock: socket.socket) -> Listen | None:
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Listen(path=address) if isinstance(address, str) and address else None
    return Listen(host=address[0], port=address[1]) if sock.family in (socket.AF_INET, socket.AF_INET6) else None


class Doors:
    """All that listens for one runner; `urls` is where clients reach it."""

    def __init__(self, runner: EdgeRunner, tls: ssl.SSLContext | None, *, socket_mode: int) -> None:
        self._runner = runner
        self._tls = tls
        self._socket_mode = socket_mode
        self._handed: list[_Site] = []
        self.urls: list[str] = []

    @property
    def own(self) -> list[tuple[str, int]]:
        """Return the pairs that no job may call."""
        return [(address[0], address[1]) for address in self._runner.addresses if isinstance(address, tuple)]

    async def open(self, places: Sequence[Listen], handed: Sequence[Handed], *, anyone: bool) -> None:
        """Listen at every place, and on what was handed over; raise FliqdError. `anyone`: no token is asked for."""
        far = next((one for one in handed if not one.place.is_local), None)
        if anyone and far is not None:
            raise ConfigError(
                [Problem("auth.mode", f'got "none", but the socket {far.name} is {far.place.url}: use "token"')]
            )
        for one in handed:
            self._handed.append(_Site(self._runner, one.sock, self._tls))
            await self._start(self._handed[-1], one.place)
            log.info("daemon.socket", name=one.name, url=self.urls[-1])
        for place in places:
            if not any(one.covers(place) for one in handed):
                await self._open(place)

    async def let_go(self) -> None:
        """Take no more connections on what was handed over: who comes waits there for our successor.

        Who is in already is served as if nothing were, or a request that has just left would meet a closed door.
        """
        if not self._handed:
            return
        for site in self._handed:
            site.pause()
        await self._runner.first_answers(FIRST_ANSWER_S)
        while self._handed:
            await self._handed.pop().stop()
        await self._runner.first_answers(FIRST_ANSWER_S)  # those whom uvloop, which knows no pause, has let in since

    async def _open(self, place: Listen) -> None:
        try:
            if place.path:
                _remove_stale_socket(Path(place.path))
                await self._start(web.UnixSite(self._runner, place.path, backlog=BACKLOG), place)
                os.chmod(place.path, self._socket_mode)  # noqa: PTH101 -- until now it was for our own user alone
            else:
                sock = _bound(place)
                await self._start(_Site(self._runner, sock, self._tls), replace(place, port=sock.getsockname()[1]))
        except OSError as err:
            hint = "is another fliqd running? " if err.errno == errno.EADDRINUSE else ""
            raise FliqdError(
                f"cannot listen on {place.url}: {os.strerror(err.errno or 0)}; {hint}"
                "Set server.listen to another address"
            ) from err

    async def _start(self, site: web.BaseSite, place: Listen) -> None:
        await site.start()
        self.urls.append(place.url if self._tls is None or place.path else place.url.replace("http://", "https://", 1))


class _Site(web.SockSite):
    """A socket, with a deadline for handshakes, which aiohttp's sites lack."""

    __slots__ = ()

    def __init__(self, runner: web.AppRunner, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        # What is on a unix socket has not left the machine.
        super().__init__(runner, sock, ssl_context=None if sock.family == socket.AF_UNIX else tls, backlog=BACKLOG)

    async def start(self) -> None:
        await web.BaseSite.start(self)
        assert self._runner.server is not None  # noqa: S101 -- the runner has been set up, or this were no site of it
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=None if self._ssl_context is None else HANDSHAKE_S,
        )

    def pause(self) -> None:
        """Accept no more, on asyncio's loop: it drops whom it has accepted and not set up when a server closes."""
        asyncio.get_running_loop().remove_reader(self._sock)


def _bound(place: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    return socket.create_server((place.host, place.port), family=family, backlog=BACKLOG)


def _remove_stale_socket(path: Path) -> None:
    """Remove what a predecessor left; the store's lock says that none is alive."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
