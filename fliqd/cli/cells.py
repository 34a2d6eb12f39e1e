"""Instants in the cells of a table: as short as the terminal wants them, whole in a pipe."""

import shutil
from typing import Final

from fliqd.cli import moments
from fliqd.cli.output import is_for_people

ROOMY: Final = 100  # columns of a terminal in which the time of day finds room


def instant(text: str | None) -> str:
    """Return what to show of an instant, nothing where there is none."""
    if text is None or not is_for_people():
        return text or ""
    write_out = moments.both if shutil.get_terminal_size().columns >= ROOMY else moments.relative
    return write_out(text, moments.now())
