"""Reads all of a store while it is served, and says what is wrong with it.

On a connection of its own, which is there for that alone: it holds no lock that others wait for, and no page of
theirs leaves their caches for it. While it reads, the log of writes cannot begin anew, and grows by what is written.
"""

import asyncio
from pathlib import Path
from typing import Final

import aiosqlite

MOST_FAULTS: Final = 3  # of those that are found, how many are told


def lacks_means(err: Exception) -> bool:
    """Tell whether a check could not even begin, for want of a file descriptor, a thread or memory."""
    name = str(getattr(err, "sqlite_errorname", ""))
    return isinstance(err, RuntimeError) or name.startswith(("SQLITE_CANTOPEN", "SQLITE_NOMEM"))


async def faults(path: Path) -> list[str]:
    """Return what SQLite finds wrong with a store, and nothing where it is whole; raise sqlite3.Error, RuntimeError.

    That each page is where it belongs, that keys are in order, and that rows and indexes agree
    (sqlite.org/pragma.html#pragma_integrity_check).
    """
    async with aiosqlite.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None) as connection:
        try:
            found = await connection.execute_fetchall(f"PRAGMA integrity_check({MOST_FAULTS})")
        except asyncio.CancelledError:
            await connection.interrupt()
            raise
        return [" ".join(str(row[0]).split()) for row in found if row[0] != "ok"]
