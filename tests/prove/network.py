"""A network of its own for a daemon: two namespaces with a cable between, a name server, and a look at every packet."""

import asyncio
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from tests.support import FliqdProcess

T = TypeVar("T")
CLONE_NEWNET: Final = 0x40000000
ETH_P_ALL: Final = 0x0003
SO_RCVBUFFORCE: Final = 33
PACKET_STATISTICS: Final = 263, 6
A, AAAA, CNAME = 1, 28, 5
SYN, ACK = 0x02, 0x10
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3

# What is at the other end. The first is private; the public ones are anybody's, and reachable here alone.
PRIVATE: Final = "10.77.0.1"
PUBLIC: Final = "93.184.215.14"
PRIVATE6: Final = "fd77::1"
PUBLIC6: Final = "2606:2800:21f::1"
NOBODY: Final = "93.184.215.99"  # routed there, and dropped there: a black hole
NOBODY6: Final = "2606:2800:21f::99"
OURS: Final = "10.77.0.2"
OURS6: Final = "fd77::2"
PORT: Final = 8080


def ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True)  # noqa: S607 -- wherever it is


def why_not() -> str | None:
    """Return why there can be no network namespace here, None where there can be one."""
    if os.geteuid() != 0:
        return "a network namespace is for root"
    if shutil.which("ip") is None:
        return "there is no ip (iproute2) to make a network namespace with"
    try:
        with namespaces():
            return None
    except (OSError, subprocess.CalledProcessError) as err:
        return f"no network namespace can be made: {getattr(err, 'stderr', None) or err!r}"


@contextmanager
def namespaces() -> Iterator["Cable"]:
    """Make the daemon's namespace and that of everyone else, with a cable between them; remove them afterwards."""
    cable = Cable(f"fliqd-{os.getpid()}", f"world-{os.getpid()}")
    try:
        for name in (cable.daemon, cable.world):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "fq0", "netns", cable.daemon, "type", "veth", "peer", "name", "fq1", "netns", cable.world)
        for address in (f"{PRIVATE}/24", f"{PRIVATE6}/64", f"{PUBLIC}/32", f"{PUBLIC6}/128"):
            ip("-n", cable.world, "addr", "add", address, "dev", "fq1", *_at_once(address))
        ip("-n", cable.world, "link", "set", "fq1", "up")
        cable.plug_in()
        yield cable
    finally:
        for name in (cable.daemon, cable.world):
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


def _at_once(address: str) -> tuple[str, ...]:
    """Return what spares an IPv6 address the second in which its owner looks for others of that address."""
    return ("nodad",) if ":" in address else ()


@dataclass(frozen=True)
class Cable:
    """The names of both namespaces, and the cable between them."""

    daemon: str
    world: str

    def plug_in(self) -> None:
        ip("-n", self.daemon, "link", "set", "fq0", "up")
        for address in (f"{OURS}/24", f"{OURS6}/64"):
            ip("-n", self.daemon, "addr", "replace", address, "dev", "fq0", *_at_once(address))
        ip("-n", self.daemon, "route", "add", "default", "via", PRIVATE)
        ip("-n", self.daemon, "-6", "route", "add", "default", "via", PRIVATE6)

    def pull_out(self) -> None:
        """Take the daemon off the network; its routes go too, and its IPv6 address."""
        ip("-n", self.daemon, "link", "set", "fq0", "down")

    def lose(self, percent: int) -> str | None:
        """Drop packets by chance on their way in, on the far side; return why that cannot be done."""
        if shutil.which("nft") is None:
            return "there is no nft (nftables) to lose packets with"
        rules = "flush ruleset\n"
        if percent:
            drop = f"numgen random mod 100 < {percent} drop"
            chain = f"chain in {{\n type filter hook input priority 0\n {drop}\n}}"
            rules += f"table inet loss {{\n{chain}\n}}\n"
        done = subprocess.run(
            ("ip", "netns", "exec", self.world, "nft", "-f", "-"),  # noqa: S607 -- as ip
            input=rules.encode(),
            capture_output=True,
            check=False,
        )
        return done.stderr.decode() if done.returncode else None

    def outside(self, make: Callable[[], T]) -> T:
        """Call something that opens a socket, in the namespace of everyone else; the socket stays in it."""
        made: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:  # a thread changes its namespace alone
            try:
                _enter(self.world)
                made.append(make())
            except BaseException as err:  # noqa: BLE001 -- raised again where it is waited for
                failed.append(err)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def listener(self, address: str, port: int = PORT) -> socket.socket:
        def make() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=1024)

        return self.outside(make)


def _enter(name: str) -> None:
    """Take this thread into a network namespace."""
    with Path(f"/run/netns/{name}").open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


class Names(asyncio.DatagramProtocol):
    """The only name server there is. A name may have a script: what it answers, look-up by look-up, the last for good.

    A step is the addresses of the name; or a number, the error; or None, silence; or octets, sent as they are with
    the question's id.
    """

    def __init__(self) -> None:
        self.scripts: dict[str, list[Any]] = {}
        self.asked: dict[str, int] = defaultdict(int)  # how often for A, that is, how many look-ups
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a datagram endpoint's

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        name, kind, end = _question(data)
        steps = self.scripts.get(name, [NXDOMAIN])
        step = steps[min(self.asked[f"{name} {kind}"], len(steps) - 1)]
        self.asked[f"{name} {kind}"] += 1
        assert self._transport is not None
        if isinstance(step, bytes):
            self._transport.sendto(data[:2] + step, addr)
        elif isinstance(step, int):
            self._transport.sendto(_reply(data[:end], step, []), addr)
        elif step is not None:
            found = [ip_address(one) for one in step]
            packed = [one.packed for one in found if (one.version == 6) == (kind == AAAA)]
            self._transport.sendto(_reply(data[:end], NOERROR, packed), addr)


