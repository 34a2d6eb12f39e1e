"""The certificate that the API shows: read at the start, and again when its files have changed."""

import ssl
from pathlib import Path
from typing import Any

import structlog

from fliqd.core.certificates import expiry_ms, leaf
from fliqd.core.times import format_time
from fliqd.errors import ConfigError, Problem

log = structlog.get_logger()


class Certificate:
    """A certificate with its chain, and its key, for all listeners. Raises ConfigError when they cannot be used."""

    def __init__(self, cert: str, key: str) -> None:
        self._cert, self._key = cert, key
        self._seen = self._stamp()
        self.context = _context()
        self.not_after_ms = self._load(self.context)

    def look(self) -> None:
        """Take up files that have changed; what is wrong with them is logged, and the old certificate stays.

        Two calls of stat(2): cheap enough for every beat, so that a renewal needs no hook that reloads.
        """
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self.reload()

    def reload(self) -> None:
        """Read the files now."""
        try:
            # Into a context of its own first: a certificate without its key would leave the one in use with neither,
            # and whoever renews them writes one file after the other.
            self._load(_context())
            self.not_after_ms = self._load(self.context)
        except ConfigError as err:
            log.warning("tls.not_reloaded", problem=str(err), expires_at=format_time(self.not_after_ms))
        else:
            log.info("tls.reloaded", expires_at=format_time(self.not_after_ms))

    def status(self) -> dict[str, Any]:
        """Return what `/v1/status` shows of it."""
        return {"certificate": self._cert, "expires_at": format_time(self.not_after_ms)}

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(self._cert), _stamp(self._key)]

    def _load(self, context: ssl.SSLContext) -> int:
        """Have the context use the files as they are now; return when the certificate expires."""
        try:
            text = Path(self._cert).read_text(encoding="latin-1")
            not_after_ms = expiry_ms(leaf(text))
        except OSError as err:
            raise ConfigError([Problem("server.tls_cert", f"{self._cert} cannot be read: {err.strerror}")]) from err
        except (ValueError, IndexError) as err:
            raise ConfigError([Problem("server.tls_cert", f"{self._cert} holds no certificate in PEM")]) from err
        try:
            context.load_cert_chain(self._cert, self._key, password="")  # else OpenSSL asks at the terminal
        except ssl.SSLError as err:
            reason = (err.reason or str(err)).replace("_", " ").lower()
            problem = f"{self._key} is not the key of {self._cert}, or is encrypted: {reason}"
            raise ConfigError([Problem("server.tls_key", problem)]) from err
        except OSError as err:
            raise ConfigError([Problem("server.tls_key", f"{self._key} cannot be read: {err.strerror}")]) from err
        return not_after_ms


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
