"""The resolver: one look-up for all who ask, a short memory, and patience with an end."""

import asyncio
import socket
import threading
from ipaddress import IPv4Address

import pytest

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.dns import Address, Resolver, getaddrinfo
from fliqd.engine.wire.faults import WireError

HERE = [Address(IPv4Address("127.0.0.1"))]


class Dns:
    """A look-up that counts, and waits until it is released."""

    def __init__(self, *, released: bool = True) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()
        self.error: Exception | None = None
        self.found = HERE
        if released:
            self.release.set()

    def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        self.release.wait(5)
        if self.error is not None:
            raise self.error
        return self.found


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def until(condition: object) -> None:
    for _ in range(2000):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.001)
    pytest.fail("did not come about")


async def test_all_who_ask_at_once_share_one_look_up() -> None:
    dns = Dns(released=False)
    resolver = Resolver(now=Time(), look_up=dns)
    asking = [asyncio.ensure_future(resolver.resolve("a.example")) for _ in range(50)]
    await until(lambda: dns.asked)
    dns.release.set()
    assert await asyncio.gather(*asking) == [HERE] * 50
    assert dns.asked == ["a.example"]


async def test_whoever_gives_up_leaves_the_look_up_to_the_others() -> None:
    dns = Dns(released=False)
    resolver = Resolver(now=Time(), look_up=dns)
    first, second = (asyncio.ensure_future(resolver.resolve("a.example")) for _ in range(2))
    await until(lambda: dns.asked)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    dns.release.set()
    assert await second == HERE
    assert first.cancelled()
    assert dns.asked == ["a.example"]


async def test_an_answer_nobody_waits_for_is_kept() -> None:
    dns = Dns(released=False)
    resolver = Resolver(now=Time(), look_up=dns, timeout_s=0.01)
    with pytest.raises(WireError):
        await resolver.resolve("a.example")
    dns.release.set()
    await until(lambda: not resolver.running)
    assert await resolver.resolve("a.example") == HERE
    assert dns.asked == ["a.example"]


async def test_an_answer_is_good_for_its_time() -> None:
    dns, time = Dns(), Time()
    resolver = Resolver(now=time, look_up=dns, ttl_s=5)
    for now, asked in ((100.0, 1), (104.9, 1), (105.1, 2), (110.0, 2), (110.2, 3)):
        time.now = now
        await resolver.resolve("a.example")
        assert len(dns.asked) == asked


async def test_a_failure_is_remembered_for_a_second() -> None:
    dns, time = Dns(), Time()
    dns.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    resolver = Resolver(now=time, look_up=dns)
    for now, asked in ((100.0, 1), (100.9, 1), (101.1, 2)):
        time.now = now
        with pytest.raises(WireError):
            await resolver.resolve("a.example")
        assert len(dns.asked) == asked


async def test_the_memory_is_bounded() -> None:
    dns = Dns()
    resolver = Resolver(now=Time(), look_up=dns, names=3)
    for host in ("a", "b", "c", "d", "d", "c", "a"):
        await resolver.resolve(host)
    assert dns.asked == ["a", "b", "c", "d", "a"]


async def test_threads_are_bounded_and_the_rest_waits_its_turn() -> None:
    dns = Dns(released=False)
    resolver = Resolver(now=Time(), look_up=dns, threads=2)
    asking = [asyncio.ensure_future(resolver.resolve(host)) for host in "abcde"]
    await until(lambda: len(dns.asked) == 2)
    await asyncio.sleep(0.005)
    assert dns.asked == ["a", "b"]
    dns.release.set()
    assert await asyncio.gather(*asking) == [HERE] * 5
    assert sorted(dns.asked) == list("abcde")


async def test_too_many_waiting_look_ups_are_refused() -> None:
    dns = Dns(released=False)
    resolver = Resolver(now=Time(), look_up=dns, threads=1, names=2)
    asking = [asyncio.ensure_future(resolver.resolve(host)) for host in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(WireError, match="2 look-ups are waiting"):
        await resolver.resolve("c")
    dns.release.set()
    await asyncio.gather(*asking)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "check its spelling"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "for now"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "Non-recoverable failure"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "x"), "UnicodeEncodeError"),
        (None, "no address"),
    ],
)
async def test_a_failure_says_what_to_look_at(error: Exception | None, says: str) -> None:
    dns = Dns()
    dns.error, dns.found = error, []
    with pytest.raises(WireError) as raised:
        await Resolver(now=Time(), look_up=dns).resolve("a.example")
    assert raised.value.failure.code is ErrorCode.DNS
    assert "a.example" in raised.value.failure.message
    assert says in raised.value.failure.message


async def test_a_look_up_has_a_deadline() -> None:
    dns = Dns(released=False)
    resolver = Resolver(now=Time(), look_up=dns, timeout_s=0.01)
    with pytest.raises(WireError, match=r"took longer than 0\.01 s"):
        await resolver.resolve("a.example")
    dns.release.set()
    await until(lambda: not resolver.running)


def test_the_system_is_asked() -> None:
    assert "127.0.0.1" in {str(address.ip) for address in getaddrinfo("localhost")}
    with pytest.raises(OSError, match=r"\w"):
        getaddrinfo("a" * 70 + ".invalid")


async def test_no_thread_left_is_a_failure_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    resolver = Resolver(now=Time(), look_up=Dns())
    with pytest.raises(WireError, match="no thread left"):
        await resolver.resolve("a.example")
    assert resolver.running == 0
