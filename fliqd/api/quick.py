"""A short way in for creates: a plain POST of JSON that came in one piece is answered without aiohttp's machinery.

What aiohttp does for a request (a stream for its body, a queue, a task, a request and a writer) costs more than the
create itself. The head is read by the same parser, the answer made by the same `Edge` and handlers; only what
carries them in and out is shorter. Whatever is unusual in the least takes the ordinary way.
"""

import asyncio
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aiohttp import HttpVersion11, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from multidict import CIMultiDictProxy

from fliqd.api import auth
from fliqd.api.answers import Answer

PATHS: Final = frozenset({"/jobs", "/v1/jobs", "/jobs/batch", "/v1/jobs/batch"})
STARTS: Final = b"POST "
LONGEST_HEAD: Final = 4 * 1024
LONGEST_BODY: Final = 64 * 1024  # less than any read of the transport can bring
UNUSUAL: Final = ("Expect", "Transfer-Encoding", "Content-Encoding", "Upgrade", "Connection", "Trailer", "TE")


class Head(NamedTuple):
    """The head of a request that may take the short way."""

    path: str
    headers: CIMultiDictProxy[str]
    length: int


class Whole:
    """The body of a request, all of it."""

    @staticmethod
    def is_eof() -> bool:
        return True


class PlainRequest:
    """A request that is whole: as much of `web.Request` as `Edge` and the handlers of `PATHS` ask for."""

    __slots__ = ("_body", "_caller", "headers", "path")

    method: Final = "POST"
    query_string: Final = ""
    content_type: Final = "application/json"
    content: Final = Whole()

    def __init__(self, head: Head, body: bytes) -> None:
        self.path = head.path
        self.headers = head.headers
        self._body = body
        self._caller: auth.Caller | None = None

    @property
    def raw_path(self) -> str:
        return self.path

    async def read(self) -> bytes:
        return self._body

    def __setitem__(self, key: web.RequestKey[auth.Caller], value: auth.Caller) -> None:
        self._caller = value

    def __getitem__(self, key: web.RequestKey[auth.Caller]) -> auth.Caller:
        if self._caller is None:
            raise KeyError(key)
        return self._caller


def take(data: bytes, longest_body: int) -> PlainRequest | None:
    """Return the request that `data` is, no more and no less; None unless it may take the short way."""
    if not data.startswith(STARTS):
        return None
    end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    if end < 0:
        return None
    end += 4
    head = _head(data[:end])
    if head is None or head.length > min(LONGEST_BODY, longest_body) or len(data) != end + head.length:
        return None
    return PlainRequest(head, data[end:])


@lru_cache(maxsize=256)
def _head(data: bytes) -> Head | None:
    """Read a head, None when it is not a plain one. Remembered: a client sends the same one again and again."""
    loop = asyncio.get_running_loop()
    # As strict as the ordinary way's or stricter, since what fails here is read there again.
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
    try:
        messages, upgraded, tail = parser.feed_data(data)
    except HttpProcessingError:
        return None
    if len(messages) != 1 or upgraded or tail:
        return None
    message = messages[0][0]
    headers = message.headers
    lengths = headers.getall("Content-Length", [])
    plain = (
        message.method == "POST"
        and message.path in PATHS
        and message.version == HttpVersion11
        and not (message.should_close or message.upgrade or message.chunked or message.compression)
        and not any(name in headers for name in UNUSUAL)
        and headers.getall("Content-Type", []) == ["application/json"]
        and len(lengths) == 1
        and lengths[0].isascii()
        and lengths[0].isdigit()
    )
    return Head(message.path, headers, int(lengths[0])) if plain else None


def drive(steps: Coroutine[Any, None, None]) -> None:
    """Run a coroutine to where it first waits for a future, and on from there once that is done.

    A task does so too, and can be cancelled, named and found by those within; a create needs none of it, and
    the task would cost as much as a tenth of it. What is raised goes to the caller, or to the loop's handler.
    """
    try:
        awaited = steps.send(None)
    except StopIteration:
        return
    if awaited is None:  # a turn of the loop
        asyncio.get_running_loop().call_soon(drive, steps)
        return
    awaited._asyncio_future_blocking = False  # noqa: SLF001 -- as a task does: somebody has taken the future over
    awaited.add_done_callback(lambda _: drive(steps))


def encode(response: web.StreamResponse | Answer) -> bytes:
    """Return an answer as the ordinary way would send it on a connection that is kept alive."""
    body = response.body if isinstance(response, Answer | web.Response) else None
    if not isinstance(body, bytes):
        raise TypeError("only an answer with a body of bytes can be sent this way")
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines.append(f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n")
    return "\r\n".join(lines).encode() + body
