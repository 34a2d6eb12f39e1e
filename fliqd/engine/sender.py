"""The door through which requests leave: one call, one request, one outcome as a value."""

from collections.abc import Callable
from typing import Protocol

from fliqd.core.delivery import OutgoingRequest, Response


class Exchange(Protocol):
    """A request under way."""

    def cancel(self) -> None:
        """Give it up: its connection is closed, and nobody is told of an outcome. Later than that, nothing happens."""


class Sender(Protocol):
    """Sends a request at most once, whatever happens to the connection.

    Whoever implements this never re-sends, follows a redirect, keeps a cookie, reads the proxy
    environment or unpacks a body by itself.
    """

    def start(self, request: OutgoingRequest, done: Callable[[Response], None]) -> Exchange:
        """Make the request; `done` is called once, within its deadline, and never from inside this call.

        Raises nothing.
        """

    async def send(self, request: OutgoingRequest) -> Response:
        """Make the request and wait for its outcome. Raises nothing but CancelledError."""

    async def close(self) -> None:
        """Drop every connection; requests under way end with a failure."""
