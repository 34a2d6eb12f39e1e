"""Where requests may go: tables of verdicts, from DESIGN 4.9 and the registries rather than the code."""

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.egress import (
    BAD_PORTS,
    EgressPolicy,
    Refusal,
    is_public_target,
    judge,
    judge_redirect,
    parse_entry,
)

POLICIES = ("home", "public", "open")


def policy(name: str = "home", **settings: Any) -> EgressPolicy:
    return EgressPolicy(**{"policy": name, **settings})


def rule(verdict: Refusal | None) -> str | None:
    return verdict.rule if verdict else None


# address, the rule that refuses it under home, and under public; open lets every one of them through.
VERDICTS: list[tuple[str, str | None, str | None]] = [
    # Globally routable.
    ("1.1.1.1", None, None),
    ("8.8.8.8", None, None),
    ("93.184.216.34", None, None),
    ("9.255.255.255", None, None),
    ("11.0.0.0", None, None),
    ("100.63.255.255", None, None),
    ("100.128.0.0", None, None),
    ("126.255.255.255", None, None),
    ("128.0.0.0", None, None),
    ("168.63.129.15", None, None),
    ("168.63.129.17", None, None),
    ("169.253.255.255", None, None),
    ("169.255.0.0", None, None),
    ("172.15.255.255", None, None),
    ("172.32.0.0", None, None),
    ("191.255.255.255", None, None),
    ("192.0.0.9", None, None),
    ("192.0.0.10", None, None),
    ("192.0.1.0", None, None),
    ("192.0.3.0", None, None),
    ("192.31.196.1", None, None),
    ("192.52.193.1", None, None),
    ("192.88.98.255", None, None),
    ("192.88.100.0", None, None),
    ("192.167.255.255", None, None),
    ("192.169.0.0", None, None),
    ("192.175.48.1", None, None),
    ("198.17.255.255", None, None),
    ("198.20.0.0", None, None),
    ("198.51.99.255", None, None),
    ("198.51.101.0", None, None),
    ("203.0.112.255", None, None),
    ("203.0.114.0", None, None),
    ("223.255.255.255", None, None),
    ("2000::", None, None),
    ("2001:1::1", None, None),
    ("2001:1::2", None, None),
    ("2001:1::3", None, None),
    ("2001:3::1", None, None),
    ("2001:4:112::1", None, None),
    ("2001:20::1", None, None),
    ("2001:30::1", None, None),
    ("2001:200::1", None, None),
    ("2001:4860:4860::8888", None, None),
    ("2001:db7:ffff::1", None, None),
    ("2001:db9::1", None, None),
    ("2003::1", None, None),
    ("2606:4700::1111", None, None),
    ("2620:4f:8000::1", None, None),
    ("2a00:1450::5eff:1:1", None, None),
    ("3ffe:ffff::1", None, None),
    ("3fff:1000::", None, None),
    ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None),
    # Private, shared, loopback: at home, yes.
    ("10.0.0.0", None, "private"),
    ("10.1.2.3", None, "private"),
    ("10.255.255.255", None, "private"),
    ("172.16.0.0", None, "private"),
    ("172.31.255.255", None, "private"),
    ("192.168.0.0", None, "private"),
    ("192.168.1.10", None, "private"),
    ("192.168.255.255", None, "private"),
    ("100.64.0.0", None, "shared"),
    ("100.100.100.199", None, "shared"),
    ("100.100.100.201", None, "shared"),
    ("100.127.255.255", None, "shared"),
    ("127.0.0.0", None, "loopback"),
    ("127.0.0.1", None, "loopback"),
    ("127.1.2.3", None, "loopback"),
    ("127.255.255.255", None, "loopback"),
    ("::1", None, "loopback"),
    ("fc00::", None, "private"),
    ("fd00::1", None, "private"),
    ("fd00:ec2::1", None, "private"),
    ("fd00:ec2::255", None, "private"),
    ("fd20:ce::253", None, "private"),
    ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, "private"),
    # Metadata services: never.
    ("169.254.169.254", "metadata", "metadata"),
    ("169.254.169.252", "metadata", "metadata"),
    ("169.254.170.2", "metadata", "metadata"),
    ("169.254.170.23", "metadata", "metadata"),
    ("169.254.42.42", "metadata", "metadata"),
    ("169.254.0.23", "metadata", "metadata"),
    ("169.254.10.10", "metadata", "metadata"),
    ("100.100.100.200", "metadata", "metadata"),
    ("192.0.0.192", "metadata", "metadata"),
    ("168.63.129.16", "metadata", "metadata"),
    ("fd00:ec2::254", "metadata", "metadata"),
    ("fd00:0ec2:0000::0254", "metadata", "metadata"),
    ("FD00:EC2::23", "metadata", "metadata"),
    ("fd20:ce::254", "metadata", "metadata"),
    ("fd00:c1::a9fe:a9fe", "metadata", "metadata"),
    ("fd00:100::100:200", "metadata", "metadata"),
    ("fd00:a9fe:a9fe::1", "metadata", "metadata"),
    ("fd00:42::42", "metadata", "metadata"),
    ("fe80::a9fe:a9fe", "metadata", "metadata"),
    ("fe80::a9fe:a9fe%eth0", "metadata", "metadata"),
    # … nor in a wrapping.
    ("::ffff:169.254.169.254", "metadata", "metadata"),
    ("::ffff:a9fe:a9fe", "metadata", "metadata"),
    ("0:0:0:0:0:ffff:6464:64c8", "metadata", "metadata"),
    ("::169.254.169.254", "metadata", "metadata"),
    ("::ffff:0:169.254.169.254", "metadata", "metadata"),
    ("64:ff9b::169.254.169.254", "metadata", "metadata"),
    ("64:ff9b::a83f:8110", "metadata", "metadata"),
    ("64:ff9b:1::169.254.169.254", "metadata", "metadata"),
    ("2002:a9fe:a9fe::1", "metadata", "metadata"),
    ("2002:6464:64c8::", "metadata", "metadata"),
    ("2001:0:808:808::5601:5601", "metadata", "metadata"),  # Teredo, client 169.254.169.254 inverted
    ("2001:0:a9fe:a9fe::1", "metadata", "metadata"),  # Teredo, its server
    ("fe80::5efe:169.254.169.254", "metadata", "metadata"),
    ("2a00::200:5efe:169.254.169.254", "metadata", "metadata"),
    # Link-local.
    ("169.254.0.0", "link_local", "link_local"),
    ("169.254.7.7", "link_local", "link_local"),
    ("169.254.169.253", "link_local", "link_local"),
    ("169.254.255.255", "link_local", "link_local"),
    ("fe80::", "link_local", "link_local"),
    ("fe80::1", "link_local", "link_local"),
    ("fe80::1%eth0", "link_local", "link_local"),
    ("fe80::5efe:192.168.1.1", "link_local", "link_local"),
    ("febf:ffff::1", "link_local", "link_local"),
    # Unspecified, multicast, documentation, benchmark.
    ("0.0.0.0", "unspecified", "unspecified"),  # noqa: S104 - not bound to
    ("0.1.2.3", "unspecified", "unspecified"),
    ("0.255.255.255", "unspecified", "unspecified"),
    ("::", "unspecified", "unspecified"),
    ("224.0.0.0", "multicast", "multicast"),
    ("224.0.0.251", "multicast", "multicast"),
    ("239.255.255.250", "multicast", "multicast"),
    ("239.255.255.255", "multicast", "multicast"),
    ("ff02::1", "multicast", "multicast"),
    ("ff0e::1", "multicast", "multicast"),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast", "multicast"),
    ("192.0.2.0", "documentation", "documentation"),
    ("192.0.2.255", "documentation", "documentation"),
    ("198.51.100.7", "documentation", "documentation"),
    ("203.0.113.7", "documentation", "documentation"),
    ("2001:db8::1", "documentation", "documentation"),
    ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", "documentation"),
    ("3fff::1", "documentation", "documentation"),
    ("3fff:fff:ffff::1", "documentation", "documentation"),
    ("198.18.0.0", "benchmark", "benchmark"),
    ("198.19.255.255", "benchmark", "benchmark"),
    ("2001:2::1", "benchmark", "benchmark"),
    # Reserved, in either family.
    ("192.0.0.0", "reserved", "reserved"),
    ("192.0.0.8", "reserved", "reserved"),
    ("192.0.0.11", "reserved", "reserved"),
    ("192.0.0.170", "reserved", "reserved"),
    ("192.0.0.171", "reserved", "reserved"),
    ("192.0.0.255", "reserved", "reserved"),
    ("240.0.0.0", "reserved", "reserved"),
    ("254.255.255.255", "reserved", "reserved"),
    ("255.255.255.255", "reserved", "reserved"),
    ("::2", "reserved", "reserved"),
    ("::127.0.0.1", "reserved", "reserved"),
    ("::8.8.8.8", "reserved", "reserved"),
    ("::ffff:0:127.0.0.1", "reserved", "reserved"),
    ("::ffff:0:8.8.8.8", "reserved", "reserved"),
    ("::1:0:0:1", "reserved", "reserved"),
    ("64:ff9b:0:1::1", "reserved", "reserved"),
    ("64:ff9b:2::1", "reserved", "reserved"),
    ("100::1", "reserved", "reserved"),
    ("100:0:0:1::1", "reserved", "reserved"),
    ("100:0:0:2::1", "reserved", "reserved"),
    ("200::1", "reserved", "reserved"),
    ("400::1", "reserved", "reserved"),
    ("1fff:ffff::1", "reserved", "reserved"),
    ("2001:1::", "reserved", "reserved"),
    ("2001:1::4", "reserved", "reserved"),
    ("2001:2:1::1", "reserved", "reserved"),
    ("2001:4::1", "reserved", "reserved"),
    ("2001:10::1", "reserved", "reserved"),
    ("2001:40::1", "reserved", "reserved"),
    ("2001:1ff:ffff::1", "reserved", "reserved"),
    ("4000::1", "reserved", "reserved"),
    ("5f00::1", "reserved", "reserved"),
    ("800::1", "reserved", "reserved"),
    ("6000::1", "reserved", "reserved"),
    ("8000::1", "reserved", "reserved"),
    ("a000::1", "reserved", "reserved"),
    ("c000::1", "reserved", "reserved"),
    ("f000::1", "reserved", "reserved"),
    ("e000::1", "reserved", "reserved"),
    ("fbff:ffff::1", "reserved", "reserved"),
    ("fe00::1", "reserved", "reserved"),
    ("fe7f:ffff::1", "reserved", "reserved"),
    ("fec0::1", "site_local", "site_local"),
    ("feff:ffff::1", "site_local", "site_local"),
    # Tunnels and translators.
    ("192.88.99.1", "6to4", "6to4"),
    ("192.88.99.2", "6to4", "6to4"),
    ("2002::1", "6to4", "6to4"),
    ("2002:808:808::1", "6to4", "6to4"),
    ("2002:7f00:1::1", "6to4", "6to4"),
    ("2002:ffff:ffff::1", "6to4", "6to4"),
    ("2001::1", "teredo", "teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "teredo", "teredo"),
    ("64:ff9b::8.8.8.8", None, None),
    ("64:ff9b::5db8:d822", None, None),
    ("64:ff9b::192.0.0.9", None, None),
    ("64:ff9b::10.0.0.1", "nat64", "nat64"),
    ("64:ff9b::127.0.0.1", "nat64", "nat64"),
    ("64:ff9b::100.64.0.1", "nat64", "nat64"),
    ("64:ff9b::192.168.1.1", "nat64", "nat64"),
    ("64:ff9b::169.254.1.1", "nat64", "nat64"),
    ("64:ff9b::0.0.0.0", "nat64", "nat64"),
    ("64:ff9b::224.0.0.1", "nat64", "nat64"),
    ("64:ff9b::192.0.2.1", "nat64", "nat64"),
    ("64:ff9b::255.255.255.255", "nat64", "nat64"),
    ("64:ff9b:1::8.8.8.8", None, None),
    ("64:ff9b:1:fffe::8.8.8.8", None, None),
    ("64:ff9b:1::10.0.0.1", "nat64", "nat64"),
    ("64:ff9b:1:fffe::192.168.1.1", "nat64", "nat64"),
    ("64:ff9b:1::", "nat64", "nat64"),
    # A neighbour behind a translator for a /48, a /56 and a /64; the last 32 bits are bait.
    ("64:ff9b:1:a00:0:100:808:808", "nat64", "nat64"),
    ("64:ff9b:1:a:0:1:808:808", "nat64", "nat64"),
    ("64:ff9b:1:0:7f:0:108:808", "nat64", "nat64"),
    ("2a00::5efe:10.0.0.1", "isatap", "isatap"),
    ("2a00::5efe:8.8.8.8", "isatap", "isatap"),
    ("2a00::200:5efe:127.0.0.1", "isatap", "isatap"),
    ("fd00::5efe:10.0.0.1", "isatap", "isatap"),
]


