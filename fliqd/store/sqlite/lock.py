"""One daemon a store: a lock held for life on a file beside it."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from fliqd.errors import StoreInUseError, StoreIOError

LOCKS: Final = Path("/proc/locks")  # proc_locks(5)


def holder(store: Path) -> int | None:
    """Return the process that has a store's lock, without touching it; None where no one has, or one cannot tell."""
    try:
        inode = store.with_name(store.name + ".lock").stat().st_ino
        lines = LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if fields[1:2] == ["FLOCK"] and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


class StoreLock:
    """An flock on `<store>.lock`; the kernel lets go of it when the process ends, however it ends.

    Taken on the real path, so that two names of one file (a symlink, a relative path) meet.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".lock")
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock; raise StoreInUseError naming who has it."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise StoreIOError(f"{self._path} cannot be written: {err.strerror}") from err
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            holder = os.read(fd, 64).decode("ascii", "replace").strip() or "another process"
            os.close(fd)
            raise StoreInUseError(
                f"{self._path.with_suffix('')} is in use by fliqd with {holder}: stop that one, or give this one"
                " another store.path"
            ) from err
        self._fd = fd
        with contextlib.suppress(OSError):  # a full disk keeps nobody from holding the lock
            os.ftruncate(fd, 0)
            os.write(fd, f"pid {os.getpid()}\n".encode())

    def release(self) -> None:
        """Let go; the file stays, since removing it would race with the next one to take it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
