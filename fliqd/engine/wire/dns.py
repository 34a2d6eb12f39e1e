"""Names to addresses: off the loop, one look-up for all who ask at once, remembered for a few seconds."""

import asyncio
import ipaddress
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.faults import WireError
from fliqd.engine.wire.octets import IPAddress
from fliqd.engine.wire.stopwatch import Monotonic

# What `socket.getaddrinfo` takes and gives; it blocks, so it runs in a thread.
LookUp = Callable[[str], "list[Address]"]

FAILURE_TTL_S: Final = 1.0
CHECK_RESOLVER: Final = "check the resolver (/etc/resolv.conf)"
NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class Address(NamedTuple):
    """An address to connect to; `scope_id` is the interface of a link-local one, else 0."""

    ip: IPAddress
    scope_id: int = 0


def getaddrinfo(host: str) -> list[Address]:
    """Ask the system, blocking; the order is RFC 6724's. Raises OSError (`socket.gaierror`)."""
    # Octets, because a str goes through the idna codec, which imports, is slow, and has its own errors.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    addresses = []
    for family, _, _, _, sockaddr in found:
        if family == socket.AF_INET:
            addresses.append(Address(ipaddress.IPv4Address(sockaddr[0])))
        elif family == socket.AF_INET6:
            ip = ipaddress.IPv6Address(str(sockaddr[0]).partition("%")[0])
            addresses.append(Address(ip, int(sockaddr[3]) if len(sockaddr) > 3 else 0))  # noqa: PLR2004
    return addresses


class Resolver:
    """A small cache before `look_up`, which runs in at most `threads` daemon threads.

    Threads of their own and not the loop's pool: a name whose servers are silent blocks for half a minute,
    and must hold up neither others' work nor the end of the process. A failure is remembered for a second,
    so that a burst at a name that does not exist costs one question.
    """

    def __init__(
        self,
        *,
        now: Monotonic,
        look_up: LookUp = getaddrinfo,
        ttl_s: float = 5.0,
        timeout_s: float = 5.0,
        names: int = 1024,
        threads: int = 16,
    ) -> None:
        self._now = now
        self._look_up = look_up
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._names = names
        self._threads = threads
        self._known: dict[str, tuple[float, list[Address] | str]] = {}  # until when, and what; a str is a failure
        self._asked: dict[str, asyncio.Future[list[Address] | str]] = {}
        self._queue: deque[str] = deque()
        self.running = 0

    async def resolve(self, host: str) -> list[Address]:
        """Return the addresses of `host`, at least one; raise WireError, also when it takes too long."""
        found = self._remembered(host)
        if found is None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    # Shielded: whoever gives up waiting leaves the look-up to the others.
                    found = await asyncio.shield(self._ask(host))
            except TimeoutError:
                raise WireError(
                    ErrorCode.DNS,
                    f"Looking up {host} took longer than {self._timeout_s:g} s: {CHECK_RESOLVER}.",
                ) from None
        if isinstance(found, str):
            raise WireError(ErrorCode.DNS, found)
        return found

    def _remembered(self, host: str) -> list[Address] | str | None:
        until, found = self._known.get(host, (0.0, None))
        return found if self._now() < until else None

    def _ask(self, host: str) -> asyncio.Future[list[Address] | str]:
        answer = self._asked.get(host)
        if answer is not None:
            return answer
        if len(self._asked) >= self._names:
            raise WireError(
                ErrorCode.DNS,
                f"{self._names} look-ups are waiting before that of {host}: check the resolver.",
            )
        answer = self._asked[host] = asyncio.get_running_loop().create_future()
        if self.running < self._threads:
            self._begin(host)
        else:
            self._queue.append(host)
        return answer

    def _begin(self, host: str) -> None:
        self.running += 1
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._run, args=(loop, host), name="fliqd-dns", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._land(host, f"There is no thread left to look up {host}: raise TasksMax or the memory limit.")

    def _run(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        """Look one name up; the only part that runs in a thread."""
        found: list[Address] | str
        try:
            found = self._look_up(host) or f"{host} has no address: check its A and AAAA records."
        except OSError as err:
            found = _explained(host, err)
        except Exception as err:  # noqa: BLE001 - whoever waits must hear of it, and nobody else would
            found = f"Looking up {host} failed: {type(err).__name__}."
        try:
            loop.call_soon_threadsafe(self._land, host, found)
        except RuntimeError:
            return  # the loop has closed meanwhile: nobody waits any more

    def _land(self, host: str, found: list[Address] | str) -> None:
        self.running -= 1
        if len(self._known) >= self._names:
            del self._known[next(iter(self._known))]
        self._known.pop(host, None)
        ttl_s = min(self._ttl_s, FAILURE_TTL_S) if isinstance(found, str) else self._ttl_s
        self._known[host] = (self._now() + ttl_s, found)
        self._asked.pop(host).set_result(found)
        if self._queue:
            self._begin(self._queue.popleft())


def _explained(host: str, error: OSError) -> str:
    if error.errno in NO_SUCH_NAME:
        return f"{host} has no address: check its spelling and its DNS records."
    if error.errno == socket.EAI_AGAIN:
        return f"{host} could not be looked up for now: {CHECK_RESOLVER} and the network."
    return f"Looking up {host} failed ({error.strerror}): check the name and the resolver."