def test_the_table_is_as_long_as_promised() -> None:
    assert len(VERDICTS) * len(POLICIES) > 450
    assert len({address for address, _, _ in VERDICTS}) > 195


@pytest.mark.parametrize(("address", "at_home", "in_public"), VERDICTS)
def test_verdicts(address: str, at_home: str | None, in_public: str | None) -> None:
    assert rule(judge(policy("home"), address, 443)) == at_home
    assert rule(judge(policy("public"), address, 443)) == in_public
    assert judge(policy("open"), address, 443) is None
    assert is_public_target(address) is (in_public is None)


@pytest.mark.parametrize(("address", "at_home", "in_public"), VERDICTS)
@pytest.mark.parametrize("name", POLICIES)
def test_a_mapped_address_is_the_one_inside(
    name: str, address: str, at_home: str | None, in_public: str | None
) -> None:
    if ":" in address:
        return
    for spelling in (f"::ffff:{address}", str(IPv6Address((0xFFFF << 32) + int(IPv4Address(address))))):
        assert judge(policy(name), spelling, 443) == judge(policy(name), address, 443)
        assert judge(policy(name), ip_address(spelling), 443) == judge(policy(name), address, 443)


def test_everyday_addresses_need_no_policy() -> None:
    assert judge(EgressPolicy(), "192.168.1.10", 8080, "nas.lan") is None
    assert judge(EgressPolicy(), "127.0.0.1", 3000, "localhost") is None


