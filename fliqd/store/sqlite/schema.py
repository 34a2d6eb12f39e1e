"""The schema's history: numbered migrations, applied in order, each in a transaction of its own."""

import re
import sqlite3
from importlib.resources import files
from typing import Final

from fliqd.errors import StoreUnusableError
from fliqd.store.sqlite import rows

APPLICATION_ID: Final = 0x666C6971  # "fliq" in the file's header, so that file(1) and we know our own
TABLES: Final = frozenset(
    {"meta", "job", "job_tag", "execution", "token", "schedule", "missed", "declared_job", "queue", "buffer", "rollup"}
)
COLUMNS: Final = {
    "job": rows.JOB_COLUMNS,
    "execution": rows.EXECUTION_COLUMNS,
    "schedule": rows.SCHEDULE_COLUMNS,
    "buffer": rows.BUFFER_COLUMNS,
    "outbox": rows.DELIVERY_COLUMNS,
    "channel": rows.CHANNEL_COLUMNS,
    "incident": rows.INCIDENT_COLUMNS,
}
OLDEST_SQLITE: Final = (3, 38, 0)  # the one with ->>
_NUMBERED: Final = re.compile(r"(\d{4})_\w+\.sql")


def migrations() -> list[tuple[int, str]]:
    """Return (number, SQL) of every migration, in order."""
    folder = files(__package__).joinpath("migrations")
    found = []
    for file in folder.iterdir():
        match = _NUMBERED.fullmatch(file.name)
        if match:
            found.append((int(match[1]), file.read_text(encoding="utf-8")))
    return sorted(found)


def version(connection: sqlite3.Connection) -> int:
    """Return the number of the last migration applied, 0 for a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def newest() -> int:
    """Return the number of the last migration there is."""
    return migrations()[-1][0]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to date: each migration whole or not at all."""
    applied = version(connection)
    for number, sql in migrations():
        if number > applied:
            connection.executescript(
                f"BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {number};"
                f" PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
            )
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if missing := TABLES - tables:
        raise StoreUnusableError(f"the store lacks the tables {', '.join(sorted(missing))}: put back a backup")
    for table, columns in COLUMNS.items():
        found = tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        if found != columns:
            raise StoreUnusableError(f"the store's table {table} has the columns {found}, expected {columns}")
