"""Reads all that the daemon has, page after page, and writes it as the lines of an export."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from fliqd import __version__
from fliqd.cli.client import Client
from fliqd.cli.errors import MissingError, NotAllowedError
from fliqd.cli.records import (
    END,
    FORMAT,
    HEAD,
    ITEM_WAITS,
    JOB,
    KINDS,
    Kind,
    has_limits,
    line,
    masked_headers,
)

PAGE: Final = 100  # the most that the API gives at once

Write = Callable[[bytes], object]
Fields = dict[str, msgspec.Raw]


class Export:
    """An export under way."""

    def __init__(self, client: Client, write: Write, *, details: bool, masked: bool) -> None:
        self._client = client
        self._write = write
        self._details = details
        self._masked = masked
        self.counts: dict[str, int] = {}

    def run(self, statuses: Sequence[str]) -> None:
        """Write all records, or the jobs in these states."""
        made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._tell({"kind": HEAD, "format": FORMAT, "fliqd": __version__, "made_at": made_at})
        for name, kind in KINDS.items():
            if kind.below or (statuses and name != JOB):
                continue
            self.counts[kind.many] = 0
            for status in statuses or (None,):
                for record in self._list(kind, status):
                    self._one(name, kind, record)
        self._tell({"kind": END, **self.counts})

    def _one(self, name: str, kind: Kind, record: msgspec.Raw) -> None:
        fields = msgspec.json.decode(record, type=Fields)
        if not self._masked and masked_headers(fields):
            raise NotAllowedError(
                "this token may only read, and is not shown headers that hold secrets: what is made from such an export"
                " would lack them. Use a token that may write, or say --masked"
            )
        if kind.by_name and not has_limits(fields):
            return  # there is nothing to make again
        self._write(line(name, record))
        self.counts[kind.many] = self.counts.get(kind.many, 0) + 1
        for below, kind_below in KINDS.items():
            if kind_below.below == name:
                self._waiting(below, kind_below, f"{_path(kind, fields)}/{kind_below.many}")
        if self._details and kind.details is not None:
            self._below(name, kind, fields, *kind.details)

    def _waiting(self, name: str, kind: Kind, path: str) -> None:
        """Write what waits below a record, the oldest first, as it is to be made again; lists begin with the newest."""
        self.counts.setdefault(kind.many, 0)
        try:
            cursors: list[str | None] = [None]
            while (cursor := self._page(path, kind.many, ITEM_WAITS, cursors[-1])[1]) is not None:
                cursors.append(cursor)
            written: set[bytes] = set()  # of the page before: this one may reach into it, once some have left
            for cursor in reversed(cursors):
                page, _ = self._page(path, kind.many, ITEM_WAITS, cursor)
                ids = {bytes(msgspec.json.decode(record, type=Fields)["id"]): record for record in reversed(page)}
                for public_id, record in ids.items():
                    if public_id not in written:
                        self._one(name, kind, record)
                written = set(ids)
        except MissingError:
            return  # it was deleted meanwhile

    def _below(self, name: str, kind: Kind, fields: Fields, detail: str, key: str) -> None:
        public_id = fields["id"]
        try:
            raw = self._client.call("GET", f"{_path(kind, fields)}/{key}", expects=key).raw
        except MissingError:
            return  # retention has taken it since its page was read
        found = msgspec.json.decode(msgspec.json.decode(raw, type=Fields)[key], type=list[Fields])
        self.counts[key] = self.counts.get(key, 0) + len(found)
        for one in found:
            self._write(line(detail, msgspec.Raw(msgspec.json.encode({f"{name}_id": public_id, **one}))))

    def _list(self, kind: Kind, status: str | None) -> Iterator[msgspec.Raw]:
        cursor = None
        while True:
            page, cursor = self._page(f"/{kind.many}", kind.many, status, cursor, paged=not kind.by_name)
            yield from page
            if cursor is None:
                return

    def _page(
        self, path: str, key: str, status: str | None, cursor: str | None, *, paged: bool = True
    ) -> tuple[list[msgspec.Raw], str | None]:
        asked = {"status": status, "limit": str(PAGE) if paged else None, "cursor": cursor}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        raw = self._client.call("GET", f"{path}?{query}" if query else path, expects=key).raw
        # Each record stays as it came: a number that Python cannot hold is exported as it was given.
        page = msgspec.json.decode(raw, type=Fields)
        records = msgspec.json.decode(page[key], type=list[msgspec.Raw])
        return records, msgspec.json.decode(page.get("next_cursor", b"null"), type=str | None)

    def _tell(self, about: dict[str, object]) -> None:
        self._write(msgspec.json.encode(about) + b"\n")


def _path(kind: Kind, fields: Fields) -> str:
    return f"/{kind.many}/{quote(msgspec.json.decode(fields['id'], type=str), safe='')}"