# --- allow ---------------------------------------------------------------------------------------

ALLOWED: list[tuple[str, str, str | None, bool]] = [
    # entry, address, host, let through under public
    ("10.0.0.0/8", "10.1.2.3", None, True),
    ("10.1.2.3", "10.1.2.3", None, True),
    ("10.1.2.3", "::ffff:10.1.2.3", None, True),
    ("::ffff:10.1.2.3", "10.1.2.3", None, True),
    ("::ffff:10.0.0.0/104", "10.200.0.1", None, True),
    ("10.1.2.4", "10.1.2.3", None, False),
    ("0.0.0.0/0", "10.1.2.3", None, True),
    ("0.0.0.0/0", "127.0.0.1", None, True),
    ("0.0.0.0/0", "::1", None, False),
    ("::/0", "fd00::1", None, True),
    ("::/0", "10.1.2.3", None, False),
    ("100.64.0.0/10", "100.90.0.1", None, True),
    ("nas.lan", "10.1.2.3", "nas.lan", True),
    ("nas.lan", "10.1.2.3", "NAS.lan", True),
    ("NAS.LAN", "10.1.2.3", "nas.lan.", True),
    ("nas.lan", "10.1.2.3", "x.nas.lan", False),
    ("nas.lan", "10.1.2.3", "xnas.lan", False),
    ("nas.lan", "10.1.2.3", None, False),
    ("*.lan", "10.1.2.3", "nas.lan", True),
    ("*.lan", "10.1.2.3", "a.b.lan", True),
    ("*.lan", "10.1.2.3", "lan", False),
    (".lan", "127.0.0.1", "nas.lan", True),
    (".lan", "10.1.2.3", "nasxlan", False),
    # Special addresses: exactly, or not at all, and never by a name.
    ("169.254.7.7", "169.254.7.7", None, True),
    ("169.254.7.0/24", "169.254.7.7", None, True),
    ("169.254.0.0/16", "169.254.7.7", None, True),
    ("169.254.0.0/15", "169.254.7.7", None, False),
    ("169.0.0.0/8", "169.254.7.7", None, False),
    ("0.0.0.0/0", "169.254.7.7", None, False),
    ("cam.lan", "169.254.7.7", "cam.lan", False),
    ("*.lan", "224.0.0.1", "cam.lan", False),
    ("fe80::1", "fe80::1%eth0", None, True),
    ("fe80::/10", "fe80::1%eth0", None, True),
    ("fe00::/8", "fe80::1", None, False),
    ("::/0", "fe80::1", None, False),
    ("0.0.0.0", "0.0.0.0", None, True),  # noqa: S104 - not bound to
    ("0.0.0.0/8", "0.0.0.0", None, True),  # noqa: S104 - not bound to
    ("0.0.0.0/0", "0.0.0.0", None, False),  # noqa: S104 - not bound to
    ("224.0.0.0/4", "239.1.2.3", None, True),
    ("224.0.0.0/3", "239.1.2.3", None, False),
    ("224.0.0.0/3", "240.0.0.1", None, False),
    ("192.0.2.0/24", "192.0.2.1", None, True),
    ("192.0.0.0/22", "192.0.2.1", None, False),
    ("198.18.0.0/15", "198.19.0.1", None, True),
    ("2001:db8::/32", "2001:db8::1", None, True),
    ("2001::/16", "2001:db8::1", None, False),
    ("2002::/16", "2002:808:808::1", None, True),
    ("2000::/3", "2002:808:808::1", None, False),
    ("8.8.8.8", "2002:808:808::1", None, False),
    ("2001::/32", "2001::1", None, True),
    ("2001::/23", "2001::1", None, False),
    ("64:ff9b::10.0.0.1", "64:ff9b::10.0.0.1", None, True),
    ("64:ff9b::/96", "64:ff9b::10.0.0.1", None, True),
    ("64:ff9b::/64", "64:ff9b::10.0.0.1", None, False),
    ("10.0.0.0/8", "64:ff9b::10.0.0.1", None, False),
    ("nat.lan", "64:ff9b::10.0.0.1", "nat.lan", False),
    ("2a00::5efe:10.0.0.1", "2a00::5efe:10.0.0.1", None, True),
    ("2a00::5efe:0:0/96", "2a00::5efe:10.0.0.1", None, True),
    ("2a00::/64", "2a00::5efe:10.0.0.1", None, False),
    ("fec0::/10", "fec0::1", None, True),
    ("4000::/3", "5f00::1", None, False),
    ("5f00::/16", "5f00::1", None, True),
    # Metadata: not even exactly.
    ("169.254.169.254", "169.254.169.254", None, False),
    ("169.254.0.0/16", "169.254.169.254", None, False),
    ("100.100.100.200", "100.100.100.200", None, False),
    ("100.64.0.0/10", "100.100.100.200", None, False),
    ("168.63.129.16", "168.63.129.16", None, False),
    ("fd00:ec2::254", "fd00:ec2::254", None, False),
    ("fc00::/7", "fd20:ce::254", None, False),
    ("metadata.google.internal", "169.254.169.254", "metadata.google.internal", False),
    ("64:ff9b::/96", "64:ff9b::169.254.169.254", None, False),
    ("2002::/16", "2002:a9fe:a9fe::1", None, False),
]


