"""Where a request says it came to and from: what keeps web pages of others away from a daemon on loopback."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from fliqd.errors import FliqdError, ForbiddenError

_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?", re.ASCII)
REMEMBERED: Final = 1_000


class MisdirectedError(FliqdError):
    """A Host that is not ours (RFC 9110, 15.5.20)."""

    code = "misdirected_request"


class Doorkeeper:
    """Checks `Host` and `Origin`.

    `Host` must be an IP literal, `localhost` or a name that is configured: DNS rebinding makes a browser
    send the attacker's name to our address. `Origin`, which browsers add to what pages send, must be ours:
    that of the `Host`, or `public`, the (host, port) at which a proxy shows us, which may send another `Host`.
    """

    def __init__(self, names: Iterable[str], public: str | None = None) -> None:
        self._public = public
        self._names = frozenset(name.lower().rstrip(".") for name in names) | {"localhost"}
        self._good: set[str] = set()

    def check(self, headers: CIMultiDictProxy[str]) -> None:
        """Raise MisdirectedError or ForbiddenError for a request that is not for us, or not from our own pages."""
        hosts = headers.getall("Host", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise MisdirectedError(
                "the Host header must be an IP address, localhost, or a name in server.hosts or server.public_url"
            )
        origin = headers.get("Origin")
        if origin is not None and _authority(origin) not in self._ours(hosts[0]):
            raise ForbiddenError("a web page of another origin may not call this API", "foreign_origin")

    def _ours(self, host: str) -> tuple[str, ...]:
        return (host.lower(), self._public) if self._public else (host.lower(),)

    def _is_ours(self, host: str) -> bool:
        if host in self._good:
            return True
        match = _HOST.fullmatch(host)
        if match is None or not (match["host"].lower().rstrip(".") in self._names or _is_address(match["host"])):
            return False
        if len(self._good) < REMEMBERED:
            self._good.add(host)
        return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host[1:-1] if host.startswith("[") else host)
    except ValueError:
        return False
    return True


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
