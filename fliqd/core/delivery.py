"""One HTTP request on its way out and what came back: the values that cross the sender's door."""

from enum import StrEnum

import msgspec


class ErrorCode(StrEnum):
    """Why an attempt got no answer that counts; closed, documented in docs/reference/api.md."""

    DNS = "dns"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    TLS = "tls"
    RESET = "reset"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    EGRESS_DENIED = "egress_denied"
    BAD_STATUS = "bad_status"
    UNRESOLVED = "unresolved"
    INTERRUPTED = "interrupted"
    EXPIRED = "expired"
    INTERNAL = "internal"


class OutgoingRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request complete but for `Host` and `Content-Length`, which the sender adds.

    `url` is ASCII and has passed `core.urls.check_url`; it is sent as it stands, without its fragment.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    timeout_s: float  # one deadline, from the look-up of the name to the end of the body
    capture: int  # bytes of the response body that are kept
    limit: int  # bytes of it that are read; then the connection is cut, which is no error
    previous: str | None = None  # the address that redirected here


class Timings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Milliseconds each phase took; None for a phase that was not reached or not needed."""

    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float = 0.0


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """No answer: the code from the closed list, and a sentence that says what to look at."""

    code: ErrorCode
    message: str


class Response(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one request came to: an answer (`status` set), a failure, or both when the body broke off."""

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    truncated: bool = False
    failure: Failure | None = None
    timings: Timings = Timings()
    peer: str | None = None  # the address that was connected to
    stale: bool = False  # a kept-alive connection closed without a byte of an answer: a new attempt is fair
