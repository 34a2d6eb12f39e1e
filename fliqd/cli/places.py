"""Where a daemon is reached: the URL, taken apart."""

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

EXPECTED: Final = 'expected "http://host:port", "https://host" or "unix:/path"'


@dataclass(frozen=True, slots=True)
class Place:
    """The base URL of an API: a unix socket, or a host with the path under which the API is."""

    url: str  # as it is shown
    host: str = "localhost"
    port: int | None = None  # None: the scheme's own
    tls: bool = False
    base: str = ""  # the sub-path, without a slash at its end
    certificate: str = ""  # the file of the only certificate that is trusted there; empty: those of known issuers
    socket: str = ""  # the path of the unix socket; empty for TCP

    @property
    def is_local(self) -> bool:
        """Whether what answers there is on this machine."""
        if self.socket or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_place(text: str) -> Place:
    """Read a base URL; raise ValueError saying what would do."""
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError(f"holds a space or a control character; {EXPECTED}")
    if text.startswith("unix:"):
        path = "/" + text.removeprefix("unix:").lstrip("/")
        if not text.startswith("unix:/") or path == "/":
            raise ValueError(f"got {text!r}, {EXPECTED}")
        return Place(f"unix:{path}", socket=path)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise ValueError(f"got {text!r}: {err}; {EXPECTED}") from err
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"got {text!r}, {EXPECTED}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("takes no user name, query or fragment; the token goes into $FLIQD_TOKEN")
    base = parts.path.rstrip("/").removesuffix("/v1")
    shown = f"{parts.scheme}://{parts.netloc}{base}"
    return Place(shown, host=host, port=port, tls=parts.scheme == "https", base=base)
