"""Where requests may go: a verdict on the address a connection leads to.

Three policies. `home` lets through what is globally routable, private, shared or loopback; `public` only
what is globally routable; `open` every address. Around them:

- `deny` refuses under each policy and wins over `allow`. It is matched against the address and against any
  IPv4 address inside it (NAT64, 6to4, Teredo …), and against the host's name.
- `allow` adds to `home` and `public`. For private, shared and loopback addresses any network that holds the
  address will do, and so will the host's name. All other special addresses need an *exact* entry: the very
  address, or a network wholly inside the special block it belongs to (`169.254.7.0/24`, not `0.0.0.0/0`).
  A name never lifts those: whoever runs its zone would decide.
- Metadata services are refused under `home` and `public`; no `allow` lifts that.
- fliqd's own listeners are refused under each policy. Only `open` with an exact `allow` lifts that.
- Ports on the fetch standard's bad-port list are refused under each policy, unless `allow_ports` has them.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal, get_args

from fliqd.core.addresses import Address, Kind, Place, locate, spelt
from fliqd.core.urls import check_name

Entry = IPv4Network | IPv6Network | str
Policy = Literal["home", "public", "open"]


class Rule(StrEnum):
    """The rules besides an address's kind; with `Kind`, the closed list of what `Refusal.rule` may be."""

    DENIED = "denied"
    OWN_LISTENER = "own_listener"
    PORT = "port"
    REDIRECT = "public_to_private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request may not go there; `setting` is the key that would change it, None when none does."""

    rule: str
    setting: str | None
    message: str


def parse_entry(text: str) -> Entry:
    """Read one entry of `allow` or `deny`: an address, a network, or a host name in lower case.

    `nas.lan` is that name alone; `*.lan` and `.lan` (returned as `.lan`) are all names below it, at any
    depth, and not `lan` itself. An IPv4-mapped network is the IPv4 network inside. Raise ValueError that
    says what was expected.
    """
    wanted = f"{text[:80]!r}: expected a CIDR (10.0.0.0/8), an address, or a host name (nas.lan, *.lan)"
    if "%" in text:
        raise ValueError(f"{wanted}; write the address without its scope (%…)")
    if text.startswith("["):
        raise ValueError(f"{wanted}; write an IPv6 address without brackets and without a port")
    if "/" in text or text.count(":") > 1 or text.replace(".", "").isdigit():
        return _parse_network(text, wanted)
    name = text.removeprefix("*") if text.startswith("*.") else text
    try:
        host = check_name(name.removeprefix("."))
    except ValueError as err:
        raise ValueError(f"{wanted}; {err}") from err
    return "." + host if name.startswith(".") else host


def _parse_network(text: str, wanted: str) -> IPv4Network | IPv6Network:
    address, slash, length = text.partition("/")
    # The standard library also takes a mask for a length: 10.0.0.0/255.0.0.0, and 10.0.0.0/0.0.0.255.
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"{wanted}; the part after / is a number of bits")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(wanted) from None
    if network.network_address != ip_network(address).network_address:
        raise ValueError(f"{wanted}; {text} has bits beyond its length: did you mean {network}?")
    return _unmapped(network)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_LENGTH:
        inner = network.network_address.ipv4_mapped
        if inner is not None:
            return IPv4Network((inner, network.prefixlen - _MAPPED_LENGTH))
    return network


