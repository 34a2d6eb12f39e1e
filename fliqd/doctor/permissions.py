"""Who may read and write the daemon's files: nobody but its user."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fliqd.backup import KEYS
from fliqd.doctor.finding import Finding, Subject, note, ok, warning, wrong
from fliqd.settings import Server

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
OTHERS_ENTER: Final = stat.S_IXGRP | stat.S_IXOTH
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def permissions(subject: Subject) -> Iterator[Finding]:
    folder, store = subject.config.state_dir, subject.config.store_path
    if not folder.exists():
        yield note("state directory", f"{folder} is not there yet; the daemon makes it")
    else:
        try:
            found = [*_folder(folder), *_files(folder, store), *_owners(folder, store)]
        except PermissionError as err:
            found = [wrong("permissions", f"{err.filename} may not be looked at", "run as root or the daemon's user")]
        yield from found or [ok("permissions", f"{folder} and what is in it are for one user alone")]
    yield from _sockets(subject.config.settings.server)
    if subject.config.file is not None:
        yield from _config(subject.config.file)


def _folder(folder: Path) -> Iterator[Finding]:
    mode = folder.stat().st_mode
    if not stat.S_ISDIR(mode):
        yield wrong("state directory", f"{folder} is no directory", "set $STATE_DIRECTORY to one")
    elif mode & OTHERS_WRITE:
        yield wrong("state directory", f"others may write to {folder}, and so replace the store", f"chmod 700 {folder}")
    elif not os.access(folder, os.W_OK):
        yield wrong("state directory", f"{folder} may not be written by this user", "run as the daemon's user")


def _files(folder: Path, store: Path) -> Iterator[Finding]:
    for name in KEYS:
        file = folder / name
        if file.exists():
            if file.stat().st_mode & OTHERS:
                yield wrong("key files", f"others may read {file}", f"chmod 600 {file}, and make new tokens")
            elif not file.stat().st_size and name != "admin.token":
                yield wrong("key files", f"{file} is empty", "put it back from a backup, or delete it for a new one")
    for file in (store, store.with_name(store.name + "-wal")):
        if file.exists() and file.stat().st_mode & OTHERS:
            yield warning("store", f"others may read {file}: it holds what jobs send", f"chmod 600 {file}")
    if store.exists() and store.stat().st_nlink > 1:
        yield wrong("store", f"{store} has a second name (a hard link); it will not be opened", "remove one of them")


def _owners(folder: Path, store: Path) -> Iterator[Finding]:
    owner = folder.stat().st_uid
    beside = [store.with_name(store.name + suffix) for suffix in ("", "-wal", "-shm", ".lock")]
    strange = [str(file) for file in (*beside, *(folder / name for name in KEYS)) if _owned_by_another(file, owner)]
    if strange:
        yield wrong(
            "owners",
            f"{', '.join(strange)} belong to another user than {folder}: the daemon may not write them",
            f"chown --reference={folder} {' '.join(strange)}",
        )


def _owned_by_another(file: Path, owner: int) -> bool:
    return file.exists() and file.stat().st_uid != owner


def _sockets(server: Server) -> Iterator[Finding]:
    if not server.listen_mode & OTHERS:
        return
    for path in (Path(place.path) for place in server.listen if place.path):
        closed = next(filter(_is_closed, reversed(path.parents)), None)
        if closed is not None:
            yield warning(
                "unix socket",
                f"server.listen_mode lets others in to {path}, and they may not enter {closed}",
                "put the socket into another folder, such as /run/fliqd",
            )


def _is_closed(folder: Path) -> bool:
    try:
        return not folder.stat().st_mode & OTHERS_ENTER
    except OSError:
        return False  # it is not there yet, or lies where this user may not look


def _config(file: Path) -> Iterator[Finding]:
    mode = file.stat().st_mode
    if mode & OTHERS_WRITE:
        yield wrong("configuration", f"others may write {file}", f"chmod go-w {file}")
    elif mode & stat.S_IROTH and _has_secret(file):
        yield wrong(
            "configuration",
            f"everyone may read {file}, and signing.secret stands in it",
            f"chmod 640 {file}, or keep the secret in a file of its own and write ${{file:PATH}}",
        )
    else:
        yield ok("configuration", f"{file} is fine")


def _has_secret(file: Path) -> bool:
    return "whsec_" in file.read_text(encoding="utf-8", errors="replace")
