"""Where a redirect leads, and what may go along."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from fliqd.core.delivery import ErrorCode, Failure, OutgoingRequest, Response
from fliqd.core.urls import check_url

# The statuses that name another place for the request (RFC 9110, 15.4), and whether it stays a POST.
_KEEPS_METHOD: Final[Mapping[int, bool]] = {301: False, 302: False, 303: False, 307: True, 308: True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """The next request of a chain. Another origin than the job's own is a stranger: it gets no secret."""

    url: str
    method: str
    with_body: bool
    stranger: bool


def next_hop(first: OutgoingRequest, request: OutgoingRequest, response: Response) -> Hop | Failure | None:
    """Return where `response` sends the request, None if it sends it nowhere; `first` is where the chain began.

    301, 302 and 303 turn a POST into a GET, as browsers have it (fetch standard, HTTP-redirect fetch, 12).
    """
    location = next((value for name, value in response.headers if name.lower() == "location"), None)
    if response.status is None or response.status not in _KEEPS_METHOD or location is None:
        return None
    try:
        url = urljoin(request.url, location.strip())
        target = check_url(url)
    except ValueError as err:
        return Failure(code=ErrorCode.PROTOCOL, message=f"the redirect of the target cannot be followed: {err}")
    home = check_url(first.url)
    changes = not _KEEPS_METHOD[response.status] and (response.status == 303 or request.method == "POST")  # noqa: PLR2004
    return Hop(
        url=url.partition("#")[0],
        method="GET" if changes else request.method,
        with_body=not changes and request.body is not None,
        stranger=(target.scheme, target.host, target.port) != (home.scheme, home.host, home.port),
    )
