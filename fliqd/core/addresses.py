"""What kind of thing an IP address is: the special-purpose registries as tables, and one look-up.

The standard library's `is_global` and `is_private` are not used: they follow the interpreter's age and
take a NAT64 address for global whatever it carries. Sources, as of 2026:

- IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), column "Globally Reachable";
- IANA Internet Protocol Version 6 Address Space (RFC 4291): outside 2000::/3 nothing is global unicast;
- IANA IPv4 Multicast Address Space (RFC 5771);
- for the metadata services, the pages of each provider (and cloud-init's data sources).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address | str


class Kind(StrEnum):
    """Why an address is or is not an ordinary place on the internet."""

    GLOBAL = "global"
    PRIVATE = "private"
    SHARED = "shared"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link_local"
    UNSPECIFIED = "unspecified"
    MULTICAST = "multicast"
    DOCUMENTATION = "documentation"
    BENCHMARK = "benchmark"
    RESERVED = "reserved"
    SITE_LOCAL = "site_local"
    SIX_TO_FOUR = "6to4"
    TEREDO = "teredo"
    NAT64 = "nat64"
    ISATAP = "isatap"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Block:
    """One line of a registry; `first` and `last` are the addresses at its ends as integers."""

    network: str
    kind: Kind
    source: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Place:
    """An address looked up.

    `readings` are the (version, value) pairs that a packet to it can end up at: the address itself
    first, then IPv4 addresses it carries (NAT64, 6to4, Teredo and the like). An IPv4-mapped address
    is the IPv4 address, nothing else. `service` names the metadata service it leads to.
    """

    version: int
    value: int
    kind: Kind
    block: Block
    readings: tuple[tuple[int, int], ...]
    service: str | None = None

    @property
    def text(self) -> str:
        """The usual spelling, without a scope."""
        return spelt(self.version, self.value)


def spelt(version: int, value: int) -> str:
    return str(IPv4Address(value) if version == 4 else IPv6Address(value))  # noqa: PLR2004 - an IP version


@lru_cache(maxsize=4096)
def locate(address: Address) -> Place:
    """Look `address` up; raise ValueError for a string that is none. A scope (`%eth0`) plays no part.

    The cache keeps a verdict for a known address below a microsecond and cannot grow.
    """
    ip = ip_address(address) if isinstance(address, str) else address
    value = int(ip)
    if isinstance(ip, IPv4Address):
        return _place4(value)
    if value >> 32 == _MAPPED:
        return _place4(value & _LOW32)
    block = _BLOCKS6[bisect_right(_STARTS6, value) - 1]
    kind, found = block.kind, _METADATA6.get(value)
    reader = _READERS.get(block.network)
    carried = reader(value) if reader else ()
    if (value >> 32) & _LOW32 in _ISATAP:
        carried += (value & _LOW32,)
        if kind in (Kind.GLOBAL, Kind.PRIVATE):
            kind, block = Kind.ISATAP, _around(value)
    inside = [_place4(inner) for inner in carried]
    if kind is Kind.NAT64 and _leads_out(inside):
        kind = Kind.GLOBAL
    service = found or next((place.service for place in inside if place.service), None)
    return Place(
        version=6,
        value=value,
        kind=Kind.METADATA if service else kind,
        block=block,
        readings=((6, value), *((4, inner) for inner in carried)),
        service=service,
    )


def _place4(value: int) -> Place:
    block = _BLOCKS4[bisect_right(_STARTS4, value) - 1]
    service = _METADATA4.get(value)
    return Place(4, value, Kind.METADATA if service else block.kind, block, ((4, value),), service)


def _leads_out(inside: list[Place]) -> bool:
    """Tell whether a NAT64 address may pass: what it carries is global, whichever way it is read.

    The first reading is the usual one, the last 32 bits. The others (local-use prefix only) are what a
    translator with a shorter prefix would make of the same address; most are 0.0.0.0 or the like, which
    go nowhere, but one that means a neighbour must not slip through.
    """
    usual, *others = inside
    return usual.kind is Kind.GLOBAL and not any(other.kind in _NEAR for other in others)


def _around(value: int) -> Block:
    """Return the block an ISATAP address stands for: its prefix with any IPv4 address inside (RFC 5214)."""
    first = value & ~_LOW32
    return Block(f"{IPv6Address(first)}/96", Kind.ISATAP, "RFC 5214", first, first | _LOW32)


def _partition(blocks: Iterable[Block]) -> tuple[list[int], list[Block]]:
    """Cut nested blocks into neighbours, the most specific on top: where each begins, and its block."""
    starts: list[int] = []
    owners: list[Block] = []
    enclosing: list[Block] = []

    def begin(at: int, owner: Block) -> None:
        if starts and starts[-1] == at:
            owners[-1] = owner
        else:
            starts.append(at)
            owners.append(owner)

    def leave_until(at: int) -> None:
        while enclosing and enclosing[-1].last < at:
            left = enclosing.pop()
            if enclosing and left.last < enclosing[-1].last:
                begin(left.last + 1, enclosing[-1])

    for block in sorted(blocks, key=lambda block: (block.first, -block.last)):
        leave_until(block.first)
        begin(block.first, block)
        enclosing.append(block)
    leave_until(1 << 128)
    return starts, owners


def _blocks(rows: Iterable[tuple[str, Kind, str]]) -> list[Block]:
    networks = ((ip_network(network), network, kind, source) for network, kind, source in rows)
    return [
        Block(text, kind, source, int(network.network_address), int(network.broadcast_address))
        for network, text, kind, source in networks
    ]


_LOW32: Final = 0xFFFF_FFFF
_MAPPED: Final = 0xFFFF  # the upper 96 bits of ::ffff:0:0/96 (RFC 4291, 2.5.5.2)
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})  # how such an interface id begins (RFC 5214, 6.1)
_NEAR: Final = frozenset({Kind.PRIVATE, Kind.SHARED, Kind.LOOPBACK, Kind.LINK_LOCAL, Kind.METADATA})

_STARTS4, _BLOCKS4 = _partition(
    _blocks(
        [
            ("0.0.0.0/0", Kind.GLOBAL, "RFC 791"),
            ("0.0.0.0/8", Kind.UNSPECIFIED, "RFC 1122"),  # on Linux 0.0.0.0 is this machine
            ("10.0.0.0/8", Kind.PRIVATE, "RFC 1918"),
            ("100.64.0.0/10", Kind.SHARED, "RFC 6598"),
            ("127.0.0.0/8", Kind.LOOPBACK, "RFC 1122"),
            ("169.254.0.0/16", Kind.LINK_LOCAL, "RFC 3927"),
            ("172.16.0.0/12", Kind.PRIVATE, "RFC 1918"),
            ("192.0.0.0/24", Kind.RESERVED, "RFC 6890"),
            ("192.0.0.9/32", Kind.GLOBAL, "RFC 7723"),
            ("192.0.0.10/32", Kind.GLOBAL, "RFC 8155"),
            ("192.0.2.0/24", Kind.DOCUMENTATION, "RFC 5737"),
            ("192.31.196.0/24", Kind.GLOBAL, "RFC 7535"),
            ("192.52.193.0/24", Kind.GLOBAL, "RFC 7450"),
            ("192.88.99.0/24", Kind.SIX_TO_FOUR, "RFC 7526"),
            ("192.168.0.0/16", Kind.PRIVATE, "RFC 1918"),
            ("192.175.48.0/24", Kind.GLOBAL, "RFC 7534"),
            ("198.18.0.0/15", Kind.BENCHMARK, "RFC 2544"),
            ("198.51.100.0/24", Kind.DOCUMENTATION, "RFC 5737"),
            ("203.0.113.0/24", Kind.DOCUMENTATION, "RFC 5737"),
            ("224.0.0.0/4", Kind.MULTICAST, "RFC 5771"),
            ("240.0.0.0/4", Kind.RESERVED, "RFC 1112"),
            ("255.255.255.255/32", Kind.RESERVED, "RFC 8190"),
        ]
    )
)

_STARTS6, _BLOCKS6 = _partition(
    _blocks(
        [
            # The whole space, so that an address without a line of its own is reserved, never global.
            ("::/8", Kind.RESERVED, "RFC 4291"),
            ("100::/8", Kind.RESERVED, "RFC 4291"),
            ("200::/7", Kind.RESERVED, "RFC 4048"),
            ("400::/6", Kind.RESERVED, "RFC 4291"),
            ("800::/5", Kind.RESERVED, "RFC 4291"),
            ("1000::/4", Kind.RESERVED, "RFC 4291"),
            ("2000::/3", Kind.GLOBAL, "RFC 4291"),
            ("4000::/3", Kind.RESERVED, "RFC 4291"),
            ("6000::/3", Kind.RESERVED, "RFC 4291"),
            ("8000::/3", Kind.RESERVED, "RFC 4291"),
            ("a000::/3", Kind.RESERVED, "RFC 4291"),
            ("c000::/3", Kind.RESERVED, "RFC 4291"),
            ("e000::/4", Kind.RESERVED, "RFC 4291"),
            ("f000::/5", Kind.RESERVED, "RFC 4291"),
            ("f800::/6", Kind.RESERVED, "RFC 4291"),
            ("fc00::/7", Kind.PRIVATE, "RFC 4193"),
            ("fe00::/9", Kind.RESERVED, "RFC 4291"),
            ("fe80::/10", Kind.LINK_LOCAL, "RFC 4291"),
            ("fec0::/10", Kind.SITE_LOCAL, "RFC 3879"),
            ("ff00::/8", Kind.MULTICAST, "RFC 4291"),
            # The special purposes.
            ("::/96", Kind.RESERVED, "RFC 4291"),  # IPv4-compatible, deprecated
            ("::/128", Kind.UNSPECIFIED, "RFC 4291"),
            ("::1/128", Kind.LOOPBACK, "RFC 4291"),
            ("::ffff:0:0:0/96", Kind.RESERVED, "RFC 2765"),  # IPv4-translated, obsolete
            ("64:ff9b::/96", Kind.NAT64, "RFC 6052"),
            ("64:ff9b:1::/48", Kind.NAT64, "RFC 8215"),
            ("100::/64", Kind.RESERVED, "RFC 6666"),
            ("100:0:0:1::/64", Kind.RESERVED, "RFC 9780"),
            ("2001::/23", Kind.RESERVED, "RFC 2928"),
            ("2001::/32", Kind.TEREDO, "RFC 4380"),
            ("2001:1::1/128", Kind.GLOBAL, "RFC 7723"),
            ("2001:1::2/128", Kind.GLOBAL, "RFC 8155"),
            ("2001:1::3/128", Kind.GLOBAL, "RFC 9665"),
            ("2001:2::/48", Kind.BENCHMARK, "RFC 5180"),
            ("2001:3::/32", Kind.GLOBAL, "RFC 7450"),
            ("2001:4:112::/48", Kind.GLOBAL, "RFC 7535"),
            ("2001:10::/28", Kind.RESERVED, "RFC 4843"),
            ("2001:20::/28", Kind.GLOBAL, "RFC 7343"),
            ("2001:30::/28", Kind.GLOBAL, "RFC 9374"),
            ("2001:db8::/32", Kind.DOCUMENTATION, "RFC 3849"),
            ("2002::/16", Kind.SIX_TO_FOUR, "RFC 3056"),
            ("2620:4f:8000::/48", Kind.GLOBAL, "RFC 7534"),
            ("3fff::/20", Kind.DOCUMENTATION, "RFC 9637"),
            ("5f00::/16", Kind.RESERVED, "RFC 9602"),
        ]
    )
)


def _read_last(value: int) -> tuple[int, ...]:
    return (value & _LOW32,)


def _read_6to4(value: int) -> tuple[int, ...]:
    return ((value >> 80) & _LOW32,)


def _read_teredo(value: int) -> tuple[int, ...]:
    """Return the client, whose bits are stored inverted, and the server (RFC 4380, 4)."""
    return (~value & _LOW32, (value >> 64) & _LOW32)


def _read_local_nat64(value: int) -> tuple[int, ...]:
    """Return what prefixes of 96, 48, 56 and 64 bits make of it (RFC 6052, 2.2: bits 64-71 are skipped)."""
    return (
        value & _LOW32,
        ((value >> 64) & 0xFFFF) << 16 | (value >> 40) & 0xFFFF,
        ((value >> 64) & 0xFF) << 24 | (value >> 32) & 0xFF_FFFF,
        (value >> 24) & _LOW32,
    )


_READERS: Final[Mapping[str, Callable[[int], tuple[int, ...]]]] = {
    "::/96": _read_last,
    "::ffff:0:0:0/96": _read_last,
    "64:ff9b::/96": _read_last,
    "64:ff9b:1::/48": _read_local_nat64,
    "2001::/32": _read_teredo,
    "2002::/16": _read_6to4,
}

# Addresses that hand out credentials or the machine's own configuration to whoever asks from it.
_METADATA4: Final[Mapping[int, str]] = {
    int(IPv4Address(address)): service
    for address, service in {
        "169.254.169.254": "AWS, Google Cloud, Azure, Oracle, OpenStack and others",
        "169.254.169.252": "Google Kubernetes Engine, workload identity",
        "169.254.170.2": "AWS ECS, task credentials",
        "169.254.170.23": "AWS EKS, pod identity",
        "169.254.42.42": "Scaleway",
        "169.254.0.23": "Tencent Cloud",
        "169.254.10.10": "Tencent Cloud",
        "100.100.100.200": "Alibaba Cloud",
        "192.0.0.192": "Oracle Cloud Classic",
        "168.63.129.16": "Azure WireServer",
    }.items()
}
_METADATA6: Final[Mapping[int, str]] = {
    int(IPv6Address(address)): service
    for address, service in {
        "fd00:ec2::254": "AWS",
        "fd00:ec2::23": "AWS EKS, pod identity",
        "fd20:ce::254": "Google Cloud",
        "fd00:c1::a9fe:a9fe": "Oracle Cloud",
        "fd00:100::100:200": "Alibaba Cloud",
        "fd00:a9fe:a9fe::1": "Akamai (Linode)",
        "fd00:42::42": "Scaleway",
        "fe80::a9fe:a9fe": "OpenStack, Akamai (Linode)",
    }.items()
}
