"""Who can reach the daemon, what asks them for a token, and whom the daemon may call."""

import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

from fliqd.core.times import format_time
from fliqd.core.urls import check_url
from fliqd.doctor.finding import Finding, Subject, note, ok, warning, wrong
from fliqd.errors import ConfigError
from fliqd.settings import Listen
from fliqd.store.sqlite.lock import holder
from fliqd.tls import Certificate

PATIENCE_S: Final = 5.0
SOON_S: Final = 14 * 86_400
HTTPS_PORT: Final = 443


def network(subject: Subject) -> Iterator[Finding]:
    settings = subject.config.settings
    yield from _listen(subject)
    if settings.auth.mode == "none":
        yield note("tokens", "auth.mode is none: every user and program of this machine may do everything")
    else:
        yield ok("tokens", "every call needs a token")
    yield _egress(subject)
    if settings.server.tls_cert:
        yield own_certificate(settings.server.tls_cert, settings.server.tls_key)
    if settings.server.public_url.startswith("https://"):
        yield certificate(settings.server.public_url)


def _listen(subject: Subject) -> Iterator[Finding]:
    places = subject.config.settings.server.listen
    shown = ", ".join(place.url for place in places)
    runs = subject.status is not None or holder(subject.config.store_path.resolve()) is not None
    taken = [] if runs else [place for place in places if _answers(place)]
    wide = [place.url for place in places if not place.is_local]
    if taken:
        yield wrong(
            "listen",
            f"something answers at {taken[0].url}, and it is not this fliqd",
            "stop it, or set server.listen to another address; `ss -ltnp` says what it is",
        )
    elif wide and subject.config.settings.server.tls_cert:
        yield ok("listen", shown.replace("http://", "https://"))
    elif wide:
        yield warning(
            "listen",
            f"{', '.join(wide)} can be reached from other machines, and tokens go over the wire as they are",
            "set server.tls_cert and tls_key, or put a proxy with TLS before it, unless that network is trusted",
        )
    else:
        yield ok("listen", f"{shown}, for this machine alone")


def _answers(place: Listen) -> bool:
    if place.path or not place.port:
        return False
    try:
        with socket.create_connection((place.host, place.port), timeout=PATIENCE_S):
            return True
    except OSError:
        return False


def _egress(subject: Subject) -> Finding:
    egress = subject.config.settings.egress
    parts = [f"policy {egress.policy}"]
    parts += [f"{name} {len(entries)}" for name, entries in (("allow", egress.allow), ("deny", egress.deny)) if entries]
    if egress.allow_ports:
        parts.append(f"ports {', '.join(map(str, sorted(egress.allow_ports)))}")
    if egress.follow_redirects:
        parts.append(f"{egress.follow_redirects} redirects followed")
    says = "; ".join(parts)
    if egress.policy == "open":
        return warning(
            "egress",
            f"{says}: jobs may call every address, a cloud's metadata service too",
            "set egress.policy to home or public, and name exceptions in egress.allow",
        )
    return ok("egress", says)


def own_certificate(cert: str, key: str) -> Finding:
    """Look at the files that the daemon itself shows a certificate from."""
    try:
        expires_ms = Certificate(cert, key).not_after_ms
    except ConfigError as err:
        return wrong("tls", str(err), "see that both files are there, belong together, and can be read by its user")
    until = format_time(expires_ms)
    if expires_ms < (time.time() + SOON_S) * 1000:
        return warning("tls", f"the certificate {cert} expires at {until}", "renew it; fliqd takes it up by itself")
    return ok("tls", f"the certificate {cert} is good until {until}")


def certificate(url: str) -> Finding:
    """Look at the certificate of whoever answers at an https URL."""
    target = check_url(url)
    where = f"{target.host}:{target.port or HTTPS_PORT}"
    do = "renew it, and see that the proxy reads the new one"
    try:
        with (
            socket.create_connection((target.host, target.port or HTTPS_PORT), timeout=PATIENCE_S) as raw,
            ssl.create_default_context().wrap_socket(raw, server_hostname=target.host) as tls,
        ):
            ends = str((tls.getpeercert() or {}).get("notAfter"))
    except ssl.SSLCertVerificationError as err:
        return wrong("certificate", f"that of {where} is not trusted: {err.verify_message}", do)
    except (OSError, ValueError) as err:
        return warning(
            "certificate", f"{where}, of server.public_url, does not answer: {err}", "see that the proxy runs"
        )
    left_s = ssl.cert_time_to_seconds(ends) - time.time()
    if left_s < SOON_S:
        return warning("certificate", f"that of {where} ends on {ends}", do)
    return ok("certificate", f"that of {where} is good until {ends}")
