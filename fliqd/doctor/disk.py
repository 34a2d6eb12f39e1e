"""The disk that the store is on: its kind, and how much room it has."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fliqd.core.sizes import format_size
from fliqd.doctor.finding import Finding, Subject, ok, warning, wrong
from fliqd.store.sqlite.filesystem import NETWORK, kind_of

LITTLE: Final = 64 * 1024**2  # bytes: SQLite's log of writes alone may take as much
FLEETING: Final = frozenset({"tmpfs", "ramfs"})
DOUBTFUL: Final = frozenset({"9p", "virtiofs", "vboxsf", "prl_fs", "drvfs"})
WITHOUT_OWNERS: Final = frozenset({"vfat", "exfat", "msdos", "ntfs", "ntfs3"})


def disk(subject: Subject) -> Iterator[Finding]:
    place = nearest(subject.config.store_path.resolve().parent)
    yield _kind(kind_of(place), place)
    yield from _room(subject, place)


def nearest(path: Path) -> Path:
    """Return the folder, or the first above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def _kind(kind: str, place: Path) -> Finding:
    if kind in NETWORK:
        return wrong(
            "file system",
            f"{place} is on {kind}, a network file system, on which SQLite's locks do not hold",
            "set store.path to a disk of this machine; `fliqd backup` may write to the network",
        )
    if kind in FLEETING:
        return warning(
            "file system", f"{place} is on {kind}: at the next boot the store is gone", "set store.path to a disk"
        )
    if kind in DOUBTFUL or kind.startswith("fuse"):
        return warning(
            "file system",
            f"{place} is on {kind}, whose locks and shared memory may not be what SQLite needs",
            "set store.path to a disk of this machine unless you know that they are",
        )
    if kind in WITHOUT_OWNERS:
        return warning(
            "file system", f"{place} is on {kind}, which keeps no secrets from other users", "use ext4, xfs or btrfs"
        )
    return ok("file system", f"{place} is on {kind or 'a file system that this system does not name'}")


def _room(subject: Subject, place: Path) -> Iterator[Finding]:
    stat = os.statvfs(place)
    free = stat.f_bavail * stat.f_frsize
    most = subject.config.settings.retention.max_db_size
    has = _size(subject.config.store_path)
    if stat.f_flag & os.ST_RDONLY:
        yield wrong("disk", f"{place} is mounted read-only", "mount it read-write; see `dmesg` for why it is not")
    elif free < LITTLE:
        yield wrong(
            "disk", f"{format_size(free)} are free at {place}: creates are about to be refused", "free some space"
        )
    elif stat.f_files and not stat.f_favail:
        yield wrong("disk", f"no inode is free at {place}: no file can be made there", "remove files, small ones too")
    elif free < most - has:
        yield warning(
            "disk",
            f"{format_size(free)} are free at {place}, and the store may grow from {format_size(has)} to"
            f" {format_size(most)}",
            "lower retention.max_db_size, so that old jobs make room before the disk is full, or free some space",
        )
    else:
        yield ok("disk", f"{format_size(free)} are free at {place}; the store may grow to {format_size(most)}")


def _size(store: Path) -> int:
    try:
        return store.stat().st_size
    except OSError:
        return 0
