"""The versions of what fliqd stands on, and what is known to be wrong with them."""

import platform
import sqlite3
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fliqd.doctor.finding import Finding, Subject, note, ok, warning, wrong
from fliqd.store.sqlite.schema import OLDEST_SQLITE

Version = tuple[int, ...]

OLDEST_AIOHTTP: Final = (3, 14, 4)
# The WAL-reset fault (sqlite.org/wal.html), by the branches that have its fix.
WAL_RESET_FIXED: Final = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
PYTHON_ENDS: Final[dict[Version, str]] = {
    (3, 11): "2027-10-31",
    (3, 12): "2028-10-31",
    (3, 13): "2029-10-31",
    (3, 14): "2030-10-31",
}
# (fixed in, by branch), what happens, what it means here
PYTHON_FAULTS: Final = (
    (((3, 11, 5), (3, 12, 0)), "CVE-2023-40217: a TLS connection may take unencrypted data for authenticated"),
    (((3, 11, 14), (3, 12, 12), (3, 13, 6)), "CVE-2025-8194: a tar made for it can make `fliqd restore` hang"),
)


def versions(subject: Subject) -> Iterator[Finding]:
    yield from sqlite(str(_of_daemon(subject) or sqlite3.sqlite_version))
    yield from aiohttp()
    # The mark of a Python that a distribution keeps (PEP 668), and mends without a new version.
    kept = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
    yield from python(sys.version_info[:3], time.strftime("%Y-%m-%d", time.gmtime()), by_distribution=kept)


def sqlite(text: str) -> Iterator[Finding]:
    """Judge a version of SQLite."""
    found = _version(text)
    if found < OLDEST_SQLITE:
        yield wrong("sqlite", f"SQLite {text} is older than {_text(OLDEST_SQLITE)}", "use a Python with a newer one")
    elif not _has(found, WAL_RESET_FIXED):
        yield note(
            "sqlite",
            f"SQLite {text} can damage a database that two connections write or checkpoint at one moment (fixed in"
            " 3.51.3); fliqd writes with one alone, and its backups only read",
            "let no other program write to the store while the daemon runs, not the sqlite3 shell either",
        )
    else:
        yield ok("sqlite", f"SQLite {text}")


def aiohttp() -> Iterator[Finding]:
    import aiohttp as library  # noqa: PLC0415 -- dear

    if _version(library.__version__) < OLDEST_AIOHTTP:
        yield wrong(
            "aiohttp",
            f"aiohttp {library.__version__} lacks fixes that the API's edge relies on",
            f"install {_text(OLDEST_AIOHTTP)} or newer",
        )
    else:
        yield ok("aiohttp", f"aiohttp {library.__version__}")


def python(found: Version, today: str, *, by_distribution: bool = False) -> Iterator[Finding]:
    """Judge a version of Python, on a date; what a distribution has mended in it, its version does not tell."""
    text = _text(found)
    fine = True
    for fixed, fault in PYTHON_FAULTS:
        if not _has(found, fixed):
            fine = False
            if by_distribution:
                yield note(
                    "python",
                    f"Python {text}, as it was published, has {fault}; your distribution may have mended that",
                    "install its updates; its changelog tells (Debian's and Ubuntu's: apt changelog python"
                    f"{_text(found[:2])})",
                )
            else:
                yield warning("python", f"Python {text} has {fault}", "upgrade it within its branch")
    ends = PYTHON_ENDS.get(found[:2])
    if ends is not None and today > ends and not by_distribution:
        fine = False
        yield warning("python", f"Python {text} gets no fixes since {ends}", "use a newer one")
    if fine:
        yield ok("python", f"{platform.python_implementation()} {text}")


def _has(found: Version, fixed: tuple[Version, ...]) -> bool:
    """Tell whether a version has a fix that came to some branches; the newest of them and all after it have it."""
    same = [version for version in fixed if version[:2] == found[:2]]
    return found >= same[0] if same else found > max(fixed)


def _of_daemon(subject: Subject) -> object:
    return None if subject.status is None else (subject.status.get("store") or {}).get("sqlite_version")


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def _text(version: Version) -> str:
    return ".".join(map(str, version))
