"""A backup: one tar file that brings everything back on another machine.

It holds the store as `fliqd.db`, the key files beside it, and last `backup.json`, which names the SHA-256 of each and
then of itself. So a file that was cut or changed is found out, and `tar xf` alone brings the files back, too. What
it holds lets its owner call the API and sign requests: it is written for this user alone.
"""

import errno
import fcntl
import hashlib
import io
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

import msgspec

from fliqd import __version__
from fliqd.config import Config
from fliqd.core.sizes import format_size
from fliqd.errors import FliqdError, StoreIOError, StoreUnusableError
from fliqd.store.sqlite import copies, files

STORE: Final = "fliqd.db"  # its name in a backup, whatever store.path says
KEYS: Final = ("token.key", "signing.secret", "signing.former", "admin.token")
MANIFEST: Final = "backup.json"
FORMAT: Final = 1
MOST_KEY_BYTES: Final = 64 * 1024
CHUNK: Final = 1024 * 1024
SPARE: Final = 1024 * 1024  # bytes of disk that a backup takes beyond twice the store


class Member(msgspec.Struct, frozen=True):
    """A file in a backup."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says about itself."""

    format: int
    fliqd: str
    made_at: str
    store: copies.Facts
    files: tuple[Member, ...]

    @property
    def names(self) -> list[str]:
        """Return what it holds, by name."""
        return [member.name for member in self.files]


def make(config: Config, to: Path, *, force: bool, progress: copies.Progress) -> Manifest:
    """Write a backup of the store and its keys to `to`, while a daemon serves it or not.

    `to` is there whole and on disk, or not at all; what was there stays unless `force` is given.
    Raises FliqdError, StoreIOError, StoreUnusableError.
    """
    store = config.store_path.resolve()
    if not copies.is_there(store):
        raise FliqdError(
            f"there is no store at {store}: nothing to back up; name the daemon's with --config or $STATE_DIRECTORY"
        )
    _check_place(to, force=force)
    with workshop(to.with_name(f".{to.name}.part"), f"backup to {to}") as folder:
        used = copies.used_bytes(store)
        check_room(
            folder.parent, 2 * used + SPARE, f"a backup takes twice the store's {format_size(used)} while it is made"
        )
        copy = folder / STORE
        copies.copy(store, copy, progress)
        # Read after the store: a token that the store knows has its file by then, since that is written first.
        keys = read_keys(config.state_dir)
        facts = copies.check(copy, progress)
        packed = folder / "backup.tar"
        manifest = _pack(packed, copy, keys, facts, progress)
        copy.unlink()
        _put(packed, to, force=force)
    return manifest


def verify(backup: Path, progress: copies.Progress) -> Manifest:
    """Read all of a backup; raise StoreUnusableError unless it is what was written, FliqdError where there is none."""
    if not backup.exists():
        raise FliqdError(f"there is no file {backup} to verify")
    return _walk(backup, lambda _name: None, progress)


def unpack(backup: Path, places: Mapping[str, Path], progress: copies.Progress) -> Manifest:
    """Write the files of a backup to the places named, new and on disk; raise StoreUnusableError as `verify` does."""
    return _walk(backup, places.get, progress)


def is_backup(path: Path) -> bool:
    """Tell whether a file is a backup and not, say, a store."""
    try:
        return tarfile.is_tarfile(path)
    except OSError as err:
        raise StoreIOError(f"{path} cannot be read: {err.strerror}") from err


def read_keys(state_dir: Path) -> dict[str, bytes]:
    """Return the key files there are."""
    found = {}
    for name in KEYS:
        try:
            found[name] = (state_dir / name).read_bytes()
        except FileNotFoundError:
            continue  # as with a signing secret that the configuration names, or that was never rotated
        except OSError as err:
            raise StoreIOError(
                f"{state_dir / name} cannot be read: {err.strerror}; run as root or as the daemon's user"
            ) from err
    return found


# Writing


def _check_place(to: Path, *, force: bool) -> None:
    try:
        if not to.parent.is_dir():
            raise FliqdError(f"there is no directory {to.parent} to put a backup into")
        if to.is_dir():
            raise FliqdError(f"{to} is a directory: name a file in it, such as {to / 'fliqd.backup'}")
        if os.path.lexists(to):
            if not to.is_file() and not to.is_symlink():
                raise FliqdError(f"{to} is no regular file: name another")
            if not force:
                raise FliqdError(f"{to} exists: name another file, or replace it with --force")
    except OSError as err:
        raise StoreIOError(f"{to} cannot be written: {err.strerror}") from err


@contextmanager
def workshop(folder: Path, what: str) -> Iterator[Path]:
    """Yield a new folder that is ours alone while `what` is under way; what a killed one left there goes first."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as err:
        raise StoreIOError(f"{folder} cannot be made: {err.strerror}") from err
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise FliqdError(f"{folder} belongs to another user: remove it")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise FliqdError(f"another {what} is under way") from err
        for left in folder.iterdir():
            left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as err:
        why = err.strerror or str(err)
        raise StoreIOError(f"the {what} was given up: {err.filename or folder.parent}: {why}") from err
    finally:
        os.close(fd)


def check_room(folder: Path, needed: int, why: str) -> None:
    """Raise StoreIOError where a disk has less room than is needed."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise StoreIOError(
            f"there is no room in {folder}: {why}, and {format_size(free)} are free; nothing was changed"
        )


