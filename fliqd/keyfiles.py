"""Small files that hold a secret: mode 0600, written whole or not at all, never shown."""

import os
from collections.abc import Callable
from pathlib import Path

from fliqd.errors import StoreIOError


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in `path`, making it first where there is none."""
    try:
        secret = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        secret = make()
        write(path, secret)
    except (OSError, UnicodeDecodeError) as err:
        raise StoreIOError(f"{path} cannot be read: {err}") from err
    if not secret:
        raise StoreIOError(f"{path} is empty: put back its copy, or delete it to have a new one made")
    return secret


def read(path: Path) -> str:
    """Return what is in `path`, nothing where there is no such file."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as err:
        raise StoreIOError(f"{path} cannot be read: {err}") from err


def is_empty(path: Path) -> bool:
    """Tell whether there is such a file with nothing in it."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False


def write(path: Path, secret: str) -> None:
    """Write a secret so that a crash leaves the old file or the new one, on disk before anyone uses it."""
    new = path.with_name(path.name + ".new")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as err:
        raise StoreIOError(f"{path} cannot be written: {err}") from err
