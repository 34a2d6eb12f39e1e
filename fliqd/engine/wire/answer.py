"""Reads answers off a stream of bytes: framing, limits, and what was wrong (RFC 9112, sections 2 to 8).

Bytes go in, an answer comes out; no socket, no clock. llhttp parses, in its strict mode but for one point:
a bare LF ends a line too (RFC 9112, section 2.2 allows it), because small devices and shell scripts write so.
"""

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest

HEAD_LIMIT: Final = 32 * 1024
MAX_HEADERS: Final = 100
MAX_INTERIM: Final = 16
STATUSES: Final = range(100, 600)
LOWEST_FINAL: Final = 200
SWITCHING_PROTOCOLS: Final = 101

# llhttp also takes RTSP/1.0, ICE/1.0, HTTP/0.9 and HTTP/2.0 for an answer; none of them is one.
OPENINGS: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")
OPENING_LENGTH: Final = 9
OPENING_SHOWN: Final = 16


class _EnoughError(Exception):
    """Stops the parser from within a callback: what follows is of no interest."""


class AnswerReader:
    """Reads the answers of one connection, one at a time; `expect` begins the next.

    Once an answer ended with `reusable` False the stream is lost, and so is this reader.
    """

    __slots__ = (
        "_framing", "_head", "_head_done", "_http_1_0", "_interim", "_kept", "_limit", "_no_body", "_opening",
        "_parser", "_peer", "_room", "began", "cut", "done", "failure", "headers", "read", "reusable",
        "status",
    )  # fmt: skip

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)

    def expect(self, request: OutgoingRequest) -> None:
        """Forget the last answer; what comes next is the one to `request`."""
        self.began = False  # a byte of it has come
        self.done = False
        self.cut = False  # the body went over the limit, so that its rest was not read
        self.reusable = False  # the connection may carry another request after it
        self.status: int | None = None
        self.headers: tuple[tuple[str, str], ...] = ()
        self.failure: Failure | None = None
        self.read = 0  # bytes of the body, kept or not
        self._kept: list[bytes] = []
        self._room = min(request.capture, request.limit)
        self._limit = request.limit
        self._no_body = request.method == "HEAD"
        self._opening = b""  # the first bytes, until there are enough to tell whether this is HTTP/1
        self._http_1_0 = False
        self._interim = 0
        self._head: list[tuple[bytes, bytes]] = []
        self._head_done = False
        self._framing = 0  # bytes since the last one that belonged to a body: bounds heads, trailers, extensions

    @property
    def body(self) -> bytes:
        return b"".join(self._kept)

    @property
    def truncated(self) -> bool:
        """Whether more of the body came than was kept."""
        return self.read > sum(map(len, self._kept))

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the answer is over, for better or worse."""
        if self.done or self._parser is None:
            self.reusable = False
            return True
        if self._opening or not self.began:
            self.began = True
            data = self._opening + data
            if not data.startswith(OPENINGS):
                return self._await_opening(data)
            self._opening = b""
            self._http_1_0 = data.startswith(OPENINGS[1])
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as err:
            # An error after the end is about what followed: the answer stands, the connection goes.
            self.reusable = False
            if not self.done:
                self._fail(ErrorCode.PROTOCOL, f"{self._peer} answered with malformed HTTP/1.1: {err}.")
        else:
            if self._framing > HEAD_LIMIT and not self.done:
                self._fail_too_large()
        return self.done

    def end(self) -> None:
        """Take the end of the stream: that of a body without another (RFC 9112, section 6.3), or a fault."""
        if self.done:
            return
        if not self._head_done:
            self._fail(
                ErrorCode.PROTOCOL,
                f"{self._peer} closed the connection within the head of its answer: look at its log.",
            )
            return
        framing = {name.lower(): value for name, value in self.headers}
        length = framing.get("content-length")
        if length is not None:
            self._fail(
                ErrorCode.PROTOCOL,
                f"The answer of {self._peer} broke off after {self.read} of {length} bytes: look at its log.",
            )
        elif framing.get("transfer-encoding", "").rpartition(",")[2].strip().lower() == "chunked":
            self._fail(
                ErrorCode.PROTOCOL,
                f"The answer of {self._peer} broke off after {self.read} bytes, before its last chunk: "
                "look at its log.",
            )
        else:
            self.done = True

    def release(self) -> None:
        """Let go of the parser, which holds this reader: without the cycle both are freed at once."""
        self._parser = None

    # What llhttp calls. Its bytes are copies, so they may be kept.

    def on_message_begin(self) -> None:
        if self.done:
            raise _EnoughError

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer: nobody here asks for one (RFC 9110, section 6.5)
        if len(self._head) == MAX_HEADERS:
            self._fail_too_large()
            raise _EnoughError
        self._head.append((name, value))

    def on_headers_complete(self) -> None:
        head, self._head = self._head, []
        # In one read there is room for more than the limit, so a head that big is measured by itself.
        if self._framing > HEAD_LIMIT and sum(len(name) + len(value) + 4 for name, value in head) > HEAD_LIMIT:
            self._fail_too_large()
            raise _EnoughError
        assert self._parser is not None  # noqa: S101 - it is the parser that calls
        status = self._parser.get_status_code()
        if status not in STATUSES:
            self._fail(
                ErrorCode.PROTOCOL,
                f"{self._peer} answered with the status {status:03}, which is not one (100 to 599).",
            )
            raise _EnoughError
        if status < LOWEST_FINAL and status != SWITCHING_PROTOCOLS:
            self._pass_interim(status, head)
            return
        self._head_done = True
        self.status = status
        self.headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in head])
        if self._no_body or status == SWITCHING_PROTOCOLS:
            # llhttp cannot be told that this was HEAD and would wait for a body, so the connection ends here.
            self.done = True
            raise _EnoughError

    def on_body(self, chunk: bytes) -> None:
        self._framing = 0
        self.read += len(chunk)
        if self._room > 0:
            self._kept.append(chunk[: self._room])
            self._room -= len(chunk)
        if self.read > self._limit:
            self.done = self.cut = True
            raise _EnoughError

    def on_message_complete(self) -> None:
        if not self._head_done:
            return  # an interim answer
        assert self._parser is not None  # noqa: S101 - it is the parser that calls
        self.done = True
        self.reusable = not self._http_1_0 and self._parser.should_keep_alive()

    # What goes wrong.

    def _pass_interim(self, status: int, head: list[tuple[bytes, bytes]]) -> None:
        """Skip a 1xx answer, which has no body and is not the last (RFC 9110, section 15.2)."""
        self._interim += 1
        if self._interim > MAX_INTERIM:
            self._fail(
                ErrorCode.PROTOCOL,
                f"{self._peer} sent more than {MAX_INTERIM} interim answers (1xx) and no final one.",
            )
            raise _EnoughError
        # llhttp takes a body after some of them, which would hide the real answer in it.
        if any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in head):
            self._fail(ErrorCode.PROTOCOL, f"{self._peer} announced a body for an interim answer ({status}).")
            raise _EnoughError
        self._framing = 0

    def _await_opening(self, data: bytes) -> bool:
        self._opening = data
        if len(data) >= OPENING_LENGTH or not any(known.startswith(data) for known in OPENINGS):
            self._fail(ErrorCode.PROTOCOL, _strange(self._peer, data))
        return self.done

    def _fail_too_large(self) -> None:
        part = "trailer or chunk extension" if self._head_done else "head"
        self._fail(
            ErrorCode.TOO_LARGE,
            f"The {part} of the answer of {self._peer} is larger than {HEAD_LIMIT // 1024} KiB "
            f"or {MAX_HEADERS} headers: make the target send less of it.",
        )

    def _fail(self, code: ErrorCode, message: str) -> None:
        self.done = True
        self.reusable = False
        self.failure = Failure(code=code, message=message)


def _strange(peer: str, opening: bytes) -> str:
    """Say what spoke there, given the first bytes of something that is not HTTP/1."""
    if opening[:1] in {b"\x15", b"\x16"} and opening[1:2] in {b"", b"\x03"}:
        return f"{peer} answered with TLS: the URL should begin with https://."
    if opening.startswith((b"HTTP/2", b"PRI * HTTP/2")) or (opening[:2] == b"\0\0" and opening[3:4] == b"\x04"):
        return f"{peer} speaks HTTP/2 only: let the target accept HTTP/1.1 on this port."
    # Up to the first space and no more: a server that echoes would show the request's own secrets here.
    word = opening[:OPENING_SHOWN].split(maxsplit=1)[:1]
    shown = ascii(b"".join(word).decode("latin-1"))
    return f"{peer} did not answer with HTTP/1.1 but with {shown}: check that the URL names the right port."
