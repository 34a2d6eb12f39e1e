"""What a request is on the wire: the origin it goes to and the octets of its head (RFC 9112, section 3)."""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fliqd.core.delivery import OutgoingRequest

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORT: Final = {"http": 80, "https": 443}
HIGHEST_PORT: Final = 65535
# Methods whose empty body is announced: a server may otherwise wait for one (RFC 9110, section 8.6).
BODY_EXPECTED: Final = frozenset({"POST", "PUT", "PATCH"})
# Where the message ends is the sender's to say; a second opinion in the head is how requests are smuggled.
FRAMING: Final = frozenset({"host", "content-length", "transfer-encoding"})

_URL: Final = re.compile(r"(https?://[^/?#@]+)((?:[/?][^#]*)?)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class UnsendableError(ValueError):
    """The request cannot be put on the wire as it stands; the message says which part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who is called: scheme, host and port, which is also what a connection may be reused for."""

    tls: bool
    host: str  # lower case; an IPv6 literal without its brackets
    port: int
    authority: str  # the Host header: as in the URL, without a default port
    peer: str  # host:port, for messages
    key: str  # the same for every spelling of one origin
    literal: IPAddress | None  # set when the host is an address, so that there is nothing to look up


@lru_cache(maxsize=4096)
def origin_of(prefix: str) -> Origin:
    """Read `scheme://host[:port]`; raise UnsendableError for anything else."""
    scheme, _, authority = prefix.partition("://")
    scheme = scheme.lower()
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise UnsendableError(f"The URL's host {authority!r} is not a name, an address or host:port.")
    host, digits = parts.groups()
    port = int(digits) if digits else DEFAULT_PORT[scheme]
    if not 0 < port <= HIGHEST_PORT:
        raise UnsendableError(f"The URL's port {port} is not within 1 to {HIGHEST_PORT}.")
    peer = f"{host.lower()}:{port}"
    return Origin(
        tls=scheme == "https",
        host=host.strip("[]").lower(),
        port=port,
        authority=host if port == DEFAULT_PORT[scheme] else f"{host}:{port}",
        peer=peer,
        key=f"{scheme}://{peer}",
        literal=_literal(host),
    )


@lru_cache(maxsize=1024)
def _place_of(url: str) -> tuple[Origin, str]:
    """Return where a request for `url` goes, and what it asks for there; raise UnsendableError."""
    parts = _URL.fullmatch(url.partition("#")[0])
    if parts is None or not (url.isascii() and url.isprintable()) or " " in url:
        raise UnsendableError("The URL is not an absolute http or https URL in printable ASCII.")
    prefix, target = parts.groups()
    return origin_of(prefix), target if target.startswith("/") else f"/{target}"


@lru_cache(maxsize=4096)
def _is_header_name(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None and name.lower() not in FRAMING


def encode(request: OutgoingRequest) -> tuple[Origin, bytes]:
    """Return where the request goes and its head, ended by the empty line.

    Raises UnsendableError rather than let a text end its line early (RFC 9112, section 11.1): what comes here
    has been checked, but a second request in the place of a header is too dear a mistake to trust that.
    """
    origin, target = _place_of(request.url)
    if _TOKEN.fullmatch(request.method) is None:
        raise UnsendableError(f"The method {request.method!r} is not a token.")

    lines = [f"{request.method} {target} HTTP/1.1\r\nHost: {origin.authority}"]
    for name, value in request.headers:
        if not _is_header_name(name):
            raise UnsendableError(f"The header {name!r} cannot be sent: no header name, or set by fliqd itself.")
        lines.append(f"{name}: {value}")
    if request.body or request.method in BODY_EXPECTED:
        lines.append(f"Content-Length: {len(request.body or b'')}")
    lines.append("\r\n")
    text = "\r\n".join(lines)
    breaks = len(lines) + 1
    if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
        raise UnsendableError("A header value contains a line break or a zero byte.")
    try:
        return origin, text.encode()
    except UnicodeEncodeError:
        raise UnsendableError("A header value contains half a surrogate pair, which is no character.") from None


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
