"""What went wrong on the way, as a code and a sentence that a person can act on."""

import errno
import ssl
from collections.abc import Sequence
from typing import Final

from fliqd.core.delivery import ErrorCode, Failure

# OpenSSL's verification results (x509_vfy.h) that have a cause worth naming.
EXPIRED: Final = 10
NOT_YET_VALID: Final = 9
SELF_SIGNED: Final = frozenset({18, 19})
UNKNOWN_ISSUER: Final = frozenset({2, 20, 21})
WRONG_NAME: Final = frozenset({62, 64})

OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


class WireError(Exception):
    """There is no connection to send on; carries the failure that the attempt came to."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code=code, message=message)


def unconnected(peer: str, errors: Sequence[OSError]) -> WireError:
    """Say why none of the addresses of `peer` accepted; `errors` holds one for each that was tried."""
    tried = "" if len(errors) == 1 else f" on any of its {len(errors)} addresses"
    for error in errors:
        if error.errno in OUT_OF_FILES:
            return WireError(
                ErrorCode.CONNECT_FAILED,
                f"fliqd has no file descriptor left to connect to {peer}: raise LimitNOFILE.",
            )
    if any(isinstance(error, ConnectionRefusedError) for error in errors):
        return WireError(
            ErrorCode.CONNECT_REFUSED,
            f"{peer} refused the connection{tried}: check that the target runs and listens on this port.",
        )
    if any(isinstance(error, TimeoutError) for error in errors):
        return WireError(
            ErrorCode.CONNECT_TIMEOUT,
            f"{peer} did not accept a connection{tried} before the system gave up: "
            "look for a firewall or a host that is off.",
        )
    if any(error.errno in NO_ROUTE for error in errors):
        return WireError(
            ErrorCode.CONNECT_FAILED,
            f"There is no route to {peer}{tried}: check the network, and whether the host has IPv6.",
        )
    reason = (errors[-1].strerror or type(errors[-1]).__name__) if errors else "no address to try"
    return WireError(ErrorCode.CONNECT_FAILED, f"Connecting to {peer} failed{tried}: {reason}.")


def untrusted(peer: str, error: Exception) -> WireError:
    """Say why the TLS handshake with `peer` failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return WireError(ErrorCode.TLS, f"{peer} {_certificate(error)}.")
    reason: str | None = getattr(error, "reason", None)
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}:
        message = f"{peer} did not answer with TLS: check whether the URL should begin with http://."
    elif reason is not None:
        told = reason.lower().replace("_", " ")
        message = (
            f"The TLS handshake with {peer} failed ({told}): look at the versions (1.2 or newer) and ciphers it takes."
        )
    else:
        message = f"{peer} closed the connection during the TLS handshake: check that this port speaks TLS."
    return WireError(ErrorCode.TLS, message)


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code == EXPIRED:
        return "showed a certificate that has expired: renew it"
    if code == NOT_YET_VALID:
        return "showed a certificate that is not valid yet: compare the clocks of both hosts"
    if code in SELF_SIGNED:
        return (
            "showed a self-signed certificate: give fliqd its CA (SSL_CERT_FILE), or the target a certificate of a"
            " known one"
        )
    if code in UNKNOWN_ISSUER:
        return (
            "showed a certificate of an unknown issuer: give fliqd its CA (SSL_CERT_FILE), or make it send the whole"
            " chain"
        )
    if code in WRONG_NAME:
        return "showed a certificate for another name: call it by a name that is in its certificate"
    return f"showed a certificate that does not verify ({error.verify_message})"
