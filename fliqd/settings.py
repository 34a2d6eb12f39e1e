"""The settings, typed: each key with its default, what it takes, and what it means."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from fliqd.core import zones
from fliqd.core.drafts import Defaults as JobDefaults
from fliqd.core.durations import LONGEST_MS, parse_duration
from fliqd.core.egress import Entry, parse_entry
from fliqd.core.retry import Backoff, BackoffKind
from fliqd.core.signing import Signer
from fliqd.core.sizes import parse_size
from fliqd.core.urls import check_name, check_url

_PORT: Final = re.compile(r"\d{1,5}", re.ASCII)
_MODE: Final = re.compile(r"0?[0-7]{3}", re.ASCII)
_OWN: Final = 0o600  # what the daemon's own user needs, whose command line comes by it too
_COUNT: Final = re.compile(r"[\d_]{1,15}", re.ASCII)
MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Listen:
    """One place to listen: an IP address with a port (0 picks a free one), or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """Return what a client uses as its base URL."""
        if self.path:
            return f"unix:{self.path}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def _listen(value: object) -> tuple[Listen, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]  # from the environment
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError('expected an address such as "127.0.0.1:3547", or a list of such')
    return tuple(_one_listen(one) for one in values)


def _one_listen(value: object) -> Listen:
    expected = 'expected "ADDRESS:PORT" such as "127.0.0.1:3547" or "[::1]:3547", or "unix:/path"'
    if not isinstance(value, str):
        raise ValueError(expected)  # noqa: TRY004 -- one error for every wrong value
    if value.startswith("unix:/"):
        return Listen(path=value.removeprefix("unix:"))
    host, colon, port = value.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > MAX_PORT:
        raise ValueError(expected)
    if host == "localhost":
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError as err:
        raise ValueError(f"{expected}; {host!r} is no IP address") from err
    if (address.version == 6) != host.startswith("["):  # noqa: PLR2004 -- IP version 6
        raise ValueError(expected)
    return Listen(host=str(address), port=int(port))


def _mode(value: object) -> int:
    if not isinstance(value, str) or not _MODE.fullmatch(value) or int(value, 8) & _OWN != _OWN:
        raise ValueError('expected octal digits as a text, "0600" or more, such as "0660"')
    return int(value, 8)


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("expected a text")
    return value


def _base_url(value: object) -> str:
    text = _text(value)
    if text and "?" in check_url(text).target:
        raise ValueError("expected a URL without a query")
    return text.rstrip("/")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]  # from the environment
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError('expected a list of host names such as ["nas.lan"]')
    return tuple(check_name(name) for name in value)


def _path(value: object) -> str:
    text = _text(value)
    if not text or text.endswith("/") or text.rpartition("/")[2] in ("", ".", ".."):
        raise ValueError("expected the path of a file")
    return text


def _absolute(value: object) -> str:
    text = _text(value)
    if text and not text.startswith("/"):
        raise ValueError("expected the path of a file, from the root on")
    return text


def _flag(value: object) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"  # from the environment
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 -- one error for every wrong value
    return value


