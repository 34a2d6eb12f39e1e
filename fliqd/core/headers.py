"""Which headers a job may carry, and which of them are secrets."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from fliqd.errors import Problem

MAX_COUNT: Final = 100
MAX_BYTES: Final = 32 * 1024
HOP_BY_HOP: Final = frozenset(
    # RFC 9110, 7.6.1, and the two that history left behind
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade"}
)  # fmt: skip
SET_BY_FLIQD: Final = frozenset({"host", "content-length", "expect"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2
_SECRET_NAME: Final = re.compile(
    r"authorization|proxy-authorization|cookie|set-cookie|.*-(?:key|token|secret)", re.IGNORECASE
)
MASK: Final = "***"
SHORT: Final = 64  # names that long are remembered
# Visible characters with spaces and tabs between them (RFC 9110, 5.5); beyond ASCII they go out as UTF-8, so none is
# half a surrogate pair.
_VALUE: Final = re.compile(
    r"(?:[^\x00-\x20\x7f-\x9f\ud800-\udfff]"
    r"(?:[^\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]*[^\x00-\x20\x7f-\x9f\ud800-\udfff])?)?"
)


def check_headers(field: str, headers: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what keeps `headers` from being sent; a value is never repeated, it may be a secret."""
    yield from check_size(field, headers)
    seen: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        wrong = None if len(name) <= SHORT and _is_fine(name) else _wrong_name(field, name)
        if wrong is not None:
            yield wrong
        elif lower in seen:
            yield Problem(f"{field}.{name[:64]}", f"comes twice, also as {seen[lower]}: names differ only in case")
        elif not _VALUE.fullmatch(value):
            why = "has a control character, half a character, or white space at an end"
            yield Problem(f"{field}.{name[:64]}", why)
        seen[lower] = name


def _wrong_name(field: str, name: str) -> Problem | None:
    lower = name.lower()
    where = f"{field}.{name[:64]}"
    if not _TOKEN.fullmatch(name):
        return Problem(field, f"{name[:64]!r} is not a header name: letters, digits and !#$%&'*+.^_`|~- only")
    if lower in HOP_BY_HOP:
        return Problem(where, "belongs to the connection, not to the request; leave it out")
    if lower in SET_BY_FLIQD or lower.startswith("x-fliq-"):
        return Problem(where, "is set by fliqd itself; leave it out")
    return None


@lru_cache(maxsize=1024)
def _is_fine(name: str) -> bool:
    """Whether a header may have that name. Remembered, since most jobs have the names of others."""
    return _wrong_name("", name) is None


def check_size(field: str, pairs: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is too much about an object of texts: at most 100 of them and 32 KiB in all."""
    if len(pairs) > MAX_COUNT:
        yield Problem(field, f"has {len(pairs)} entries, at most {MAX_COUNT}")
    if sum(map(len, pairs)) + sum(map(len, pairs.values())) > MAX_BYTES:
        yield Problem(field, f"has more than {MAX_BYTES // 1024} KiB")


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers without the values that are secrets, by their names."""
    return {name: MASK if _SECRET_NAME.fullmatch(name) else value for name, value in headers.items()}
