"""A small client of the REST API over `http.client`, which imports six times as fast as aiohttp.

Each call has a connection of its own: none can be stale, so no call is ever sent twice. A proxy that the
environment names is not used; the daemon is on this machine or in its neighbourhood.
"""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from fliqd import __version__
from fliqd.cli.errors import ConflictingError, MissingError, NotAllowedError, RefusedError, UnreachableError
from fliqd.cli.places import Place
from fliqd.core.certificates import leaf
from fliqd.errors import FliqdError, Problem

CONNECT_S: Final = 10.0
ANSWER_S: Final = 60.0  # the longest silence while an answer is awaited
LISTED: Final = ("job", "token")  # that commands list, and whose ids are looked up as they are
IS_IT_RUNNING: Final = "is `fliqd serve` running?"


class Answer(NamedTuple):
    """What the daemon said to a call that it carried out."""

    status: int
    document: Any
    raw: bytes = b""


class Client:
    """Calls the API at one place with one token. `hint` says what to do when the token is not enough."""

    def __init__(
        self, place: Place, token: str | None, hint: str = "set $FLIQD_TOKEN", *, answer_s: float = ANSWER_S
    ) -> None:
        self.place = place
        self._token = token
        self._hint = hint
        self._answer_s = answer_s

    def hurried(self, answer_s: float) -> "Client":
        """Return the same with less patience."""
        return Client(self.place, self._token, self._hint, answer_s=answer_s)

    def get(self, path: str, query: Mapping[str, str] | None = None, *, expects: str) -> Any:
        """Return the document at `path` under `/v1`; it has the key `expects`."""
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path, expects=expects).document

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job; raise MissingError."""
        job: dict[str, Any] = self.get(job_path(job_id), expects="status")
        return job

    def call(self, method: str, path: str, body: bytes | None = None, *, expects: str = "") -> Answer:
        """Make one call; raise the FliqdError that says why it was not done.

        `expects` names a key that fliqd's answer has: what lacks it came from something else.
        """
        return self._understand(*self._exchange(method, path, body), expects=expects)

    def _understand(self, status: int, headers: Mapping[str, str], raw: bytes, *, expects: str) -> Answer:
        if status == HTTPStatus.NO_CONTENT:
            return Answer(status, None)
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if status < HTTPStatus.MULTIPLE_CHOICES:
            if not isinstance(document, dict) or expects not in {"", *document}:
                raise self._stranger(status, headers)
            return Answer(status, document, raw)
        error = document.get("error") if isinstance(document, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            raise self._stranger(status, headers)
        raise self._refusal(status, headers, error)

    def lines(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, silence_s: float
    ) -> Iterator[str]:
        """Yield the lines of an answer that goes on, until it ends; an empty one first, once the answer begins.

        Raises UnreachableError when the connection breaks, or nothing comes for `silence_s`.
        """
        connection = self._connection()
        try:
            self._connect(connection)
            connection.sock.settimeout(silence_s)
            whole = f"{self.place.base}/v1{path}?{urlencode(query)}" if query else f"{self.place.base}/v1{path}"
            connection.request("GET", whole, headers={**self._headers(), **headers})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            if response.status != HTTPStatus.OK or not found.get("content-type", "").startswith("text/event-stream"):
                self._understand(response.status, found, response.read(), expects="an event stream")
            yield ""
            while line := response.readline():
                yield line.decode("utf-8", "replace").rstrip("\r\n")
        except (OSError, http.client.HTTPException) as err:
            raise self._lost(err, "GET") from err
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": f"fliqd/{__version__}", "Connection": "close"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        headers = self._headers()
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            self._connect(connection)
            # It may have answered before it had read all, as with a body that is too large.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, f"{self.place.base}/v1{path}", body, headers)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        except (OSError, http.client.HTTPException) as err:
            raise self._lost(err, method) from err
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        place = self.place
        if place.socket:
            return _UnixConnection(place.socket)
        if place.tls:
            return http.client.HTTPSConnection(place.host, place.port, timeout=CONNECT_S, context=_trust(place))
        return http.client.HTTPConnection(place.host, place.port, timeout=CONNECT_S)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        """Connect, apart from the rest: what fails here has surely done nothing."""
        url = self.place.url
        try:
            connection.connect()
        except PermissionError as err:
            if not self.place.socket:
                raise UnreachableError(f"{url} cannot be reached: {_why(err)}") from err
            raise NotAllowedError(f"{url} may not be opened by this user: run as the daemon's user or group") from err
        except ssl.SSLCertVerificationError as err:
            raise UnreachableError(
                f"{url} has a certificate that is not trusted ({err.verify_message}); name its CA in $SSL_CERT_FILE"
            ) from err
        except ssl.SSLError as err:
            raise UnreachableError(f"{url} cannot be reached ({_why(err)}); does it speak https?") from err
        except (OSError, UnicodeError) as err:
            raise UnreachableError(f"{url} cannot be reached ({_why(err)}); {IS_IT_RUNNING}") from err
        if self.place.certificate:
            self._check_certificate(connection.sock)
        connection.sock.settimeout(self._answer_s)

    def _check_certificate(self, connected: socket.socket) -> None:
        """Raise UnreachableError unless the peer has the certificate that is expected, before it is told a token."""
        file = self.place.certificate
        try:
            expected = leaf(Path(file).read_text(encoding="latin-1"))
        except OSError as err:
            raise UnreachableError(f"the certificate {file} cannot be read ({err.strerror}): give --url") from err
        except ValueError as err:
            raise UnreachableError(f"{file} holds no certificate in PEM") from err
        if not isinstance(connected, ssl.SSLSocket) or connected.getpeercert(binary_form=True) != expected:
            raise UnreachableError(f"{self.place.url} has another certificate than {file}; reload or restart fliqd")

    def _lost(self, err: Exception, method: str) -> FliqdError:
        if isinstance(err, FliqdError):
            return err
        what = f"did not answer within {self._answer_s:g} s" if isinstance(err, TimeoutError) else "broke off"
        detail = "" if isinstance(err, TimeoutError) else f" ({_why(err)})"
        done = "" if method == "GET" else "; it may have been done all the same"
        return UnreachableError(f"{self.place.url} {what}{detail}{done}; {IS_IT_RUNNING}")

    def _stranger(self, status: int, headers: Mapping[str, str]) -> FliqdError:
        url = self.place.url
        if status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
            return UnreachableError(f"the proxy at {url} answered {status}; {IS_IT_RUNNING}")
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST and "location" in headers:
            return UnreachableError(f"{url} redirects to {headers['location'][:200]}; name that with --url")
        kind = headers.get("content-type", "nothing").partition(";")[0]
        return UnreachableError(f"{url} answered {status} with {kind}, which is not fliqd's API; check --url")

    def _refusal(self, status: int, headers: Mapping[str, str], error: Mapping[str, Any]) -> FliqdError:
        message, code = error["message"], str(error.get("code"))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            if status == HTTPStatus.UNAUTHORIZED:
                message = f"{message if self._token else 'no token was sent'}; {self._hint}"
            return NotAllowedError(f"not allowed: {message}")
        if status == HTTPStatus.NOT_FOUND:
            kind = message.removeprefix("there is no ").partition(" ")[0]
            return MissingError(f"{message}; see `fliqd {kind}s list`" if kind in LISTED else message)
        if status == HTTPStatus.CONFLICT:
            return ConflictingError(message)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and "retry-after" in headers:
            message = f"{message}; try again in {headers['retry-after']} s"
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            message = f"{message} {error.get('request_id')}"
        return RefusedError(message, code=code, status=status, problems=problems_of(error))


def _trust(place: Place) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if place.certificate:
        # Compared as a whole once it is there: the daemon's own name need not be the address that we come by.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def job_path(job_id: str, tail: str = "") -> str:
    """Return the path of a job, whatever was given for its id."""
    return f"/jobs/{quote(job_id, safe='')}{tail}"


def problems_of(error: Mapping[str, Any]) -> list[Problem]:
    """Return the single problems that an error document names."""
    details = error.get("details") or []
    return [Problem(str(detail.get("field")), str(detail.get("problem"))) for detail in details]


def _why(err: Exception) -> str:
    if isinstance(err, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    return (err.strerror if isinstance(err, OSError) else None) or str(err) or type(err).__name__


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