def _choice(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError(f"expected {', '.join(choices[:-1])} or {choices[-1]}")
        return str(value)

    return parse


def _count(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and _COUNT.fullmatch(value):
            value = int(value.replace("_", ""))  # from the environment
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return value

    return parse


def _duration(low_ms: int, high_ms: int, words: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = float(value) if isinstance(value, str) and value.replace(".", "", 1).isdigit() else value
        ms = parse_duration(number)
        if not low_ms <= ms <= high_ms:
            raise ValueError(f"expected a duration {words}")
        return ms

    return parse


def _size(low: int, high: int, words: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        size = parse_size(int(value) if isinstance(value, str) and value.isdigit() else value)
        if not low <= size <= high:
            raise ValueError(f"expected a size {words}")
        return size

    return parse


def _entries(value: object) -> tuple[Entry, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]  # from the environment
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError('expected a list of CIDRs, addresses or host names, such as ["10.0.0.0/8", "nas.lan"]')
    return tuple(parse_entry(entry) for entry in value)


def _ports(value: object) -> frozenset[int]:
    if isinstance(value, str):
        value = [int(part) for part in value.split(",") if _PORT.fullmatch(part.strip())]  # from the environment
    if not isinstance(value, list) or not all(type(port) is int and 0 < port <= MAX_PORT for port in value):
        raise ValueError("expected a list of ports, such as [25, 6667]")
    return frozenset(value)


def _secret(value: object) -> str:
    text = _text(value)
    if text:
        Signer(text)
    return text


def _zone(value: object) -> str:
    return zones.zone(_text(value)).key


def setting(parse: Callable[[object], Any], default: object, *, secret: bool = False) -> Any:
    """Declare a key: how its value is read (raising ValueError saying what would do) and its default."""
    return field(default=parse(default), metadata={"parse": parse, "raw": default, "secret": secret})


MIB: Final = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """[server]: where the API listens, and what it takes."""

    listen: tuple[Listen, ...] = setting(_listen, "127.0.0.1:3547")
    listen_mode: int = setting(_mode, "0600")
    public_url: str = setting(_base_url, "")
    hosts: tuple[str, ...] = setting(_names, [])
    tls_cert: str = setting(_absolute, "")
    tls_key: str = setting(_absolute, "")
    max_body: int = setting(_size(1024, 64 * MIB, "from 1KiB to 64MiB"), "1MiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """[store]: the file that holds the jobs."""

    path: str = setting(_path, "fliqd.db")
    durability: str = setting(_choice("full", "normal"), "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """[auth]: who may call the API."""

    mode: str = setting(_choice("token", "none"), "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """[dispatch]: how requests leave."""

    max_in_flight: int = setting(_count(1, 10_000), 256)
    max_in_flight_per_host: int = setting(_count(1, 10_000), 32)
    timeout: int = setting(_duration(1_000, 3_600_000, "from 1s to 1h"), "30s")
    response_capture: int = setting(_size(0, MIB, "from 0 to 1MiB"), "2KiB")
    response_limit: int = setting(_size(0, 1024 * MIB, "from 0 to 1GiB"), "1MiB")
    shutdown_grace: int = setting(_duration(0, 3_600_000, "from 0s to 1h"), "20s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """[egress]: where requests may go."""

    policy: str = setting(_choice("home", "public", "open"), "home")
    allow: tuple[Entry, ...] = setting(_entries, [])
    deny: tuple[Entry, ...] = setting(_entries, [])
    allow_ports: frozenset[int] = setting(_ports, [])
    follow_redirects: int = setting(_count(0, 20), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """[retention]: what is kept of jobs that have ended, and of what was told of them."""

    finished_jobs: int = setting(_duration(0, LONGEST_MS, "of at most 100 years"), "30d")
    max_finished_jobs: int = setting(_count(0, 1_000_000_000), 1_000_000)
    max_db_size: int = setting(_size(MIB, 1024 * 1024 * MIB, "from 1MiB to 1TiB"), "4GiB")
    events: int = setting(_duration(0, LONGEST_MS, "of at most 100 years"), "7d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """[signing]: the signature that every request carries."""

    enabled: bool = setting(_flag, default=True)
    secret: str = setting(_secret, "", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """[log]: what is said, and how."""

    level: str = setting(_choice("debug", "info", "warning", "error"), "info")
    format: str = setting(_choice("auto", "console", "json", "logfmt"), "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """[defaults]: for jobs and schedules that do not say."""

    max_retries: int = setting(_count(0, 100), 0)
    backoff: str = setting(_choice("exponential", "linear"), "exponential")
    timezone: str = setting(_zone, "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIns:
    """[stand_ins]: the APIs in the place of other services."""

    booper_dynamic_fields: bool = setting(_flag, default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, section by section."""

    server: Server = Server()
    store: Store = Store()
    auth: Auth = Auth()
    dispatch: Dispatch = Dispatch()
    egress: Egress = Egress()
    retention: Retention = Retention()
    signing: Signing = Signing()
    log: Log = Log()
    defaults: Defaults = Defaults()
    stand_ins: StandIns = StandIns()


SECTIONS: Final[dict[str, type[Any]]] = {section.name: section.default.__class__ for section in fields(Settings)}


def defaults_of(settings: Settings) -> JobDefaults:
    """Return what jobs and schedules get where they say nothing."""
    return JobDefaults(
        timeout_ms=settings.dispatch.timeout,
        max_retries=settings.defaults.max_retries,
        backoff=Backoff(kind=BackoffKind(settings.defaults.backoff)),
        timezone=settings.defaults.timezone,
    )
