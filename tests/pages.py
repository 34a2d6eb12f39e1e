"""The blocks of a documentation page that can be run, and what a remark before one says about running it.

A remark is a comment of HTML in the line before the block, which no reader of the page sees:

- `not run: REASON`: it needs what a test does not have.
- `another terminal`: it goes on until the page ends.
- `edit: FILE`: this is what the reader writes: entries at its end, or another value of a key it has.
- `shows: TEXT`: that is in what it prints, at last: it is run again until then. `|` stands between several.
- `ends with: CODE`: its exit code.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<remark>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINE: Final = re.compile(r"(\w+) = .*\n")


class Block(NamedTuple):
    """A fenced block of a page; `remark` and `detail` are what is said about running it, empty for nothing."""

    language: str
    text: str
    remark: str = ""
    detail: str = ""


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    found = []
    for match in _BLOCK.finditer(page.read_text()):
        remark, _, detail = (match["remark"] or "").partition(": ")
        found.append(Block(match["language"], match["text"], remark, detail))
    return found


def to_run(page: Path) -> list[Block]:
    """Return what a test of the page has to do: its shell, but for what says why not, and what the reader writes."""
    return [
        block
        for block in blocks_of(page)
        if (block.language == "sh" and block.remark != "not run") or block.remark == "edit"
    ]


def edited(text: str, block: str) -> str:
    """Return a file after the reader has followed the page: `key = value` takes the place of what the key had."""
    line = _LINE.fullmatch(block)
    if line is None:
        return f"{text}\n{block}"
    changed, times = re.subn(rf"^{line[1]} = .*\n", lambda _: block, text, flags=re.MULTILINE)
    assert times == 1, f"{line[1]} is there {times} times"
    return changed