@pytest.mark.parametrize(("entry", "address", "host", "through"), ALLOWED)
def test_allow(entry: str, address: str, host: str | None, through: bool) -> None:  # noqa: FBT001 - a table
    assert (judge(policy("public", allow=(entry,)), address, 443, host) is None) is through
    parsed = policy("public", allow=(parse_entry(entry),))
    assert (judge(parsed, address, 443, host) is None) is through


@pytest.mark.parametrize(("entry", "address", "host", "through"), ALLOWED)
def test_allow_at_home_reaches_as_far(entry: str, address: str, host: str | None, through: bool) -> None:  # noqa: FBT001
    verdict = judge(policy("home", allow=(entry,)), address, 443, host)
    if through:
        assert verdict is None
    else:
        assert verdict == judge(policy("home"), address, 443, host)


# --- deny ----------------------------------------------------------------------------------------

DENIED: list[tuple[str, str, str | None, bool]] = [
    ("8.8.8.0/24", "8.8.8.8", None, True),
    ("8.8.8.8", "::ffff:8.8.8.8", None, True),
    ("::ffff:8.8.8.8", "8.8.8.8", None, True),
    ("8.8.8.8", "64:ff9b::8.8.8.8", None, True),
    ("8.8.8.8", "64:ff9b:1::8.8.8.8", None, True),
    ("8.8.8.8", "2002:808:808::1", None, True),
    ("8.8.8.8", "::8.8.8.8", None, True),
    ("8.8.8.8", "2a00::5efe:8.8.8.8", None, True),
    ("64:ff9b::/96", "64:ff9b::8.8.8.8", None, True),
    ("2000::/3", "2606:4700::1111", None, True),
    ("::/0", "2606:4700::1111", None, True),
    ("0.0.0.0/0", "1.1.1.1", None, True),
    ("0.0.0.0/0", "2606:4700::1111", None, False),
    ("::/0", "1.1.1.1", None, False),
    ("fe80::/10", "fe80::1%eth0", None, True),
    ("evil.example", "1.1.1.1", "evil.example", True),
    ("evil.example", "1.1.1.1", "EVIL.example.", True),
    ("*.example", "1.1.1.1", "evil.example", True),
    ("*.example", "1.1.1.1", "example", False),
    ("evil.example", "1.1.1.1", "not-evil.example", False),
    ("evil.example", "1.1.1.1", None, False),
]


