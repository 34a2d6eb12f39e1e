"""What an examination comes to, and what it is made on."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from fliqd.config import Config


class Level(StrEnum):
    """How bad it is: `wrong` has to be mended, a `warning` thought about, a `note` only known."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at, what was seen, and what to do about it."""

    check: str
    level: Level
    says: str
    do: str = ""


class Subject(msgspec.Struct, frozen=True):
    """A configuration, and the status of the daemon that runs with it, None where none answers."""

    config: Config
    status: Mapping[str, Any] | None
    no_status: str  # why there is none

    @property
    def pid(self) -> int | None:
        """Return the process of the daemon that answers."""
        return None if self.status is None else self.status.get("pid")


def ok(check: str, says: str) -> Finding:
    return Finding(check, Level.OK, says)


def note(check: str, says: str, do: str = "") -> Finding:
    return Finding(check, Level.NOTE, says, do)


def warning(check: str, says: str, do: str) -> Finding:
    return Finding(check, Level.WARNING, says, do)


def wrong(check: str, says: str, do: str) -> Finding:
    return Finding(check, Level.WRONG, says, do)
