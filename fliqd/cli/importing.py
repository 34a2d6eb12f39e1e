"""Makes the records of an export again, a batch at a time, and keeps account of what became of each."""

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from fliqd.cli import records
from fliqd.cli.batch_file import Entry, entries
from fliqd.cli.client import Client
from fliqd.cli.errors import ConflictingError, MissingError, RefusedError, lines_of
from fliqd.cli.job_batch import CREATED, Batch, calls
from fliqd.cli.output import JSON, TABLE, show_document, write
from fliqd.cli.records import END, EXECUTION, KINDS, Choices, Kind, LeftOut


class Made(NamedTuple):
    """What is to be made: of which kind, and below what, by its id where the export came from."""

    kind: Kind
    parent: str
    entry: Entry


class Import(Batch):
    """An import under way; `replayed` counts what is there already."""

    prints_ids = False

    def __init__(self, client: Client, output: str, choices: Choices, *, dry_run: bool) -> None:
        super().__init__(client, output)
        self._choices = choices
        self._dry_run = dry_run
        self._ids: dict[int, str] = {}  # by line: what a record was called where it came from
        self._buffers: dict[str, records.Record] = {}  # that the export has, by their ids
        self.left_out: dict[str, int] = {}
        self.whole = False

    def run(self, stream: BinaryIO) -> None:
        """Make again what the choices name, kind by kind as they come."""
        for (kind, parent), creates in groupby(self._creates(entries(stream)), key=lambda made: made[:2]):
            base = self._base(kind, parent) if kind.below else f"/{kind.many}"
            if base is None:
                for made in creates:
                    self._note(made.entry, _refusal("no_buffer", "its buffer is not there"))
                continue
            for call in calls(made.entry for made in creates):
                self._make_all(kind, base, call)
                for entry in call:
                    del self._ids[entry.line]
                self.show_progress()

    def _make_all(self, kind: Kind, base: str, call: list[Entry]) -> None:
        new = self._new(kind, base, call)
        if self._dry_run:
            self.done += len(new)
            self.created += len(new)
        elif kind.in_batches and new:
            self._path, self._key = (base if kind.below else f"{base}/batch"), kind.many
            self.send(new)
        elif not kind.in_batches:
            for entry in new:
                self._note(entry, self._make(kind, base, entry))

    def _base(self, kind: Kind, parent: str) -> str | None:
        """Return where the records below a buffer of the export are made: in the one that has its name here."""
        name = msgspec.json.decode(self._buffers.get(parent, {}).get("name", b"null"), type=str | None)
        query = urlencode({"name": name or "", "limit": "1"})
        found = self._client.get(f"/buffers?{query}", expects="buffers")["buffers"] if name else []
        if self._dry_run and not found:
            return f"/buffers/{quote(parent, safe='')}/{kind.many}"  # it would be made
        return f"/buffers/{found[0]['id']}/{kind.many}" if found else None

    def _creates(self, found: Iterable[Entry]) -> Iterator[Made]:
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
                record, parent = self._with_parent(name, record)
                create = records.create_of(name, record, self._choices, now_ms)
                own_name = _text(record, "name" if KINDS[name].by_name else "id")
            except ValueError as err:
                if not begun:
                    raise RefusedError(f"line {entry.line} {err}") from err
                self.whole = False
                self._note(entry, _refusal("invalid_record", str(err)))
                continue
            if isinstance(create, LeftOut):
                self.left_out[create.why] = self.left_out.get(create.why, 0) + 1
            else:
                self._ids[entry.line] = own_name
                yield Made(KINDS[name], parent, Entry(entry.line, create))

    def _with_parent(self, name: str, record: records.Record) -> tuple[records.Record, str]:
        """Return a record as it is its own, and the id of what it is below."""
        if name == "buffer":
            self._buffers[_text(record, "id")] = record
        if name not in KINDS or not KINDS[name].below:
            return record, ""
        parent = _text(record, "buffer_id")
        return records.own_headers(record, self._buffers.get(parent, {})), parent

    def _new(self, kind: Kind, base: str, call: list[Entry]) -> list[Entry]:
        """Return those that are not there under their own ids, as where the export came from, or in a copy of that.

        Lists go by age. So a daemon that knows neither the first nor the last of a call knows none between.
        """
        if not kind.by_name and not self._knows(kind, base, call[0]) and not self._knows(kind, base, call[-1]):
            return call
        new = []
        for entry in call:
            if self._knows(kind, base, entry):
                self._note(entry, {"status": 200, "job": {"id": self._ids[entry.line]}})
            else:
                new.append(entry)
        return new

    def _knows(self, kind: Kind, base: str, entry: Entry) -> bool:
        try:
            raw = self._client.call("GET", f"{base}/{quote(self._ids[entry.line], safe='')}").raw
        except MissingError:
            return False
        return not kind.by_name or records.has_limits(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))

    def _make(self, kind: Kind, base: str, entry: Entry) -> dict[str, Any]:
        name = self._ids[entry.line]
        try:
            if kind.by_name:
                self._client.call("PUT", f"{base}/{quote(name, safe='')}", entry.text)
                return {"status": CREATED, "job": {"id": name}}
            made = self._client.call("POST", base, entry.text)
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


def _text(record: records.Record, name: str) -> str:
    try:
        return msgspec.json.decode(record.get(name, b'""'), type=str)
    except msgspec.MsgspecError as err:
        raise ValueError(f"is no record of an export: {name}: {err}") from err