@pytest.mark.parametrize(("entry", "address", "host", "refused"), DENIED)
@pytest.mark.parametrize("name", POLICIES)
def test_deny(name: str, entry: str, address: str, host: str | None, refused: bool) -> None:  # noqa: FBT001
    allow = ("0.0.0.0/0", "::/0", address.partition("%")[0], *([host] if host else []))
    verdict = judge(policy(name, allow=allow, deny=(entry,)), address, 443, host)
    assert (rule(verdict) == "denied") is refused
    if verdict and refused:
        assert verdict.setting == "egress.deny"


# --- ports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "port", [0, 1, 21, 22, 23, 25, 53, 110, 143, 465, 587, 993, 2049, 4190, 6000, 6667, 6679, 10080]
)
@pytest.mark.parametrize("name", POLICIES)
def test_bad_ports(name: str, port: int) -> None:
    verdict = judge(policy(name), "1.1.1.1", port)
    assert verdict is not None
    assert verdict.rule == "port"
    assert verdict.setting == ("egress.allow_ports" if port else None)
    assert str(port) in verdict.message
    if port:
        assert judge(policy(name, allow_ports=frozenset({port})), "1.1.1.1", port) is None
        assert judge(policy(name, allow=("1.1.1.1",)), "1.1.1.1", port) is not None


