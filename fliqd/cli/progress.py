"""What a long piece of work has come to, on one line of the terminal; nothing where nobody looks."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click

EVERY_S: Final = 0.1


@contextmanager
def shown() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what is called with a word, the bytes done and of how many; the line is cleared at the end."""
    watched = sys.stderr.isatty()
    last = 0.0
    word = ""

    def tell(what: str, done: int, whole: int) -> None:
        nonlocal last, word
        now = time.monotonic()
        if watched and (what != word or now - last >= EVERY_S):
            last, word = now, what
            percent = f" {100 * done // whole} %" if whole else " …"
            click.echo(f"\r\033[K{what}{percent}", nl=False, err=True)

    try:
        yield tell
    finally:
        if watched:
            click.echo("\r\033[K", nl=False, err=True)