def _question(data: bytes) -> tuple[str, int, int]:
    """Return the name that is asked for, what of it, and where the question ends (RFC 1035, 4.1.2)."""
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels).lower(), struct.unpack_from(">H", data, at + 1)[0], at + 5


def _reply(question: bytes, error: int, found: list[bytes]) -> bytes:
    head = question[:2] + struct.pack(">HHHHH", 0x8180 | error, 1, len(found), 0, 0)
    records = (struct.pack(">HHHIH", 0xC00C, AAAA if len(one) == 16 else A, 1, 0, len(one)) + one for one in found)
    return head + question[12:] + b"".join(records)


@dataclass
class Requests:
    """Every request that left, read off the cable: each client's stream, whatever came twice or in parts."""

    heads: int = 0  # segments that begin a request; one that is sent again counts again
    _streams: list[bytearray] = field(default_factory=list)
    _open: dict[bytes, tuple[int, bytearray]] = field(default_factory=dict)  # by addresses and ports: its first number

    def see(self, frame: bytes) -> None:
        """Take in a frame, if it goes from a client to a server over TCP (RFC 9293)."""
        kind, at = struct.unpack_from(">H", frame, 12)[0], 14
        if kind == 0x0800:
            protocol, ends, length = frame[at + 9], frame[at + 12 : at + 20], (frame[at] & 15) * 4
        elif kind == 0x86DD:
            protocol, ends, length = frame[at + 6], frame[at + 8 : at + 40], 40
        else:
            return
        if protocol != socket.IPPROTO_TCP:
            return
        at += length
        stream = ends + frame[at : at + 4]
        number, flags = struct.unpack_from(">I", frame, at + 4)[0], frame[at + 13]
        if flags & SYN and not flags & ACK and self._open.get(stream, (-1, None))[0] != number:
            self._streams.append(bytearray())
            self._open[stream] = number, self._streams[-1]
        payload = frame[at + (frame[at + 12] >> 4) * 4 :]
        if payload and stream in self._open:
            first, data = self._open[stream]
            self.heads += payload.startswith(b"POST ")
            begin = (number - first - 1) % 2**32
            data.extend(bytes(max(0, begin + len(payload) - len(data))))
            data[begin : begin + len(payload)] = payload

    def left(self) -> Counter[tuple[str, int]]:
        """Return how often each attempt at a job has left, by delivery id and number."""
        found: Counter[tuple[str, int]] = Counter()
        for stream in self._streams:
            for line in bytes(stream).lower().split(b"post /")[1:]:
                fields = dict(part.partition(b": ")[::2] for part in line.split(b"\r\n"))
                if b"x-fliq-attempt" in fields:
                    found[fields[b"x-fliq-delivery-id"].decode(), int(fields[b"x-fliq-attempt"])] += 1
        return found


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class World:
    """Everything outside of the daemon, as a test scripts it."""

    cable: Cable
    names: Names
    requests: Requests
    path: Path
    _servers: list[asyncio.Server] = field(default_factory=list)
    _open: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def serve(self, address: str, handle: Handler, port: int = PORT) -> None:
        """Have connections to an address handled; whatever goes wrong with one is its end."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._open[task] = writer
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await handle(reader, writer)
            writer.close()
            del self._open[task]

        self._servers.append(await asyncio.start_server(accept, sock=self.cable.listener(address, port)))

    @asynccontextmanager
    async def fliqd(self, **env: str) -> AsyncIterator[FliqdProcess]:
        """Run the daemon in its namespace; its API is at a unix socket, which no namespace keeps apart."""
        path = self.path / "api.sock"
        settings = {"FLIQD_SERVER__LISTEN": f"unix:{path}"} | env
        fliqd = FliqdProcess(self.path / "state", settings, within=("ip", "netns", "exec", self.cable.daemon))
        await fliqd.speak_over(aiohttp.UnixConnector(str(path)))
        try:
            await fliqd.start()
            fliqd.url = "http://localhost"
            yield fliqd
        finally:
            await fliqd.kill()
            await fliqd.close()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task, writer in self._open.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._open)


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    """Make the namespaces, the name server and the look at the cable."""
    loop = asyncio.get_running_loop()
    requests = Requests()
    with namespaces() as cable, _resolver(cable):
        sniffer = cable.outside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
        sniffer.bind(("fq1", 0))
        sniffer.setblocking(False)
        sniffer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 2**26)
        loop.add_reader(sniffer, lambda: requests.see(sniffer.recv(65536)))
        server = cable.outside(lambda: _udp(PRIVATE, 53))
        transport, names = await loop.create_datagram_endpoint(Names, sock=server)
        made = World(cable, names, requests, path)
        try:
            yield made
            _, dropped = struct.unpack("II", sniffer.getsockopt(*PACKET_STATISTICS, 8))
            assert not dropped, "the machine was too slow to see every packet"
        finally:
            await made.close()
            transport.close()
            loop.remove_reader(sniffer)
            sniffer.close()


@contextmanager
def _resolver(cable: Cable) -> Iterator[None]:
    """Have `ip netns exec` show its program a resolv.conf of its own."""
    folder = Path("/etc/netns") / cable.daemon
    folder.mkdir(parents=True)
    (folder / "resolv.conf").write_text(f"nameserver {PRIVATE}\noptions timeout:1 attempts:1\n")
    try:
        yield
    finally:
        shutil.rmtree(folder)
        with suppress(OSError):
            folder.parent.rmdir()


def _udp(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made