@pytest.mark.parametrize(
    "port", [24, 80, 81, 443, 853, 3000, 3128, 3306, 5432, 6379, 6668 + 2, 8080, 8443, 9200, 65535]
)
def test_other_ports(port: int) -> None:
    assert judge(policy("public"), "1.1.1.1", port) is None


def test_ports_beyond_the_range() -> None:
    for port in (-1, 65536, 1 << 40):
        assert rule(judge(policy("open", allow_ports=frozenset({port})), "1.1.1.1", port)) == "port"


def test_the_bad_port_list_is_the_standards() -> None:
    """As undici has it, with what the fetch standard added in 2024 (4190, 6679) and 2025 (0)."""
    undici = """
    1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117
    119 123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601
    636 989 990 993 995 1719 1720 1723 2049 3659 4045 5060 5061 6000 6566 6665 6666 6667 6668 6669 6697 10080
    """
    assert set(BAD_PORTS) == {int(port) for port in undici.split()} | {4190, 6679, 0}


def test_an_allowed_port_lifts_no_address() -> None:
    assert rule(judge(policy(allow_ports=frozenset({80, 22})), "169.254.169.254", 80)) == "metadata"


# --- fliqd's own listeners -----------------------------------------------------------------------

OWN: list[tuple[str, str, int, str | None, bool]] = [
    # listener, address, port, our end, refused
    ("127.0.0.1", "127.0.0.1", 3547, None, True),
    ("127.0.0.1", "::ffff:127.0.0.1", 3547, None, True),
    ("127.0.0.1", "127.0.0.1", 3548, None, False),
    ("127.0.0.1", "127.0.0.2", 3547, None, False),
    ("127.0.0.1", "192.168.1.5", 3547, "192.168.1.5", False),
    ("::1", "::1", 3547, None, True),
    ("::1", "127.0.0.1", 3547, None, False),
    ("192.168.1.5", "192.168.1.5", 3547, None, True),
    ("192.168.1.5", "192.168.1.6", 3547, None, False),
    ("192.168.1.5", "127.0.0.1", 3547, None, False),
    ("0.0.0.0", "127.0.0.1", 3547, None, True),  # noqa: S104 - not bound to
    ("0.0.0.0", "127.9.9.9", 3547, None, True),  # noqa: S104 - not bound to
    ("0.0.0.0", "192.168.1.5", 3547, "192.168.1.5", True),  # noqa: S104 - not bound to
    ("0.0.0.0", "::ffff:192.168.1.5", 3547, "192.168.1.5", True),  # noqa: S104 - not bound to
    ("0.0.0.0", "192.168.1.6", 3547, "192.168.1.5", False),  # noqa: S104 - not bound to
    ("0.0.0.0", "192.168.1.5", 3547, None, False),  # noqa: S104 - not bound to
    ("::", "127.0.0.1", 3547, None, True),
    ("::", "::1", 3547, None, True),
    ("*", "fd00::5", 3547, "fd00::5", True),
    ("", "fd00::5", 3547, "fd00::6", False),
    ("::", "127.0.0.1", 80, "127.0.0.1", False),
]


@pytest.mark.parametrize(("listener", "address", "port", "source", "refused"), OWN)
def test_own_listeners(listener: str, address: str, port: int, source: str | None, refused: bool) -> None:  # noqa: FBT001
    verdict = judge(policy(own=((listener, 3547),)), address, port, source=source)
    assert (rule(verdict) == "own_listener") is refused


def test_nothing_lifts_own_listeners_but_open_with_an_exact_allow() -> None:
    own, host = (("127.0.0.1", 3547),), "fliqd.lan"
    for name in ("home", "public"):
        verdict = judge(policy(name, own=own, allow=("127.0.0.1", host)), "127.0.0.1", 3547, host)
        assert verdict is not None
        assert verdict.rule == "own_listener"
        assert "nothing lifts this" in verdict.message
    assert rule(judge(policy("open", own=own), "127.0.0.1", 3547)) == "own_listener"
    assert rule(judge(policy("open", own=own, allow=("0.0.0.0/0",)), "127.0.0.1", 3547)) == "own_listener"
    assert judge(policy("open", own=own, allow=("127.0.0.1",)), "127.0.0.1", 3547) is None


