"""The kept corpus: for each parser a file of literals of octets, one a line, each of which reached something new."""

from ast import literal_eval
from collections.abc import Iterable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("corpus")


def read(name: str) -> list[bytes]:
    """Return the kept inputs of a parser."""
    lines = (FOLDER / f"{name}.txt").read_text(encoding="ascii").splitlines()
    return [literal_eval(line) for line in lines if line and not line.startswith("#")]


def keep(name: str, inputs: Iterable[bytes]) -> None:
    """Add inputs to those that are kept."""
    file = FOLDER / f"{name}.txt"
    remarks = [line for line in file.read_text(encoding="ascii").splitlines() if line.startswith("#")]
    kept = sorted({*read(name), *inputs}, key=lambda one: (len(one), one))
    file.write_text("\n".join([*remarks, *(ascii(one) for one in kept), ""]), encoding="ascii")
