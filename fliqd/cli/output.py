"""How results leave: a table for people, plain columns for pipes, JSON for programs; data on stdout alone."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

import click

from fliqd.errors import FliqdError

TABLE, JSON, JSONL = "table", "json", "jsonl"
CHUNK: Final = 500  # rows that a table lines up together, so that a long list does not wait for its end
NOTHING: Final = "-"
GAP: Final = "  "  # between columns
NARROWEST: Final = 8  # to which a column is cut
WHOLE: Final = frozenset(
    {"id", "status", "when", "#", "code", "late", "took", "runs", "last", "next", "last run", "result"}
)

Row = Sequence[str]
COLOURS: Final = {
    "running": "cyan", "scheduled": "blue", "awaiting_approval": "yellow", "success": "green", "failed": "red",
    "interrupted": "yellow", "cancelled": "bright_black",
    "active": "green", "paused": "yellow", "ended": "bright_black", "error": "red",
}  # fmt: skip


def with_output(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option `--output`; it is called with `output`."""
    return click.option(
        "-o", "--output", type=click.Choice([TABLE, JSON, JSONL]), default=TABLE,
        help="A table (the default; plain columns in a pipe), JSON, or a line of JSON for each.",
    )(function)  # fmt: skip


def example(*lines: str) -> str:
    """Return the end of a help text."""
    return "\b\nFor example:\n" + "\n".join(f"  {line}" for line in lines)


def write(text: str) -> None:
    """Write to stdout; raise BrokenPipeError when nobody reads, FliqdError when the disk is full."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as err:
        raise FliqdError(f"the output cannot be written: {err.strerror}") from err


def say(message: str) -> None:
    """Tell the person at the terminal something that is not data."""
    click.echo(clean(message), err=True)


def is_for_people() -> bool:
    """Whether someone looks at stdout."""
    return sys.stdout.isatty()


def clean(text: str) -> str:
    """Make a text safe to show: what others put into a name must not steer the terminal."""
    return "".join(char if char.isprintable() else " " if char in "\t\r\n" else "\ufffd" for char in text)


def show_document(document: object, output: str) -> None:
    """Print one thing as JSON."""
    write(_json(document, None if output == JSONL else 2) + "\n")


def show_documents(documents: Iterable[object], output: str) -> None:
    """Print a list as JSON, as it comes in: an array, or a line for each."""
    if output == JSONL:
        for document in documents:
            write(_json(document, None) + "\n")
        return
    lead = "[\n"
    for document in documents:
        write(lead + _indented(_json(document, 2)))
        lead = ",\n"
    write("[]\n" if lead == "[\n" else "\n]\n")


def show_table(names: Sequence[str], rows: Iterable[Row]) -> None:
    """Print rows under their names, in chunks that are lined up together.

    The last column is the long one: on a terminal that is too narrow it goes to lines of its own.
    """
    left = iter(rows)
    draw = _rich_chunk if is_for_people() else _plain_chunk
    first = True
    while chunk := [[clean(cell) or NOTHING for cell in row] for row in islice(left, CHUNK)]:
        draw(names, chunk, first)
        first = False
    if first and is_for_people():
        say("Nothing to show.")


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print what one thing is, a line for each of its sides."""
    shown = [(name, clean(value)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        write(f"{name:<{width}}   {value}\n" if is_for_people() else f"{name}\t{value}\n")


def _plain_chunk(names: Sequence[str], rows: list[list[str]], first: bool) -> None:  # noqa: FBT001 -- internal
    """Print cells with a tab between them and nothing else, as `cut` takes them."""
    for row in [[name.upper() for name in names], *rows] if first else rows:
        write("\t".join(row) + "\n")


def _rich_chunk(names: Sequence[str], rows: list[list[str]], first: bool) -> None:  # noqa: ARG001, FBT001 -- as above
    """Print a table that fits the terminal: ids stay whole, columns in which nothing stands are left out."""
    from rich.cells import cell_len  # noqa: PLC0415 -- dear, and only people want it
    from rich.console import Console  # noqa: PLC0415 -- likewise
    from rich.text import Text  # noqa: PLC0415 -- likewise

    console = Console(no_color=True if os.environ.get("NO_COLOR") else None)
    used = [column for column in range(len(names)) if any(row[column] != NOTHING for row in rows)] or [0]
    widths = {column: max(cell_len(row[column]) for row in [names, *rows]) for column in used}
    below = used[-1] if _width(widths) > console.width and len(used) > 1 else None
    if below is not None:
        del widths[below]
    _shrink(widths, [column for column in widths if names[column] not in WHOLE], console.width)

    def show(cells: Iterable[Text]) -> None:
        for cell, width in zip(line := list(cells), widths.values(), strict=True):
            cell.truncate(width, overflow="ellipsis", pad=True)
        # Not cut here: on a terminal that is narrower still, it goes on in the next line.
        console.print(Text(GAP).join(line), soft_wrap=True)

    show(Text(names[column].upper(), style="bold") for column in widths)
    for row in rows:
        show(Text(row[column], style=COLOURS.get(row[column], "")) for column in widths)
        if below is not None:
            console.print(Text(f"{GAP}{row[below]}", style="dim"), soft_wrap=True)


def _shrink(widths: dict[int, int], columns: list[int], room: int) -> None:
    """Make the widest of `columns` narrower until a line fits, none of them narrower than is of use."""
    while columns and _width(widths) > room:
        widest = max(columns, key=lambda column: widths[column])
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def _width(widths: dict[int, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _json(document: object, indent: int | None) -> str:
    """Write JSON as it is read best; in ASCII where stdout cannot carry it, or it could steer the terminal."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    fine = text.isascii() or (utf8 and text.replace("\n", "").isprintable())
    return text if fine else json.dumps(document, indent=indent)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
