"""The jobs in a file, one after the other: a line of JSON for each, or one JSON array of them."""

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple, NoReturn

CHUNK: Final = 256 * 1024
_SPACE: Final = " \t\r\n"


class Entry(NamedTuple):
    """What stands at a line: a job as it was written, or why it is none."""

    line: int  # from 1; in an array, where the job begins
    text: bytes
    problem: str | None = None


def entries(stream: BinaryIO) -> Iterator[Entry]:
    """Yield the entries of a file without holding it whole; empty lines are no entries."""
    begun = False
    for line, raw in enumerate(stream, 1):
        text = raw.removeprefix(codecs.BOM_UTF8).strip() if line == 1 else raw.strip()
        if not text:
            continue
        if text.startswith(b"[") and not begun:
            yield from _ArrayReader(stream, raw.removeprefix(codecs.BOM_UTF8), line).entries()
            return
        begun = True
        yield _entry(line, text)


def _entry(line: int, raw: bytes) -> Entry:
    try:
        document = json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        return Entry(line, raw, f"is not JSON: {err}")
    if not isinstance(document, dict):
        return Entry(line, raw, "is not a JSON object")
    return Entry(line, raw)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} does not exist in JSON")


class _ArrayReader:
    """Reads an array piece by piece, as many characters at a time as its next element needs."""

    def __init__(self, stream: BinaryIO, head: bytes, line: int) -> None:
        self._stream = stream
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._text = self._utf8.decode(head)
        self._line = line
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def entries(self) -> Iterator[Entry]:
        """Yield the elements; where the array is broken, the rest of it is one entry with a problem."""
        try:
            self._take("[")
            if self._next() == "]":
                return
            while True:
                self._next()
                yield self._element()
                if self._next() == "]":
                    return
                self._take(",")
        except ValueError as err:
            yield Entry(self._line, b"", f"the array is broken from here on: {err}")

    def _element(self) -> Entry:
        """Read one element; it is whole once what ends it has been seen, too."""
        line, want = self._line, 0
        while True:
            try:
                element, end = self._decoder.raw_decode(self._text)
            except RecursionError as err:
                raise ValueError("it is nested too deeply") from err
            except ValueError:
                end = len(self._text)
                element = None
                whole = False
            else:
                whole = bool(self._text[end:].lstrip(_SPACE))
            if whole:
                break
            want = max(CHUNK, 2 * want)  # so that a long element is not gone through too often
            if not self._read(want):
                self._decoder.raw_decode(self._text)  # says what is wrong
                break
        text = self._text[:end]
        self._drop(end)
        return Entry(line, text.encode(), None if isinstance(element, dict) else "is not a JSON object")

    def _next(self) -> str:
        """Return the next character that is not space, and stay before it."""
        while True:
            self._drop(len(self._text) - len(self._text.lstrip(_SPACE)))
            if self._text:
                return self._text[0]
            if not self._read(CHUNK):
                raise ValueError("it has no end")

    def _take(self, char: str) -> None:
        if self._next() != char:
            raise ValueError(f"expected {char!r}, got {self._text[0]!r}")
        self._drop(1)

    def _drop(self, count: int) -> None:
        self._line += self._text.count("\n", 0, count)
        self._text = self._text[count:]

    def _read(self, count: int) -> bool:
        raw = self._stream.read(count)
        self._text += self._utf8.decode(raw, final=not raw)
        return bool(raw)
