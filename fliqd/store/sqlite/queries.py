"""The statements of `queries.sql`, by name."""

import re
from collections.abc import Awaitable
from functools import cache
from importlib.resources import files
from typing import Any, Final, Protocol

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Read(Protocol):
    """Runs a statement beside the writer."""

    def __call__(self, name: str, values: dict[str, Any], more: str = "") -> Awaitable[list[Any]]: ...


@cache
def load() -> dict[str, str]:
    """Return every statement by its name."""
    text = files(__package__).joinpath("queries.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
