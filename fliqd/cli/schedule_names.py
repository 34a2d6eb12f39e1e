"""Which schedule is meant: one is given by its id, or by its name, which is unique."""

import re
from typing import Any, Final
from urllib.parse import quote

from fliqd.cli.client import Client
from fliqd.cli.errors import MissingError

_ID: Final = re.compile(r"sched_[0-9a-z]{26}", re.ASCII)


def schedule_path(schedule_id: str, tail: str = "") -> str:
    """Return the path of a schedule, whatever was given for its id."""
    return f"/schedules/{quote(schedule_id, safe='')}{tail}"


def find(client: Client, given: str) -> dict[str, Any]:
    """Return the schedule with this id or name; raise MissingError."""
    if _ID.fullmatch(given):
        schedule: dict[str, Any] = client.get(schedule_path(given), expects="next_run_at")
        return schedule
    for schedule in client.get("/schedules", {"name": given}, expects="schedules")["schedules"]:
        return schedule
    raise MissingError(f"there is no schedule {given!r}; see `fliqd schedules list`")


def id_of(client: Client, given: str) -> str:
    """Return the id of a schedule; one that was given is taken as it is, so that deleted ones can be asked for."""
    if _ID.fullmatch(given):
        return given
    schedule_id: str = find(client, given)["id"]
    return schedule_id