def test_the_unspecified_address_is_this_machine() -> None:
    for name in POLICIES:
        lifted = policy(name, own=(("127.0.0.1", 3547),), allow=("0.0.0.0/8",) if name != "open" else ())
        assert rule(judge(lifted, "0.0.0.0", 3547)) == "own_listener"  # noqa: S104 - not bound to


# --- redirects -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("previous", "address", "refused"),
    [
        ("1.1.1.1", "8.8.8.8", False),
        ("1.1.1.1", "64:ff9b::8.8.8.8", False),
        ("1.1.1.1", "10.0.0.1", True),
        ("1.1.1.1", "127.0.0.1", True),
        ("1.1.1.1", "::ffff:127.0.0.1", True),
        ("1.1.1.1", "100.64.0.1", True),
        ("1.1.1.1", "169.254.169.254", True),
        ("1.1.1.1", "168.63.129.16", True),
        ("1.1.1.1", "64:ff9b::10.0.0.1", True),
        ("1.1.1.1", "64:ff9b:1:a00:0:100:808:808", True),
        ("2606:4700::1111", "fd00::1", True),
        ("64:ff9b::8.8.8.8", "fe80::1", True),
        ("10.0.0.1", "127.0.0.1", False),
        ("10.0.0.1", "1.1.1.1", False),
        ("127.0.0.1", "192.168.1.1", False),
    ],
)
def test_a_public_target_never_leads_to_a_private_one(previous: str, address: str, refused: bool) -> None:  # noqa: FBT001
    verdict = judge_redirect(previous, address)
    assert (verdict is not None) is refused
    if verdict:
        assert (verdict.rule, verdict.setting) == ("public_to_private", None)
        assert "nothing lifts this" in verdict.message


# --- messages and entries ------------------------------------------------------------------------


def test_a_refusal_names_address_rule_and_remedy() -> None:
    verdict = judge(policy("public"), "10.1.2.3", 80, "nas.lan")
    assert verdict == Refusal(
        rule="private",
        setting="egress.allow",
        message="nas.lan (10.1.2.3) is a private address (10.0.0.0/8, RFC 1918), and egress.policy is "
        '"public": add 10.1.2.3 to egress.allow to let it through',
    )


@pytest.mark.parametrize(("address", "at_home", "in_public"), VERDICTS)
def test_every_refusal_is_one_sentence_with_a_way_out(address: str, at_home: str | None, in_public: str | None) -> None:
    for name in POLICIES:
        verdict = judge(policy(name), address, 443, "some.host")
        if verdict:
            assert verdict.setting in {"egress.allow", "egress.policy"}
            assert verdict.setting in verdict.message or "nothing lifts this" in verdict.message
            assert "some.host" in verdict.message
            assert "\n" not in verdict.message
            assert "%" not in verdict.message


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("10.0.0.0/8", IPv4Network("10.0.0.0/8")),
        ("10.0.0.1", IPv4Network("10.0.0.1/32")),
        ("fd00::/8", IPv6Network("fd00::/8")),
        ("::1", IPv6Network("::1/128")),
        ("::", IPv6Network("::/128")),
        ("::ffff:10.0.0.0/104", IPv4Network("10.0.0.0/8")),
        ("::ffff:0:0/96", IPv4Network("0.0.0.0/0")),
        ("nas", "nas"),
        ("NAS.lan.", "nas.lan"),
        ("*.Home.Arpa", ".home.arpa"),
        (".lan", ".lan"),
        ("_dmarc.example", "_dmarc.example"),
    ],
)
def test_entries(text: str, entry: object) -> None:
    assert parse_entry(text) == entry


NO_ENTRIES = [
    *("", "*", "**.lan", "a.*.lan", ".", "*.", "..lan", "-nas.lan", "nas..lan", "nas.lan:80", "10.0.0.1:80"),
    *(
        " nas.lan",
        "nas.lan ",
        "nas lan",
        "nas.lan\n",
        "a" * 64,
        "a." * 130 + "a",
        "münchen.de",
        "\u212aube.lan",
    ),
    *("10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "/8", "10.0.0.0/255.0.0.0", "10.0.0.0/8/8"),
    *("fd00::1/8", "fd00::/129", "fe80::1%eth0", "fe80::/10%eth0", "[::1]", "[::1]:80", ":::", "1::2::3"),
    *("127.1", "0x7f.1", "2130706433", "010.0.0.1", "300.1.1.1", "1.2.3.4.", "http://nas.lan/"),
]


@pytest.mark.parametrize("text", NO_ENTRIES)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(ValueError, match="expected a CIDR"):
        parse_entry(text)
    for side in ("allow", "deny"):
        with pytest.raises(ValueError, match="expected a CIDR"):
            policy("home", **{side: (text,)})


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="expected home, public or open"):
        policy("closed")


