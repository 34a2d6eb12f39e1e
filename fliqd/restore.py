"""Putting a backup back: all of it is read and checked first, and what was there is set aside, never deleted.

The order is such that a crash anywhere leaves the old state, the new one, or a store that is not there although the
marker says that there was one. On that no daemon starts, and restoring again goes on from it.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fliqd import backup as backups
from fliqd.config import Config
from fliqd.core.sizes import format_size
from fliqd.errors import FliqdError, StoreIOError, StoreUnusableError
from fliqd.store.sqlite import copies, files, filesystem, schema
from fliqd.store.sqlite.lock import StoreLock

WORKSHOP: Final = ".restore.part"


class Restored(msgspec.Struct, frozen=True):
    """What was put back, and where that is which was there before."""

    store: str
    facts: copies.Facts
    keys: tuple[str, ...]
    made_at: str | None  # None: it was a bare store
    set_aside: tuple[str, ...]


def restore(config: Config, source: Path, progress: copies.Progress) -> Restored:
    """Put back a backup, or a bare store such as a copy that was set aside before an upgrade.

    Raises StoreInUseError while a daemon has the store, StoreUnusableError for a source that is broken or newer
    than this program, StoreIOError.
    """
    if not source.is_file():
        raise FliqdError(f"there is no file {source} to restore")
    store, state_dir = config.store_path.resolve(), config.state_dir.resolve()
    if source.resolve() == store:
        raise FliqdError(f"{source} is the store itself: there is nothing to put back")
    filesystem.refuse_network(store)
    with ExitStack() as stack:
        try:
            for folder in (state_dir, store.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise StoreIOError(f"{err.filename} cannot be made: {err.strerror}") from err
        stack.enter_context(_locked(store, state_dir))
        beside = {
            folder: stack.enter_context(backups.workshop(folder / WORKSHOP, "restore"))
            for folder in {state_dir, store.parent}
        }
        new = {name: beside[state_dir] / name for name in backups.KEYS}
        new[backups.STORE] = beside[store.parent] / backups.STORE
        facts, made_at = _read(source, new, progress)
        new = {name: file for name, file in new.items() if file.exists()}
        aside = _Aside(state_dir)
        # The store goes first and comes last: while it is gone, no daemon starts.
        for suffix in ("", "-wal"):
            aside.move(store.with_name(store.name + suffix))
        store.with_name(store.name + "-shm").unlink(missing_ok=True)
        aside.keep(state_dir / files.MARKER)
        files.write_marker(state_dir / files.MARKER, files.Marker(facts.store_id, str(store), files.today()))
        _give_to(state_dir, state_dir / files.MARKER, *new.values())
        for name, file in sorted(new.items(), key=lambda pair: pair[0] == backups.STORE):
            place = store if name == backups.STORE else state_dir / name
            aside.move(place)
            file.replace(place)
            files.sync(place.parent)
    keys = tuple(name for name in backups.KEYS if name in new)
    return Restored(str(store), facts, keys, made_at, tuple(str(folder) for folder in aside.folders))


def _read(source: Path, to: Mapping[str, Path], progress: copies.Progress) -> tuple[copies.Facts, str | None]:
    """Write what is to be put back beside its places, whole and checked."""
    store = to[backups.STORE]
    size = source.stat().st_size
    backups.check_room(store.parent.parent, size + backups.SPARE, f"what is put back takes {format_size(size)}")
    made_at = None
    if backups.is_backup(source):
        made_at = backups.unpack(source, to, progress).made_at
    else:
        copies.copy(source, store, progress)
    facts = copies.check(store, progress)
    if facts.schema > schema.newest():
        raise StoreUnusableError(
            f"{source} has schema {facts.schema} and this fliqd knows {schema.newest()}: it was made by a newer"
            " version; install that one, then restore; nothing was changed"
        )
    return facts, made_at


class _Aside:
    """Where what was there goes: a folder beside it, made when the first thing goes there."""

    def __init__(self, owner: Path) -> None:
        self._owner = owner
        self._name = time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime())
        self.folders: list[Path] = []

    def move(self, file: Path) -> None:
        """Move a file there, if there is one."""
        if os.path.lexists(file):
            to = self._folder(file.parent) / file.name
            file.replace(to)
            files.sync(to.parent)
            files.sync(file.parent)

    def keep(self, file: Path) -> None:
        """Have a file there too, if there is one."""
        if file.exists():
            to = self._folder(file.parent) / file.name
            to.write_bytes(file.read_bytes())
            to.chmod(0o600)
            _give_to(self._owner, to)

    def _folder(self, beside: Path) -> Path:
        for folder in self.folders:
            if folder.parent == beside:
                return folder
        folder, number = beside / self._name, 1
        while os.path.lexists(folder):
            number += 1
            folder = beside / f"{self._name}-{number}"
        folder.mkdir(mode=0o700)
        _give_to(self._owner, folder)
        self.folders.append(folder)
        return folder


@contextmanager
def _locked(store: Path, state_dir: Path) -> Iterator[None]:
    lock = StoreLock(store)
    lock.acquire()
    try:
        _give_to(state_dir, store.with_name(store.name + ".lock"))
        yield
    finally:
        lock.release()


def _give_to(like: Path, *made: Path) -> None:
    """Have the daemon's user own what root has made for it."""
    owner = like.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in made:
            os.chown(path, owner.st_uid, owner.st_gid)
