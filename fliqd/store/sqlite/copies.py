"""A copy of a store, whole and checked, taken while a daemon serves it or while none does.

It is made by a connection in another process than the daemon's, and read-only. That is safe where a second writer
would not be: the snapshot that is read stays readable, a connection that cannot write never checkpoints (two that
do so at one moment can damage a store before SQLite 3.51.3), and what a process opens and closes touches the locks
of that process alone. The daemon goes on writing; its log of writes cannot shrink until the copy is done.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fliqd.core.sizes import format_size
from fliqd.errors import StoreIOError, StoreUnusableError
from fliqd.store.sqlite import files, queries, schema

BUSY_S: Final = 5.0
LOOK_S: Final = 0.2  # how often progress is told
MOST_FAULTS: Final = 3  # of those that a check finds, how many are told

Progress = Callable[[str, int, int], None]  # what is done, bytes done, and of how many


class Facts(msgspec.Struct, frozen=True):
    """What a store says about itself."""

    store_id: str
    schema: int
    jobs: int
    waiting: int
    due: int  # of those that wait: how many would leave at once


def is_there(store: Path) -> bool:
    """Tell whether there is a store, or at least a file that is not empty; raise StoreIOError."""
    try:
        return store.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise StoreIOError(f"{store} cannot be read: {err.strerror}; run as root or as the daemon's user") from err


def copy(store: Path, to: Path, progress: Progress) -> None:
    """Write what `store` holds at this moment to `to`, which is not there yet; on return it is on disk.

    Raises StoreIOError, StoreUnusableError.
    """
    os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    has_log = files.log_of_writes(store).exists()
    with _reading(store, "mode=ro") as connection:
        files.check_owner(connection, store)
        _vacuum_into(connection, to, progress)
        if has_log:  # else it may lack something, and the daemon that starts on it tells
            files.release(to)
    files.sync(to)


def check(path: Path, progress: Progress, *, in_use: bool = False) -> Facts:
    """Read all of a copy, or of a store that may be in use, and say what it is; raise StoreUnusableError for damage."""
    with _reading(path, "mode=ro" if in_use else "immutable=1") as connection:
        files.check_owner(connection, path)
        progress("checking", 0, 0)
        faults = [row[0] for row in _while_told(connection, f"PRAGMA integrity_check({MOST_FAULTS})")]
        if faults != ["ok"]:
            how = "; ".join(faults)
            raise files.damaged(f"the store {path}", how) if in_use else StoreUnusableError(f"{path} is damaged: {how}")
        return _facts(connection, path)


def look(path: Path) -> Facts:
    """Say what a store is that may be in use, without reading all of it."""
    with _reading(path, "mode=ro") as connection:
        files.check_owner(connection, path)
        return _facts(connection, path)


def used_bytes(store: Path) -> int:
    """Return how large a copy will be."""
    with _reading(store, "mode=ro") as connection:
        return int(connection.execute(queries.load()["pages_used"]).fetchone()[0])


def _facts(connection: sqlite3.Connection, path: Path) -> Facts:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if missing := {"meta", "job"} - tables:
        raise StoreUnusableError(f"{path} is no store: it lacks the tables {', '.join(sorted(missing))}")
    found = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if found is None:
        raise StoreUnusableError(f"{path} is no store: it does not say which one")
    counts = connection.execute(queries.load()["copy_counts"], {"now_ms": time.time_ns() // 1_000_000}).fetchone()
    return Facts(str(found[0]), schema.version(connection), *counts)


@contextmanager
def _reading(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    try:
        uri = f"{path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
        with closing(connection):
            yield connection
    except files.ERRORS as err:
        raise files.refusal(path, err) from err


def _vacuum_into(connection: sqlite3.Connection, to: Path, progress: Progress) -> None:
    whole = int(connection.execute(queries.load()["pages_used"]).fetchone()[0])

    def tell() -> None:
        progress("copying", min(to.stat().st_size, whole), whole)

    try:
        _while_told(connection, "VACUUM INTO ?", (str(to),), tell)
    except sqlite3.OperationalError as err:
        name = str(getattr(err, "sqlite_errorname", ""))
        if name == "SQLITE_FULL":
            raise StoreIOError(
                f"there is no room for the copy in {to.parent}: it takes {format_size(whole)}; nothing was changed"
            ) from err
        raise


def _while_told(
    connection: sqlite3.Connection, sql: str, values: tuple[str, ...] = (), tell: Callable[[], None] = lambda: None
) -> list[tuple[str, ...]]:
    """Run a long statement in a thread, so that Ctrl-C is heard and progress is told meanwhile."""
    rows: list[tuple[str, ...]] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            rows.extend(connection.execute(sql, values).fetchall())
        except BaseException as err:  # noqa: BLE001 -- raised again below, where it is heard
            failed.append(err)

    thread = threading.Thread(target=work, name="sqlite-copy")
    thread.start()
    try:
        while thread.is_alive():
            tell()
            thread.join(LOOK_S)
    except BaseException:
        connection.interrupt()
        thread.join()
        raise
    if failed:
        raise failed[0]
    return rows
