"""The verdict on addresses: literals, names, and connections kept from before."""

import asyncio
from ipaddress import ip_address

import pytest

from fliqd.core.delivery import ErrorCode
from fliqd.engine.wire.dns import Address, Resolver
from fliqd.engine.wire.octets import IPAddress
from fliqd.engine.wire.sender import WireSender
from tests.wire.conftest import Serve
from tests.wire.servers import OK, answer, get


def forbid(*addresses: str) -> tuple[list[str], WireSender]:
    """Return a sender that may not connect to these, and the list of what was judged."""
    judged: list[str] = []

    def judge(address: IPAddress, port: int, host: str | None, **_how: str | None) -> str | None:
        judged.append(str(address))
        return f"{address} port {port} is denied by a test." if str(address) in addresses else None

    found = {"both.example": ["127.0.0.2", "127.0.0.1"], "bad.example": ["127.0.0.2", "127.0.0.3"]}
    resolver = Resolver(
        now=lambda: 0.0,
        look_up=lambda host: [Address(ip_address(address)) for address in found.get(host, [])],
    )
    return judged, WireSender(judge=judge, resolver=resolver, stagger_s=0.01)


@pytest.mark.parametrize(
    ("host", "judged"),
    [
        ("127.0.0.2", ["127.0.0.2"]),
        ("[::1]", ["::1"]),
        ("[::ffff:127.0.0.2]", ["::ffff:7f00:2", "::ffff:127.0.0.2"]),
        ("bad.example", ["127.0.0.2", "127.0.0.3"]),
    ],
)
async def test_a_denied_address_is_never_connected_to(serve: Serve, host: str, judged: list[str]) -> None:
    server = await serve(answer(OK))
    seen, sender = forbid("127.0.0.2", "127.0.0.3", "::1", "::ffff:7f00:2", "::ffff:127.0.0.2")
    response = await sender.send(get(server.url(host=host)))
    await sender.close()
    assert response.failure is not None
    assert response.failure.code is ErrorCode.EGRESS_DENIED
    assert "is denied by a test." in response.failure.message
    assert set(seen) <= set(judged)
    assert server.connections == 0


async def test_only_the_allowed_address_of_a_name_is_tried(serve: Serve) -> None:
    server = await serve(answer(OK))
    seen, sender = forbid("127.0.0.2")
    response = await sender.send(get(server.url(host="both.example")))
    await sender.close()
    assert response.status == 200
    assert seen == ["127.0.0.2", "127.0.0.1", "127.0.0.1"]  # again, once connected


async def test_a_kept_connection_is_judged_again(serve: Serve) -> None:
    server = await serve(answer(OK))
    denied = False
    sender = WireSender(judge=lambda *_where, **_how: "Denied by now." if denied else None)
    assert (await sender.send(get(server.url()))).status == 200
    denied = True
    response = await sender.send(get(server.url()))
    await asyncio.sleep(0)
    assert sender.open_connections == 0
    await sender.close()
    assert response.failure is not None
    assert response.failure.code is ErrorCode.EGRESS_DENIED
    assert len(server.requests) == 1


async def test_a_judge_that_fails_denies(serve: Serve) -> None:
    server = await serve(answer(OK))

    def judge(address: IPAddress, port: int, host: str | None, **_how: str | None) -> str | None:
        raise RuntimeError

    sender = WireSender(judge=judge)
    response = await sender.send(get(server.url()))
    assert response.failure is not None
    assert response.failure.code is ErrorCode.INTERNAL
    assert server.connections == sender.open_connections == 0
    await sender.close()
