"""Makes the records of an export again, a batch at a time, and keeps account of what became of each."""

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec

from fliqd.cli import records
from fliqd.cli.batch_file import Entry, entries
from fliqd.cli.client import Client
from fliqd.cli.errors import ConflictingError, MissingError, RefusedError, lines_of
from fliqd.cli.job_batch import Batch, calls
from fliqd.cli.output import JSON, TABLE, show_document, write
from fliqd.cli.records import END, EXECUTION, KINDS, Choices, Kind, LeftOut


class Import(Batch):
    """An import under way; `replayed` counts what is there already."""

    def __init__(self, client: Client, output: str, choices: Choices, *, dry_run: bool) -> None:
        super().__init__(client, output)
        self._choices = choices
        self._dry_run = dry_run
        self._ids: dict[int, str] = {}  # by line: what a record was called where it came from
        self.left_out: dict[str, int] = {}
        self.whole = False

    def run(self, stream: BinaryIO) -> None:
        """Make again what the choices name, kind by kind as they come."""
        for kind, creates in groupby(self._creates(entries(stream)), key=itemgetter(0)):
            for call in calls(entry for _, entry in creates):
                new = self._new(kind, call)
                if self._dry_run:
                    self.done += len(new)
                    self.created += len(new)
                elif kind.in_batches and new:
                    self.send(new)
                elif not kind.in_batches:
                    for entry in new:
                        self._note(entry, self._make(kind, entry))
                for entry in call:
                    del self._ids[entry.line]
                self.show_progress()

    def _creates(self, found: Iterable[Entry]) -> Iterator[tuple[Kind, Entry]]:
        """Yield what is to be created, with its kind; what cannot be is noted on the way."""
        now_ms = time.time_ns() // 1_000_000
        begun = False
        for entry in found:
            try:
                name, record = records.parse(entry)
                if not begun:
                    _check_head(name, record)
                    begun = True
                    continue
                self.whole = name == END
                if name in (END, EXECUTION):
                    continue
                create = records.create_of(name, record, self._choices, now_ms)
            except ValueError as err:
                if not begun:
                    raise RefusedError(f"line {entry.line} {err}") from err
                self.whole = False
                self._note(entry, _refusal("invalid_record", str(err)))
                continue
            if isinstance(create, LeftOut):
                self.left_out[create.why] = self.left_out.get(create.why, 0) + 1
            else:
                self._ids[entry.line] = msgspec.json.decode(record.get("id", b'""'), type=str)
                yield KINDS[name], Entry(entry.line, create)

    def _new(self, kind: Kind, call: list[Entry]) -> list[Entry]:
        """Return those that are not there under their own ids, as where the export came from, or in a copy of that.

        Lists go by age. So a daemon that knows neither the first nor the last of a call knows none between.
        """
        if not self._knows(kind, call[0]) and not self._knows(kind, call[-1]):
            return call
        new = []
        for entry in call:
            if self._knows(kind, entry):
                self._note(entry, {"status": 200, "job": {"id": self._ids[entry.line]}})
            else:
                new.append(entry)
        return new

    def _knows(self, kind: Kind, entry: Entry) -> bool:
        try:
            self._client.call("GET", f"/{kind.many}/{quote(self._ids[entry.line], safe='')}")
        except MissingError:
            return False
        return True

    def _make(self, kind: Kind, entry: Entry) -> dict[str, Any]:
        try:
            made = self._client.call("POST", f"/{kind.many}", entry.text)
        except ConflictingError:
            return {"status": 200, "job": {"id": None}}  # its name is taken: it is there already
        except RefusedError as err:
            return _refusal(err.code, "; ".join(lines_of(err)), err.status)
        return {"status": made.status, "job": made.document}

    def summarise(self) -> None:
        """Print the end, as data."""
        counts = {"created": self.created, "there": self.replayed, "refused": self.refused, "left_out": self.left_out}
        if self._output == TABLE:
            left = ", ".join(f"{count} {why}" for why, count in self.left_out.items())
            verb = "would create" if self._dry_run else "created"
            write(
                f"{verb} {self.created}, already there {self.replayed}, refused {self.refused},"
                f" left out {sum(self.left_out.values())}{f' ({left})' if left else ''}\n"
            )
        elif self._output == JSON:
            end = {"dry_run": self._dry_run, "whole": self.whole, "problems": self._problems}
            show_document({**counts, **end}, JSON)


def _check_head(name: str, record: records.Record) -> None:
    if name != records.HEAD:
        raise ValueError("is not the first line of an export; plain jobs go to `fliqd jobs create --batch`")
    number = msgspec.json.decode(record.get("format", b"0"), type=int)
    if number > records.FORMAT:
        raise ValueError(f"has the format {number}, and this fliqd knows {records.FORMAT}: import it with a newer one")


def _refusal(code: str, message: str, status: int = 400) -> dict[str, Any]:
    return {"status": status, "error": {"code": code, "message": message, "details": []}}
