"""URL syntax as it is judged when a job is created: what is accepted is sent as it stands.

A small grammar after RFC 3986 in one regular expression, because `urllib.parse` strips control characters
and tolerates what two parsers read differently, which is how requests end up somewhere else. Where a
request may go is not judged here but at each attempt (`core.egress`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from unicodedata import normalize
from urllib.parse import quote

MAX_URL: Final = 2048
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_URL: Final = re.compile(
    r"""
    (https?)://
    (?: ([a-z0-9._-]+) | \[([0-9a-f:.]+)\] )
    (?: :([1-9][0-9]{0,4}) )?
    (/[!"$->@-\[\]-~]*)?        # visible ASCII but for \ and what ends the path
    (\?[!"$-\[\]-~]*)?
    (?: \#[!-\[\]-~]* )?
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
# Letters, digits and hyphens inside (RFC 1123, 2.1), and the underscore that names at home do have.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_MAX_NAME: Final = 253
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart.

    `host` is in lower case, without brackets and without the dot that may end a name; `authority` is the
    value of the Host header, so without a default port; `target` is the path and query as they came.
    """

    scheme: str
    host: str
    port: int
    authority: str
    target: str
    is_ip: bool


def check_url(text: str) -> Target:
    """Take an absolute http or https URL apart; raise ValueError saying what is wrong and what works."""
    if len(text) > MAX_URL:
        raise ValueError(f"the URL has {len(text)} characters: at most {MAX_URL} are allowed")
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(_complaint(text))
    scheme, name, literal, digits, path, query = match.groups()
    scheme = scheme.lower()
    if name is None:
        host = _check_ipv6(literal)
        authority, is_ip = f"[{host}]", True
    else:
        name = name.lower()
        is_ip = _IPV4.fullmatch(name) is not None
        authority = host = name if is_ip else check_name(name)
    port = default = DEFAULT_PORTS[scheme]
    if digits:
        port = int(digits)
        if port > _MAX_PORT:
            raise ValueError(_port_complaint(digits))
    if port != default:
        authority = f"{authority}:{port}"
    return Target(scheme, host, port, authority, (path or "/") + (query or ""), is_ip)


def check_name(name: str) -> str:
    """Return a host name in lower case without the dot at its end; raise ValueError if it is none.

    A name whose last label is a number is refused: resolvers read `127.1`, `0x7f.1`, `2130706433` and
    `1.2.3.4.` as addresses (WHATWG URL, "ends in a number"), so an address is four plain decimals or
    nothing.
    """
    host = name.lower().removesuffix(".")
    last = host.rpartition(".")[2]
    # The last label settles whether it can be an address; only those that begin with a digit can.
    if last[:1].isdigit() and _NUMBER.fullmatch(last):
        raise ValueError(
            f"the host {_shown(name)} ends in a number: an IPv4 address is four decimals from 0 to 255 "
            "without leading zeros, such as 192.168.1.10"
        )
    if not name.isascii() or _NAME.fullmatch(host) is None or len(host) > _MAX_NAME:
        raise ValueError(
            f"the host {_shown(name)} is not valid: labels of 1 to 63 letters, digits, - and _ that neither "
            f"begin nor end with -, joined by dots, at most {_MAX_NAME} in all"
        )
    return host


def with_query(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Append query parameters, percent-encoded as UTF-8, before the fragment; what is there stays as it is.

    A space becomes `%20`. Whether the result is still short enough is for `check_url` to say. Raises
    ValueError for a lone surrogate, which no encoding can carry.
    """
    added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    if not added:
        return url
    base, hash_sign, fragment = url.partition("#")
    if "?" not in base:
        base += "?"
    elif not base.endswith(("?", "&")):
        base += "&"
    return base + added + hash_sign + fragment


def _check_ipv6(literal: str) -> str:
    try:
        return str(IPv6Address(literal))
    except ValueError as err:
        raise ValueError(f"the host [{literal[:64]}] is no IPv6 address ({err}): write one such as [fd00::1]") from None


def _complaint(text: str) -> str:
    """Say what keeps `text` from being a URL; the common mistakes first, and no password is repeated."""
    if not text:
        return 'the URL is empty: write an absolute one such as "https://example.com/path"'
    bad = _FORBIDDEN.search(text)
    if bad:
        return _forbidden(text, bad.start())
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in DEFAULT_PORTS:
        return 'the URL must begin with "http://" or "https://"'
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return "the URL holds a user name or password: leave it out and send an Authorization header instead"
    host = authority.rpartition(":")[0] or authority
    if not host.isascii():
        return _unicode_host(host)
    if authority.isascii() and not text.isascii():
        at, char = next((at, char) for at, char in enumerate(text) if not char.isascii())
        encoded = quote(char, errors="replace")
        return f"the URL has {char!r} at position {at}: percent-encode it, as {encoded}"
    return _authority_complaint(authority)


def _forbidden(text: str, at: int) -> str:
    char = text[at]
    if char == "\\":
        return f"the URL has a backslash at position {at}: write / instead, or %5C where one is meant"
    if at in (0, len(text) - 1) and text.strip() != text:
        return "the URL has white space around it: leave it out"
    what = "a space" if char == " " else f"the control character {char!r}"
    return f"the URL has {what} at position {at}: leave it out, or write %{ord(char):02X} where it is meant"


def _unicode_host(host: str) -> str:
    spelt = [_punycode(label) for label in normalize("NFC", host.lower()).split(".")]
    shown = ".".join(label for label in spelt if label)
    such = f"write {shown}" if all(spelt) and len(shown) <= _MAX_NAME else "write its xn--… form"
    return f"the host {_shown(host)} is not ASCII: {such} (punycode)"


def _punycode(label: str) -> str:
    """Return a label's ASCII form (RFC 3492), "" where there is none to suggest."""
    if label.isascii():
        return label
    if len(label) > 63 or not label.replace("-", "").isalnum():  # noqa: PLR2004 - RFC 1035, longest label
        return ""
    try:
        return "xn--" + label.encode("punycode").decode("ascii")
    except UnicodeError:
        return ""


def _authority_complaint(authority: str) -> str:
    if authority.startswith("["):
        host, bracket, port = authority.partition("]")
        if not bracket:
            return "the IPv6 address in the URL has no closing ]"
        if "%" in host:
            return "the URL has an IPv6 zone (%…): leave it out"
        if port and not port.startswith(":"):
            return f"the URL has {_shown(port)} after the ]: only a port such as :8080 may follow"
        if not re.fullmatch(r"\[[0-9a-fA-F:.]+", host):
            return f"the host {_shown(host + bracket)} is no IPv6 address: write one such as [fd00::1]"
        return _port_complaint(port[1:])
    if authority.count(":") > 1:
        return "the URL has more than one : in its host: write an IPv6 address in brackets, such as [fd00::1]"
    host, _, port = authority.partition(":")
    if not host:
        return 'the URL has no host: write one such as "https://example.com/path"'
    if "%" in host:
        return "the URL has a % in its host: write the host name as it is"
    if re.fullmatch(r"[A-Za-z0-9._-]+", host):
        return _port_complaint(port)
    return f"the host {_shown(host)} is not valid: letters, digits, -, _ and dots"


def _port_complaint(port: str) -> str:
    if not port:
        return "the URL has a : without a port: leave the : out, or write a port from 1 to 65535"
    return f"the port {_shown(port)} is not a plain number from 1 to {_MAX_PORT} without leading zeros"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 64 else text[:64] + "…")  # noqa: PLR2004 - enough to recognise it
