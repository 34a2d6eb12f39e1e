"""Which kind of file system a store is on; on one over the network it would be damaged sooner or later."""

import re
from pathlib import Path
from typing import Final

from fliqd.errors import ConfigError, Problem

MOUNTS: Final = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
# Their locks or their shared memory do not hold between machines, or not at all (sqlite.org/wal.html, section 1).
NETWORK: Final = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "smb2", "smb3", "smbfs", "fuse.ceph-fuse", "fuse.cifs", "fuse.davfs2", "fuse.gcsfuse",
        "fuse.glusterfs", "fuse.juicefs", "fuse.mfs", "fuse.mount.davfs", "fuse.rclone", "fuse.s3fs", "fuse.seaweedfs",
        "fuse.smbnetfs", "fuse.sshfs",
    }
)  # fmt: skip
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def kind_of(path: Path) -> str:
    """Return the kind of file system that `path` is on, or would be; empty where the system does not tell."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return kind_in(mounts, path)


def kind_in(mounts: str, path: Path) -> str:
    """Return what is mounted where `path`, a real one, leads to: the deepest mount, of several the last."""
    found, depth = "", -1
    for line in mounts.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:  # noqa: PLR2004 -- the mount point is the fifth
            continue
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = right.split(" ", 1)[0], len(point.parts)
    return found


def refuse_network(path: Path) -> None:
    """Raise ConfigError where a store would be on a file system that cannot keep one."""
    kind = kind_of(path)
    if kind in NETWORK:
        raise ConfigError(
            [
                Problem(
                    "store.path",
                    f"{path} is on {kind}, a network file system: SQLite's locks do not hold there, and the store would"
                    " be damaged; put it on a disk of this machine",
                )
            ]
        )
