"""What a target answered, as others are told of it."""

from collections.abc import Iterable
from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a target answered, as much as is kept."""

    status_code: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    truncated: bool
    duration_ms: int

    @property
    def content(self) -> Any:
        """The body, as `content` has it."""
        return content(self.headers, self.body, truncated=self.truncated)


def content(headers: Iterable[tuple[str, str]], body: bytes | None, *, truncated: bool) -> Any:
    """Return a body: as JSON where the headers say that it is, and it is and is whole, else as a text."""
    if body is None:
        return None
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    return as_json(body) if "json" in kind.lower() and not truncated else as_text(body)


def as_json(body: bytes) -> Any:
    """Return JSON byte for byte; what is none, or is nested too deeply, as a text."""
    try:
        msgspec.json.decode(body)
    except (ValueError, msgspec.DecodeError, RecursionError):  # ValueError: it is no UTF-8
        return as_text(body)
    return msgspec.Raw(body)


def as_text(body: bytes) -> str:
    """Return a body as a text, whatever it is."""
    return body.decode("utf-8", "replace")
