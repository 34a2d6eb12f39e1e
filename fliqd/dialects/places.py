"""Parts of lists by their place: for services that know no cursors."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from fliqd.core.schedule import Schedule
from fliqd.errors import InvalidError, Problem
from fliqd.service.schedules import ScheduleService
from fliqd.store.base import ScheduleFilter

MOST: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_STEP: Final = 100


class Place(NamedTuple):
    """A part of a list: how many come before it, and how many it has at most."""

    offset: int
    limit: int


def place_of(query: Mapping[str, str], *, limit: int) -> Place:
    """Read `limit` (that one unless it says) and `offset` (0) from the parameters of a request; raise InvalidError."""
    problems = []
    texts = {"limit": query.get("limit", str(limit)), "offset": query.get("offset", "0")}
    numbers = {name: int(text) if _NUMBER.fullmatch(text) else -1 for name, text in texts.items()}
    if not 1 <= numbers["limit"] <= MOST:
        problems.append(Problem("limit", f"expected a whole number from 1 to {MOST}", "invalid_query"))
    if numbers["offset"] < 0:
        problems.append(Problem("offset", "expected a whole number, 0 or more", "invalid_query"))
    if problems:
        raise InvalidError(problems)
    return Place(numbers["offset"], numbers["limit"])


async def part_of(schedules: ScheduleService, place: Place, *, counted: bool) -> tuple[Sequence[Schedule], int]:
    """Return a part of the schedules, newest first, and how many there are: in all, or as far as it has looked.

    It goes through them a few at a time, and to the end only where the part goes beyond it or they are to be
    `counted`: there are few schedules, and none is kept but those asked for.
    """
    found: list[Schedule] = []
    total = 0
    before_pk: int | None = None
    while True:
        page, before_pk = await schedules.page(ScheduleFilter(), before_pk=before_pk, limit=_STEP)
        first, last = place.offset - total, place.offset + place.limit - total
        found += page[max(0, first) : max(0, last)]
        total += len(page)
        if before_pk is None or (not counted and len(found) == place.limit):
            return found, total
