"""The store's file before it is served: made, recognised, upgraded, or refused with the way out.

A file is refused rather than repaired, and a new one is never made where an old one was: a scheduler
that starts anew over a lost store looks healthy, and calls nobody.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from fliqd.errors import StoreIOError, StoreUnusableError
from fliqd.store.sqlite import schema

log = structlog.get_logger()

MAGIC: Final = b"SQLite format 3\0"  # sqlite.org/fileformat.html, 1.2
HEADER_BYTES: Final = 100
# What reading a file may raise: what SQLite says of a damaged schema may itself be no text.
ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
MARKER: Final = "store.marker"  # in the state directory: that there is a store, and which
IN_USE: Final = "in_use"  # a row of `meta`, there as long as a daemon has the store
LOG_MISSING: Final = (
    "a daemon had this store when it was written last, and the log of its writes, which lay beside it, is gone: jobs"
    " that were acknowledged last, and what became of others, may be missing. If the file was copied or moved, stop"
    " fliqd and put back both files, or a backup. If another program has opened the store since, or sqlite3's .backup"
    " has made it, nothing is missing"
)


class Marker(msgspec.Struct, frozen=True):
    """What the state directory remembers of its store."""

    store_id: str
    path: str
    made_at: str


def prepare(path: Path, marker: Path) -> str:
    """See that `path` is a store that can be served, with the schema of this program; return its id.

    Raises StoreUnusableError with the way out, StoreIOError where the disk refuses.
    """
    if sqlite3.sqlite_version_info < schema.OLDEST_SQLITE:
        needed = ".".join(map(str, schema.OLDEST_SQLITE))
        raise StoreUnusableError(
            f"this Python has SQLite {sqlite3.sqlite_version} and fliqd needs {needed}: use another Python, or the"
            " build of fliqd that brings its own"
        )
    known = _read_marker(marker)
    try:
        fresh = not path.exists() or path.stat().st_size == 0
        if fresh:
            refuse_lost(path, marker)
        else:
            _check_header(path)
            if path.stat().st_nlink > 1:
                # The lock is by name: under another one, a second daemon would not meet it.
                raise StoreUnusableError(f"the store {path} has a second name (a hard link): remove one of them")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        has_log = log_of_writes(path).exists()
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)
        try:
            store_id = _open(connection, path, fresh=fresh, served=known is not None)
            if connection.execute("SELECT 1 FROM meta WHERE key = ?", (IN_USE,)).fetchall():
                if not has_log:
                    log.error("store.log_missing", store=str(path), what=LOG_MISSING)
                with no_matter():
                    forget_use(connection)
        finally:
            connection.close()
    except ERRORS as err:
        raise refusal(path, err) from err
    except OSError as err:
        raise StoreIOError(f"the store {path} cannot be opened: {err.strerror}") from err
    refuse_other(path, marker, store_id)
    if known is None or known.path != str(path):
        write_marker(marker, Marker(store_id, str(path), today()))
    return store_id


def refuse_lost(path: Path, marker: Path) -> None:
    """Raise StoreUnusableError for a store that is not there, or empty, if there has been one."""
    known = _read_marker(marker)
    if known is not None:
        raise StoreUnusableError(
            f"the store {path} is {'empty' if path.exists() else 'not there'}, although there was one since"
            f" {known.made_at} (at {known.path}): put it back, or a backup of it (`fliqd restore FILE`), or set"
            f" store.path to where it is; to start anew, delete {marker}"
        )


def refuse_other(path: Path, marker: Path, store_id: str) -> None:
    """Raise StoreUnusableError for a store that is not the one that was served before."""
    known = _read_marker(marker)
    if known is not None and known.store_id != store_id:
        raise StoreUnusableError(
            f"the store {path} is not the one that this state directory belongs to (that was at {known.path}):"
            f" set store.path to the right one; to use this one from now on, delete {marker}"
        )


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if not header.startswith(MAGIC):
        if header.strip(b"\0"):
            raise StoreUnusableError(
                f"{path} cannot be used as a store: it is no SQLite file; set store.path to another"
            )
        raise damaged(f"the store {path}", "its first page is blank")
    size = path.stat().st_size
    if len(header) < HEADER_BYTES:
        raise damaged(f"the store {path}", f"it ends after {size} bytes")
    page = int.from_bytes(header[16:18], "big")
    beside = log_of_writes(path)
    if page > 1 and size % page and not (beside.exists() and beside.stat().st_size):
        raise damaged(f"the store {path}", f"it ends within a page, after {size} bytes")


def log_of_writes(path: Path) -> Path:
    """Return where SQLite keeps what has not reached the file yet (sqlite.org/wal.html)."""
    return path.with_name(path.name + "-wal")


def identity(path: Path) -> list[tuple[int, int] | None]:
    """Return what tells the files of a store in use from others that take their places, None for one that is not there.

    The file, the log of writes, and the index of that, which holds the locks (sqlite.org/walformat.html): device and
    inode of each. Raises OSError where the system cannot say.
    """
    found: list[tuple[int, int] | None] = []
    for suffix in ("", "-wal", "-shm"):
        try:
            stat = path.with_name(path.name + suffix).stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((stat.st_dev, stat.st_ino))
    return found


def out_of_place(path: Path) -> StoreIOError:
    """Say what it means that a daemon no longer finds its store where it was."""
    return StoreIOError(
        f"the store {path}, or a file that belongs to it (-wal, -shm), was moved, deleted or replaced while fliqd had"
        " it: what is written goes where nobody finds it again. If the store is gone, put it back with its -wal, or a"
        " backup (`fliqd restore FILE`); then start again"
    )


def forget_use(connection: sqlite3.Connection) -> None:
    """Have a store no longer say that a daemon has it."""
    connection.execute("DELETE FROM meta WHERE key = ?", (IN_USE,))


@contextmanager
def no_matter() -> Iterator[None]:
    """Go on without a mark where the disk is full or another program writes; after no other failure."""
    try:
        yield
    except sqlite3.OperationalError as err:
        if not str(getattr(err, "sqlite_errorname", "")).startswith(("SQLITE_FULL", "SQLITE_BUSY")):
            raise


def _open(connection: sqlite3.Connection, path: Path, *, fresh: bool, served: bool) -> str:
    connection.execute("PRAGMA synchronous = FULL")
    if fresh:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has to be said before the first table
    else:
        check_owner(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    applied, newest = schema.version(connection), schema.newest()
    if applied > newest:
        raise StoreUnusableError(
            f"the store {path} has schema {applied} and this fliqd knows {newest}: it was written by a newer version;"
            f" install that one again, or go back {way_back(path, newest)}"
        )
    if 0 < applied < newest:
        _set_aside(connection, path, applied)
    schema.migrate(connection)
    found = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if found is not None:
        return str(found[0])
    if served:  # else whoever made it was killed before it had one
        raise damaged(f"the store {path}", "it does not say which one it is any more")
    store_id = secrets.token_hex(16)
    connection.execute("INSERT INTO meta (key, value) VALUES ('store_id', ?)", (store_id,))
    return store_id


def check_owner(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreUnusableError for a SQLite file of another program; an empty one may become a store."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id != schema.APPLICATION_ID and tables:
        raise StoreUnusableError(
            f"{path} cannot be used as a store: it is a SQLite file of another program; set store.path to another"
        )


def _set_aside(connection: sqlite3.Connection, path: Path, applied: int) -> None:
    """Keep a copy from before an upgrade: whole, on disk, and complete before it gets its name."""
    copy = aside_name(path, applied)
    unfinished = copy.with_name(copy.name + ".part")
    unfinished.unlink(missing_ok=True)
    try:
        connection.execute("VACUUM INTO ?", (str(unfinished),))
        unfinished.chmod(0o600)
        release(unfinished)
        sync(unfinished)
    except (sqlite3.Error, OSError) as err:
        unfinished.unlink(missing_ok=True)  # a full disk needs the room
        if isinstance(err, sqlite3.Error) and isinstance(found := refusal(path, err), StoreUnusableError):
            raise found from err
        raise StoreIOError(
            f"the store {path} was not upgraded, and is as it was: no copy of it could be set aside first ({err});"
            f" {path.parent} needs room for as much again, see `fliqd upgrade-check`"
        ) from err
    unfinished.replace(copy)
    sync(path.parent)
    log.info(
        "store.set_aside",
        copy=str(copy),
        schema=applied,
        upgrading_to=schema.newest(),
        way_back=f"stop fliqd, install the version before, run: fliqd restore {copy}",
    )


def release(copy: Path) -> None:
    """Have a copy not say that a daemon has it; raise sqlite3.Error."""
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchall():  # else it is no store
            forget_use(connection)


def aside_name(path: Path, applied: int) -> Path:
    """Return where a copy of a store goes before it is upgraded from a schema."""
    return path.with_name(f"{path.name}.schema-{applied}")


def way_back(path: Path, newest: int) -> str:
    """Say which copy this version can use, and how."""
    for number in range(newest, 0, -1):
        copy = aside_name(path, number)
        if copy.exists():
            made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(copy.stat().st_mtime))
            return (
                f"with `fliqd restore {copy}`, the copy set aside before the upgrade ({made}): what happened since is"
                " not in it"
            )
    return "with `fliqd restore` and a backup from before the upgrade"


def refusal(path: Path, err: Exception) -> StoreUnusableError | StoreIOError:
    """Say what an error of SQLite means for a store that was to be opened or read."""
    name = str(getattr(err, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_BUSY")):
        return StoreIOError(
            f"the store {path} cannot be opened: {err} ({name}); see its permissions and the disk's space"
        )
    # To SQLite a read that fails is a damage, and it keeps the system's error to itself.
    return damaged(
        f"the store {path}", f"{err}, or the disk could not read it" if name.startswith("SQLITE_CORRUPT") else str(err)
    )


def damaged(store: str, how: str) -> StoreUnusableError:
    """Say what a damage is, and what to do."""
    return StoreUnusableError(
        f"{store} is damaged: {how}. See the system's log for the disk, and docs/how-to/backup.md, \"When the store is"
        ' damaged", for what to try before you put back a backup (`fliqd restore FILE`)'
    )


def today() -> str:
    """Return the date that a marker remembers."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def _read_marker(marker: Path) -> Marker | None:
    try:
        return msgspec.json.decode(marker.read_bytes(), type=Marker)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as err:
        raise StoreUnusableError(
            f"{marker} cannot be read ({err}): put it back, or delete it to trust the store"
        ) from err


def write_marker(marker: Path, content: Marker) -> None:
    """Remember a store, on disk before anyone relies on it."""
    new = marker.with_name(marker.name + ".new")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(content) + b"\n")
        sync(new)
        new.replace(marker)
        sync(marker.parent)
    except OSError as err:
        raise StoreIOError(f"{marker} cannot be written: {err.strerror}") from err


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
