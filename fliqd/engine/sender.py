"""The door through which requests leave: one call, one request, one outcome as a value."""

from typing import Protocol

from fliqd.core.delivery import OutgoingRequest, Response


class Sender(Protocol):
    """Sends a request at most once, whatever happens to the connection.

    Whoever implements this never re-sends, follows a redirect, keeps a cookie, reads the proxy
    environment or unpacks a body by itself.
    """

    async def send(self, request: OutgoingRequest) -> Response:
        """Make the request; return within its deadline. Raises nothing but CancelledError."""

    async def close(self) -> None:
        """Drop every connection; requests under way end with a failure."""
