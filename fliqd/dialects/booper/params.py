"""Query parameters: how many, from where, in which order; unknown ones are ignored."""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec
from multidict import MultiMapping

from fliqd.errors import InvalidError, Problem

T = TypeVar("T")
MOST: Final = 100
FEW: Final = 10
_INDEXED: Final = re.compile(r"order_by\[[01]?\]")


def number(query: MultiMapping[str], name: str, default: int, low: int, high: int) -> int:
    """Return a whole number within bounds; raise InvalidError."""
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or not low <= int(text) <= high:
        raise InvalidError([Problem(name, f"expected a whole number from {low} to {high}")])
    return int(text)


def word(query: MultiMapping[str], name: str, meanings: Mapping[str, T]) -> T | None:
    """Return what a word means, None where there is none; raise InvalidError."""
    text = query.get(name)
    if text is None:
        return None
    if text not in meanings:
        raise InvalidError([Problem(name, f"expected one of {', '.join(meanings)}")])
    return meanings[text]


def order(query: MultiMapping[str], fields: Mapping[str, T], default: T) -> tuple[T, bool]:
    """Return what to sort by, and whether the greatest comes first; raise InvalidError.

    It is written as `order_by[]=field&order_by[]=desc`, as `order_by=field,desc` or as a list in JSON.
    """
    given = _order_parts(query)
    if not given:
        return default, True
    if len(given) != 2 or given[0] not in fields or given[1] not in ("asc", "desc"):  # noqa: PLR2004 -- as it says
        expected = f'expected a field and "asc" or "desc"; the fields are {", ".join(fields)}'
        raise InvalidError([Problem("order_by", expected)])
    return fields[given[0]], given[1] == "desc"


def _order_parts(query: MultiMapping[str]) -> list[str]:
    parts = [value for name, value in query.items() if _INDEXED.fullmatch(name)] or query.getall("order_by", [])
    if len(parts) != 1:
        return parts
    try:
        return msgspec.json.decode(parts[0], type=list[str])
    except (msgspec.MsgspecError, RecursionError):
        return [part.strip() for part in parts[0].split(",")]