class _Entries:
    """A list of entries, made ready for quick questions."""

    __slots__ = ("_names", "_networks", "_ranges", "_suffixes")

    def __init__(self, entries: Iterable[Entry]) -> None:
        entries = tuple(entries)
        names = [entry for entry in entries if isinstance(entry, str)]
        self._names = frozenset(name for name in names if not name.startswith("."))
        self._suffixes = tuple(name for name in names if name.startswith("."))
        self._networks = [
            (entry.version, int(entry.network_address), int(entry.broadcast_address), str(entry))
            for entry in entries
            if not isinstance(entry, str)
        ]
        self._ranges = {version: self._merged(version) for version in (4, 6)}

    def _merged(self, version: int) -> tuple[list[int], list[int]]:
        firsts: list[int] = []
        lasts: list[int] = []
        for first, last in sorted((first, last) for v, first, last, _ in self._networks if v == version):
            if lasts and first <= lasts[-1] + 1:
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)
        return firsts, lasts

    def hold(self, version: int, value: int) -> bool:
        firsts, lasts = self._ranges[version]
        at = bisect_right(firsts, value) - 1
        return at >= 0 and value <= lasts[at]

    def hold_exactly(self, place: Place) -> bool:
        """Tell whether an entry wholly inside the place's own block holds it."""
        return any(
            version == place.version and place.block.first <= first <= place.value <= last <= place.block.last
            for version, first, last, _ in self._networks
        )

    def name(self, host: str | None) -> bool:
        if host is None or not (self._names or self._suffixes):
            return False
        host = host.rstrip(".").lower()
        return host in self._names or host.endswith(self._suffixes)

    def spell(self, version: int, value: int) -> str:
        """Return the first entry that holds the address, as it was written."""
        return next(text for v, first, last, text in self._networks if v == version and first <= value <= last)


def _no_entries() -> _Entries:
    return _Entries(())


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy:
    """The `[egress]` section, and where fliqd itself listens.

    `own` are (address, port) pairs of bound TCP listeners; `""`, `"*"`, `"0.0.0.0"` and `"::"` are
    wildcards, which answer on every address of this machine. Strings in `allow` and `deny` go through
    `parse_entry`; raises ValueError as it does.
    """

    policy: Policy = "home"
    allow: tuple[Entry, ...] = ()
    deny: tuple[Entry, ...] = ()
    allow_ports: frozenset[int] = frozenset()
    own: tuple[tuple[str, int], ...] = ()
    _allowed: _Entries = field(init=False, repr=False, compare=False, default_factory=_no_entries)
    _denied: _Entries = field(init=False, repr=False, compare=False, default_factory=_no_entries)
    _own_places: frozenset[tuple[int, int, int]] = field(init=False, repr=False, compare=False, default=frozenset())
    _own_anywhere: frozenset[int] = field(init=False, repr=False, compare=False, default=frozenset())
    _own_here: frozenset[int] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise ValueError(f"{self.policy!r}: expected home, public or open")
        allow, deny = _entries(self.allow), _entries(self.deny)
        bound = [(locate(ip), port) for ip, port in self.own if ip not in _WILDCARDS]
        anywhere = frozenset(port for ip, port in self.own if ip in _WILDCARDS)
        loopback = frozenset(port for place, port in bound if place.kind is Kind.LOOPBACK)
        ready = {
            "allow": allow,
            "deny": deny,
            "_allowed": _Entries(allow),
            "_denied": _Entries(deny),
            "_own_places": frozenset((place.version, place.value, port) for place, port in bound),
            "_own_anywhere": anywhere,
            "_own_here": anywhere | loopback,
        }
        for name, value in ready.items():
            object.__setattr__(self, name, value)  # frozen: how a dataclass sets its own derived fields

    def denies(self, place: Place, host: str | None) -> str | None:
        """Return what `deny` has against it, as the end of a sentence; None when nothing."""
        for version, value in place.readings:
            if self._denied.hold(version, value):
                inside = "" if version == place.version else f"carries {spelt(version, value)}, which "
                return f"{inside}is in {self._denied.spell(version, value)} of egress.deny"
        return "is refused by its name in egress.deny" if self._denied.name(host) else None

    def allows(self, place: Place, host: str | None) -> bool:
        """Tell whether an entry as wide as one likes lets the place in, or the host's name."""
        return self._allowed.hold(place.version, place.value) or self._allowed.name(host)

    def allows_exactly(self, place: Place) -> bool:
        return self._allowed.hold_exactly(place)

    def listens(self, place: Place, port: int, source: Address | None) -> bool:
        """Tell whether one of fliqd's own listeners would answer there."""
        if (place.version, place.value, port) in self._own_places:
            return True
        if port not in self._own_here:
            return False
        if place.kind is Kind.UNSPECIFIED:  # Linux connects 0.0.0.0 and :: to loopback
            return True
        if port not in self._own_anywhere:
            return False
        return place.kind is Kind.LOOPBACK or (source is not None and _same(place, locate(source)))


