"""Reads all that the daemon has, page after page, and writes it as the lines of an export."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from fliqd import __version__
from fliqd.cli.client import Client
from fliqd.cli.errors import MissingError, NotAllowedError
from fliqd.cli.records import END, FORMAT, HEAD, KINDS, Kind, line, masked_headers

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
        """Write all records, or those in these states."""
        made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._tell({"kind": HEAD, "format": FORMAT, "fliqd": __version__, "made_at": made_at})
        for name, kind in KINDS.items():
            self.counts[kind.many] = 0
            for status in statuses or ("",):
                for record in self._list(kind, {"status": status} if status else {}):
                    self._one(name, kind, record)
        self._tell({"kind": END, **self.counts})

    def _one(self, name: str, kind: Kind, record: msgspec.Raw) -> None:
        fields = msgspec.json.decode(record, type=Fields)
        if not self._masked and masked_headers(fields):
            raise NotAllowedError(
                "this token may only read, and is not shown headers that hold secrets: what is made from such an export"
                " would lack them. Use a token that may write, or say --masked"
            )
        self._write(line(name, record))
        self.counts[kind.many] += 1
        if self._details and kind.details is not None:
            self._below(name, kind, fields["id"], *kind.details)

    def _below(self, name: str, kind: Kind, public_id: msgspec.Raw, detail: str, key: str) -> None:
        path = f"/{kind.many}/{quote(msgspec.json.decode(public_id, type=str), safe='')}/{key}"
        try:
            raw = self._client.call("GET", path, expects=key).raw
        except MissingError:
            return  # retention has taken it since its page was read
        found = msgspec.json.decode(msgspec.json.decode(raw, type=Fields)[key], type=list[Fields])
        self.counts[key] = self.counts.get(key, 0) + len(found)
        for one in found:
            self._write(line(detail, msgspec.Raw(msgspec.json.encode({f"{name}_id": public_id, **one}))))

    def _list(self, kind: Kind, query: dict[str, str]) -> Iterator[msgspec.Raw]:
        cursor: str | None = None
        while True:
            asked = {**query, "limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
            raw = self._client.call("GET", f"/{kind.many}?{urlencode(asked)}", expects=kind.many).raw
            # Each record stays as it came: a number that Python cannot hold is exported as it was given.
            page = msgspec.json.decode(raw, type=Fields)
            yield from msgspec.json.decode(page[kind.many], type=list[msgspec.Raw])
            cursor = msgspec.json.decode(page.get("next_cursor", b"null"), type=str | None)
            if cursor is None:
                return

    def _tell(self, about: dict[str, object]) -> None:
        self._write(msgspec.json.encode(about) + b"\n")