def _pack(to: Path, copy: Path, keys: dict[str, bytes], facts: copies.Facts, progress: copies.Progress) -> Manifest:
    now_s = int(time.time())
    size = copy.stat().st_size
    with to.open("xb") as raw, tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        to.chmod(0o600)
        members = [_add(tar, _Hashing(io.BytesIO(keys[name])), name, len(keys[name]), now_s) for name in keys]
        with copy.open("rb") as stream:
            reader = _Hashing(stream, lambda done: progress("packing", done, size))
            members.append(_add(tar, reader, STORE, size, now_s))
        made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
        manifest = Manifest(FORMAT, __version__, made_at, facts, tuple(members))
        line = msgspec.json.encode(manifest) + b"\n"
        text = line + hashlib.sha256(line).hexdigest().encode() + b"\n"
        _add(tar, _Hashing(io.BytesIO(text)), MANIFEST, len(text), now_s)
    files.sync(to)
    return manifest


def _add(tar: tarfile.TarFile, reader: "_Hashing", name: str, size: int, now_s: int) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, now_s, 0o600
    tar.addfile(info, cast("IO[bytes]", reader))  # it is read from, and nothing else
    return Member(name, size, reader.hexdigest())


class _Hashing:
    """A stream that is hashed as it is read."""

    def __init__(self, stream: IO[bytes], tell: Callable[[int], None] = lambda _done: None) -> None:
        self._stream = stream
        self._tell = tell
        self._digest = hashlib.sha256()
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._digest.update(chunk)
        self._done += len(chunk)
        self._tell(self._done)
        return chunk

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _put(packed: Path, to: Path, *, force: bool) -> None:
    """Give a whole backup its name; a file that has come to be there meanwhile stays unless `force` is given."""
    if force:
        packed.replace(to)
    else:
        try:
            to.hardlink_to(packed)  # the one way to name a file that fails when the name is taken
        except FileExistsError as err:
            raise FliqdError(f"{to} exists by now: name another file, or replace it with --force") from err
        except OSError as err:
            if err.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            packed.replace(to)  # a stick with FAT has no links; that nothing was there was looked at before
    files.sync(to.parent)


# Reading


def _walk(backup: Path, place: Callable[[str], Path | None], progress: copies.Progress) -> Manifest:
    """Read a backup from its first byte to its last; write out the members that have a place."""
    found: list[Member] = []
    try:
        with backup.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            whole = backup.stat().st_size
            for info in tar:
                if not info.isreg() or info.name not in (*KEYS, STORE, MANIFEST):
                    raise _broken(backup, f"it holds {info.name[:80]!r}, which no backup does")
                if info.name in {member.name for member in found}:
                    raise _broken(backup, f"it holds {info.name} twice")
                stream = tar.extractfile(info)
                if stream is None or (info.name != STORE and info.size > MOST_KEY_BYTES):
                    raise _broken(backup, f"its {info.name} is none")
                if info.name == MANIFEST:
                    return _judge(backup, stream.read(), found)
                found.append(_take(stream, info, place(info.name), lambda: progress("reading", raw.tell(), whole)))
    except (tarfile.TarError, EOFError) as err:
        raise _broken(backup, f"it is cut or changed ({err})") from err
    except OSError as err:
        raise StoreIOError(f"{err.filename or backup} cannot be read or written: {err.strerror or err}") from err
    raise _broken(backup, "it is cut or changed: its end, which names its parts, is missing")


def _take(stream: IO[bytes], info: tarfile.TarInfo, to: Path | None, tell: Callable[[], None]) -> Member:
    digest, left = hashlib.sha256(), info.size
    fd = None if to is None else os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise EOFError(f"{info.name} ends early")
            digest.update(chunk)
            left -= len(chunk)
            if fd is not None:
                _write(fd, chunk)
            tell()
        if fd is not None:
            os.fsync(fd)
    finally:
        if fd is not None:
            os.close(fd)
    return Member(info.name, info.size, digest.hexdigest())


def _write(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _judge(backup: Path, text: bytes, found: list[Member]) -> Manifest:
    line, _, rest = text.partition(b"\n")
    if rest.strip().decode("ascii", "replace") != hashlib.sha256(line + b"\n").hexdigest():
        raise _broken(backup, f"its {MANIFEST} was changed")
    try:
        known = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        if (number := msgspec.json.decode(known.get("format", b"0"), type=int)) != FORMAT:
            raise StoreUnusableError(
                f"{backup} has the format {number}, and this fliqd knows {FORMAT}: restore it with the version that"
                " made it, or a newer one"
            )
        manifest = msgspec.json.decode(line, type=Manifest)
    except msgspec.MsgspecError as err:
        raise _broken(backup, f"its {MANIFEST} says {err}") from err
    if STORE not in manifest.names or sorted(manifest.names) != sorted(member.name for member in found):
        raise _broken(backup, f"it holds other files than its {MANIFEST} names")
    for member in found:
        if member not in manifest.files:
            raise _broken(backup, f"its {member.name} is not what was written")
    return manifest


def _broken(backup: Path, how: str) -> StoreUnusableError:
    return StoreUnusableError(f"{backup} cannot be used as a backup: {how}; take another one")