def _entries(given: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(parse_entry(entry) if isinstance(entry, str) else _unmapped(entry) for entry in given)


def _same(one: Place, other: Place) -> bool:
    return one.version == other.version and one.value == other.value


def judge(
    policy: EgressPolicy,
    address: Address,
    port: int,
    host: str | None = None,
    *,
    source: Address | None = None,
) -> Refusal | None:
    """Return why a connection to `address` and `port` is refused, None when it may be made.

    `host` is the name that led there; None or the literal itself where there was no name. `source` is our
    end of the connection, once it is known: a connection from an address to itself never left this
    machine, which is how a listener on a wildcard is recognised behind a LAN address. Without it only
    loopback is. Raises ValueError for a string that is no address.
    """
    place = locate(address)
    against = policy.denies(place, host)
    if against:
        return Refusal(
            rule=Rule.DENIED,
            setting="egress.deny",
            message=f"{_subject(place, host)} {against}: take the entry out to let it through",
        )
    if place.kind is Kind.METADATA and policy.policy != "open":
        return Refusal(
            rule=Kind.METADATA,
            setting="egress.policy",
            message=f"{_subject(place, host)} leads to a cloud metadata service ({place.service}): "
            f'nothing lifts this while egress.policy is "{policy.policy}"',
        )
    if policy.listens(place, port, source) and not (policy.policy == "open" and policy.allows_exactly(place)):
        return _own_listener(policy, place, port, host)
    if place.kind is not Kind.GLOBAL and policy.policy != "open":
        refusal = _special(policy, place, host)
        if refusal:
            return refusal
    if (port in BAD_PORTS and port not in policy.allow_ports) or not 0 < port <= _LAST_PORT:
        return _bad_port(place, port, host)
    return None


def judge_redirect(previous: Address, address: Address) -> Refusal | None:
    """Return why a redirect from `previous` may not lead to `address`: a public target never leads inside.

    It comes on top of `judge` and holds under every policy, whatever `allow` says.
    """
    if not is_public_target(previous) or is_public_target(address):
        return None
    place = locate(address)
    return Refusal(
        rule=Rule.REDIRECT,
        setting=None,
        message=f"{locate(previous).text} is public and redirects to {place.text}, {_noun(place)}: "
        "nothing lifts this; give the job the URL it leads to",
    )


def is_public_target(address: Address) -> bool:
    """Tell whether `address` is globally routable; a metadata service never counts as that."""
    return locate(address).kind is Kind.GLOBAL


def _special(policy: EgressPolicy, place: Place, host: str | None) -> Refusal | None:
    """Judge an address that is not globally routable, under `home` or `public`."""
    if place.kind in AT_HOME:
        if policy.policy == "home" or policy.allows(place, host):
            return None
        remedy = f', and egress.policy is "{policy.policy}": add {place.text} to egress.allow to let it through'
    else:
        if policy.allows_exactly(place):
            return None
        remedy = f": add exactly {place.text}, or a network inside {place.block.network}, to egress.allow"
    return Refusal(
        rule=place.kind,
        setting="egress.allow",
        message=f"{_subject(place, host)} is {_noun(place)} ({place.block.network}, {place.block.source}){remedy}",
    )


def _own_listener(policy: EgressPolicy, place: Place, port: int, host: str | None) -> Refusal:
    remedy = (
        f"add exactly {place.text} to egress.allow to let it through"
        if policy.policy == "open"
        else f'nothing lifts this while egress.policy is "{policy.policy}"'
    )
    return Refusal(
        rule=Rule.OWN_LISTENER,
        setting="egress.allow" if policy.policy == "open" else "egress.policy",
        message=f"{_subject(place, host)} port {port} is where fliqd itself listens: {remedy}",
    )


def _bad_port(place: Place, port: int, host: str | None) -> Refusal:
    if not 0 < port <= _LAST_PORT:
        return Refusal(
            rule=Rule.PORT,
            setting=None,
            message=f"{_subject(place, host)} port {port} is outside 1-65535: nothing lifts this",
        )
    return Refusal(
        rule=Rule.PORT,
        setting="egress.allow_ports",
        message=f"{_subject(place, host)} port {port} ({BAD_PORTS[port]}) is on the fetch standard's list of "
        f"bad ports: add {port} to egress.allow_ports to let it through",
    )


def _subject(place: Place, host: str | None) -> str:
    if not host or host[0] == "[" or ":" in host or host == place.text:
        return place.text
    return f"{host} ({place.text})"


def _noun(place: Place) -> str:
    noun = _NOUNS[place.kind]
    if place.kind is not Kind.NAT64:
        return noun
    inner = [spelt(*reading) for reading in place.readings[1:]]
    return f"{noun} for {next(text for text in inner if not is_public_target(text))}"


AT_HOME: Final = frozenset({Kind.PRIVATE, Kind.SHARED, Kind.LOOPBACK})

_LAST_PORT: Final = 65535
_MAPPED_LENGTH: Final = 96
_WILDCARDS: Final = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to

_NOUNS: Final = {
    Kind.GLOBAL: "a globally routable address",
    Kind.PRIVATE: "a private address",
    Kind.SHARED: "a shared (carrier-grade NAT) address",
    Kind.LOOPBACK: "a loopback address",
    Kind.LINK_LOCAL: "a link-local address",
    Kind.UNSPECIFIED: "an unspecified address",
    Kind.MULTICAST: "a multicast address",
    Kind.DOCUMENTATION: "a documentation address",
    Kind.BENCHMARK: "a benchmark address",
    Kind.RESERVED: "a reserved address",
    Kind.SITE_LOCAL: "a site-local address (deprecated)",
    Kind.SIX_TO_FOUR: "a 6to4 address",
    Kind.TEREDO: "a Teredo address",
    Kind.NAT64: "a NAT64 address",
    Kind.ISATAP: "an ISATAP address",
    Kind.METADATA: "a cloud metadata address",
}

# WHATWG Fetch, "port blocking", bad port table, with port 0 (August 2025).
BAD_PORTS: Final = {
    0: "none",
    1: "tcpmux",
    7: "echo",
    9: "discard",
    11: "systat",
    13: "daytime",
    15: "netstat",
    17: "qotd",
    19: "chargen",
    20: "ftp-data",
    21: "ftp",
    22: "ssh",
    23: "telnet",
    25: "smtp",
    37: "time",
    42: "name",
    43: "nicname",
    53: "domain",
    69: "tftp",
    77: "rje",
    79: "finger",
    87: "link",
    95: "supdup",
    101: "hostname",
    102: "iso-tsap",
    103: "gppitnp",
    104: "acr-nema",
    109: "pop2",
    110: "pop3",
    111: "sunrpc",
    113: "auth",
    115: "sftp",
    117: "uucp-path",
    119: "nntp",
    123: "ntp",
    135: "epmap",
    137: "netbios-ns",
    139: "netbios-ssn",
    143: "imap",
    161: "snmp",
    179: "bgp",
    389: "ldap",
    427: "svrloc",
    465: "submissions",
    512: "exec",
    513: "login",
    514: "shell",
    515: "printer",
    526: "tempo",
    530: "courier",
    531: "chat",
    532: "netnews",
    540: "uucp",
    548: "afp",
    554: "rtsp",
    556: "remotefs",
    563: "nntps",
    587: "submission",
    601: "syslog-conn",
    636: "ldaps",
    989: "ftps-data",
    990: "ftps",
    993: "imaps",
    995: "pop3s",
    1719: "h323gatestat",
    1720: "h323hostcall",
    1723: "pptp",
    2049: "nfs",
    3659: "apple-sasl",
    4045: "npp",
    4190: "sieve",
    5060: "sip",
    5061: "sips",
    6000: "x11",
    6566: "sane-port",
    6665: "ircu",
    6666: "ircu",
    6667: "ircu",
    6668: "ircu",
    6669: "ircu",
    6679: "osaut",
    6697: "ircs-u",
    10080: "amanda",
}
