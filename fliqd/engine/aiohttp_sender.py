"""Sends requests with one aiohttp session, with everything switched off that it does by itself."""

import asyncio
import socket
import time
from typing import Any, Final

import aiohttp
from yarl import URL

from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest, Response, Timings

IDLE_S: Final = 2.0  # kept-alive connections are dropped before common servers drop them (5 s and up)
FIRST_STATUS, LAST_STATUS = 100, 599
_HEAD_LIMIT: Final = 32 * 1024


class AiohttpSender:
    """One request per call, ever: no cookies, redirects, proxies, unpacking or hidden second tries."""

    def __init__(self, *, connections: int, per_host: int) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, limit_per_host=per_host, keepalive_timeout=IDLE_S, ttl_dns_cache=5
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
        )
        # aiohttp sends an idempotent request again by itself when a kept-alive connection turns out closed;
        # its own test client switches that off the same way, there is no public one.
        self._session._retry_connection = False  # noqa: SLF001

    async def close(self) -> None:
        await self._session.close()

    async def send(self, request: OutgoingRequest) -> Response:
        started = time.monotonic()
        seen: dict[str, Any] = {}
        failure: Failure | None = None
        try:
            async with asyncio.timeout(request.timeout_s):
                await self._exchange(request, seen, started)
        except TimeoutError:
            failure = _timed_out(request, seen)
        except (aiohttp.ClientError, OSError, ValueError) as err:
            failure = _failure(err, request)
        status = seen.get("status")
        if failure is None and status is not None and not FIRST_STATUS <= status <= LAST_STATUS:
            failure = Failure(
                code=ErrorCode.PROTOCOL,
                message=f"the target answered with the status {status}, which does not exist",
            )
            status = None
        return Response(
            status=status,
            headers=seen.get("headers", ()),
            body=bytes(seen.get("body", b"")),
            truncated=seen.get("truncated", False),
            failure=failure,
            timings=Timings(
                first_byte_ms=seen.get("first_byte_ms"),
                total_ms=round((time.monotonic() - started) * 1000, 3),
            ),
        )

    async def _exchange(self, request: OutgoingRequest, seen: dict[str, Any], started: float) -> None:
        answer = await self._session.request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
        )
        try:
            seen["first_byte_ms"] = round((time.monotonic() - started) * 1000, 3)
            seen["status"] = answer.status
            seen["headers"] = tuple((str(name), _latin1(value)) for name, value in answer.headers.items())
            seen["body"] = body = bytearray()
            read = 0
            async for chunk in answer.content.iter_any():
                read += len(chunk)
                body += chunk[: max(0, request.capture - len(body))]
                if read > request.limit:
                    break
            seen["truncated"] = read > len(body)
        finally:
            # Releases a connection whose answer was read to its end, closes any other.
            answer.release() if answer.content.at_eof() else answer.close()


def _latin1(value: str) -> str:
    """Undo aiohttp's surrogates, which no store can keep: each byte beyond ASCII becomes one character."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("latin-1")


def _timed_out(request: OutgoingRequest, seen: dict[str, Any]) -> Failure:
    where = "the answer was still coming in" if "status" in seen else "there was no answer"
    message = f"{where} after {request.timeout_s:g} s; see whether the target is slow, or raise timeout_seconds"
    return Failure(code=ErrorCode.TIMEOUT, message=message)


def _failure(err: Exception, request: OutgoingRequest) -> Failure:
    """Name what went wrong; never with the URL's query or a header's value."""
    where = URL(request.url, encoded=True).authority
    match err:
        case aiohttp.ClientConnectorDNSError():
            code, message = (
                ErrorCode.DNS,
                f"the name of {where} could not be looked up; check its spelling and DNS",
            )
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            code, message = ErrorCode.TLS, f"no secure connection to {where}: {err.os_error}"
        case aiohttp.ClientConnectorError() if isinstance(err.os_error, ConnectionRefusedError):
            code, message = (
                ErrorCode.CONNECT_REFUSED,
                f"{where} refused the connection; is the target running?",
            )
        case aiohttp.ClientConnectorError():
            code, message = ErrorCode.CONNECT_FAILED, f"no connection to {where}: {err.os_error.strerror}"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | aiohttp.ClientOSError():
            code, message = ErrorCode.RESET, f"{where} closed the connection before its answer was complete"
        case aiohttp.ClientPayloadError():
            code, message = ErrorCode.RESET, f"{where} broke off within its answer"
        case aiohttp.ClientResponseError():
            code, message = ErrorCode.PROTOCOL, f"{where} did not answer in HTTP/1.1"
        case socket.gaierror():
            code, message = (
                ErrorCode.DNS,
                f"the name of {where} could not be looked up; check its spelling and DNS",
            )
        case _:
            code, message = ErrorCode.PROTOCOL, f"the exchange with {where} failed: {type(err).__name__}"
    return Failure(code=code, message=message)