def test_what_is_no_address_has_no_verdict() -> None:
    for text in ("", "nas.lan", "127.1", "010.0.0.1", "1.2.3.4%eth0", "[::1]"):
        with pytest.raises(ValueError, match="address"):
            judge(EgressPolicy(), text, 80)


def test_the_policy_is_a_value() -> None:
    one = policy("public", allow=("10.0.0.0/8",), deny=("*.evil.example",))
    same = policy("public", allow=(ip_network("10.0.0.0/8"),), deny=(".evil.example",))
    assert one == same
    assert hash(one) == hash(same)
    changed = dataclasses.replace(one, policy="home")
    assert changed.policy == "home"
    assert rule(judge(changed, "1.1.1.1", 443, "x.evil.example")) == "denied"


# --- properties ----------------------------------------------------------------------------------

v4 = st.integers(0, (1 << 32) - 1).map(IPv4Address)
_v6_prefixes = [
    "::",
    "64:ff9b::",
    "64:ff9b:1::",
    "2001::",
    "2001:db8::",
    "2002::",
    "fc00::",
    "fe80::",
    "2a00::",
    "ff00::",
]
v6 = st.integers(0, (1 << 128) - 1).map(IPv6Address) | st.builds(
    lambda prefix, low: IPv6Address(int(IPv6Address(prefix)) | low),
    st.sampled_from(_v6_prefixes),
    st.integers(0, (1 << 80) - 1),
)
addresses = v4 | v6
names = st.sampled_from(POLICIES)


@given(address=addresses, name=names, port=st.integers(0, 65535))
def test_every_address_gets_a_verdict(address: IPv4Address | IPv6Address, name: str, port: int) -> None:
    verdict = judge(policy(name), address, port)
    assert judge(policy(name), str(address), port) == verdict
    assert verdict is None or (verdict.rule and verdict.message)
    if name == "public" and verdict is None:
        assert is_public_target(address)
    if judge(policy("public"), address, port) is None:
        assert judge(policy("home"), address, port) is None
    if judge(policy("home"), address, port) is None:
        assert judge(policy("open"), address, port) is None


@given(address=v4, name=names)
def test_mapped_equals_inner(address: IPv4Address, name: str) -> None:
    mapped = IPv6Address((0xFFFF << 32) + int(address))
    assert judge(policy(name), mapped, 443) == judge(policy(name), address, 443)


@given(address=v4, name=st.sampled_from(("home", "public")))
def test_nat64_passes_only_what_is_global(address: IPv4Address, name: str) -> None:
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) + int(address))
    assert (judge(policy(name), translated, 443) is None) is is_public_target(address)


@given(address=addresses, name=names, bits=st.integers(0, 32))
def test_deny_always_wins(address: IPv4Address | IPv6Address, name: str, bits: int) -> None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return
    network = ip_network((address, address.max_prefixlen - bits), strict=False)
    settings = {"allow": (str(address), "x.example", network), "deny": (network,)}
    assert rule(judge(policy(name, **settings), address, 443, "x.example")) == "denied"
    by_name = policy(name, allow=(str(address),), deny=("*.example",))
    assert rule(judge(by_name, address, 443, "X.example.")) == "denied"


@given(address=addresses)
def test_an_exact_allow_lifts_all_but_metadata(address: IPv4Address | IPv6Address) -> None:
    exact = policy("public", allow=(str(address),))
    assert rule(judge(exact, address, 443)) in (None, "metadata")


@given(address=v6 | v4, wide=st.sampled_from(["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "8000::/1"]))
def test_a_wide_allow_lifts_no_special_address(address: IPv4Address | IPv6Address, wide: str) -> None:
    verdict = judge(policy("home"), address, 443)
    assert judge(policy("home", allow=(wide,)), address, 443) == verdict


@given(text=st.text(max_size=20) | st.from_regex(r"[0-9a-fx.:/*%]{1,20}", fullmatch=True))
def test_an_entry_is_read_or_refused(text: str) -> None:
    try:
        entry = parse_entry(text)
    except ValueError as err:
        assert "expected a CIDR" in str(err)  # noqa: PT017 - either way is fine, this is what must hold
    else:
        assert parse_entry(str(entry)) == entry
