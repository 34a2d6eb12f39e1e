"""A list of the API, page after page."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from fliqd.cli.client import Client
from fliqd.cli.output import is_for_people, say

PAGE: Final = 100  # the most that the API gives at once


def with_limit(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--limit` and `--all`; it is called with `limit`, None for all."""

    @functools.wraps(function)
    def run(*, limit: int, everything: bool, **given: Any) -> None:
        function(limit=None if everything else limit, **given)

    run = click.option("--all", "everything", is_flag=True, help="All of them, however many there are.")(run)
    return click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")(run)


class Pages:
    """Goes through a list by its cursor, to its end or to `limit`; `is_cut` tells whether it stopped before the end."""

    def __init__(self, client: Client, path: str, key: str, query: Mapping[str, str], limit: int | None) -> None:
        self._client = client
        self._path = path
        self._key = key
        self._query = query
        self._left = limit
        self.is_cut = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while self._left is None or self._left > 0:
            count = PAGE if self._left is None else min(PAGE, self._left)
            query = {**self._query, "limit": str(count)} | ({"cursor": cursor} if cursor else {})
            page = self._client.get(self._path, query, expects=self._key)
            yield from page[self._key]
            cursor = page.get("next_cursor")
            if cursor is None:
                return
            if self._left is not None:
                self._left -= count
        self.is_cut = True

    def tell(self) -> None:
        """Tell a person when there is more than was shown."""
        if self.is_cut and is_for_people():
            say("There are more: see --all and --limit.")
