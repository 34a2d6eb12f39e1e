"""When to speak of something that goes wrong: once as it begins, once as it is over, and not for each time.

An incident is known by its kind and its subject, such as failing jobs of one host. What comes and goes is told as
often as once in `QUIET_MS` at most: an incident that comes back soon after its end is over only after so long without
another failure.
"""

from enum import StrEnum
from typing import Final

import msgspec

QUIET_MS: Final = 600_000
REMIND_MS: Final = 20 * 3_600_000  # less than a day: what fails each night is told each day


class News(StrEnum):
    """What there is to tell of an incident."""

    OPENED = "opened"
    GOES_ON = "goes_on"
    CLOSED = "closed"


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that goes wrong. The field names are the columns of the store; None of a time: not (yet)."""

    kind: str
    subject: str
    opened_ms: int
    last_ms: int  # when it last went wrong
    count: int = 1  # how often since it was opened
    again: bool = False  # it was opened soon after its last end
    well_ms: int | None = None  # it has gone well since then, but it is too soon to believe it
    closed_ms: int | None = None
    told_ms: int | None = None  # when its latest news went out

    @property
    def news(self) -> News:
        """What its latest news was, or is."""
        return News.OPENED if self.closed_ms is None else News.CLOSED


def went_wrong(old: Incident | None, kind: str, subject: str, now_ms: int) -> tuple[Incident, News | None]:
    """Return the incident after something went wrong, and what that is news of."""
    if old is None or old.closed_ms is not None:
        again = old is not None and old.closed_ms is not None and now_ms - old.closed_ms < QUIET_MS
        fresh = Incident(kind=kind, subject=subject, opened_ms=now_ms, last_ms=now_ms, again=again)
        return fresh, News.OPENED
    counted = msgspec.structs.replace(old, last_ms=now_ms, count=old.count + 1, well_ms=None)
    if old.told_ms is not None and now_ms - old.told_ms >= REMIND_MS:
        return msgspec.structs.replace(counted, told_ms=now_ms), News.GOES_ON
    return counted, None


def went_well(old: Incident, now_ms: int) -> tuple[Incident, News | None]:
    """Return the incident after something of the kind went well, or once more time has passed since it did."""
    if old.closed_ms is not None:
        return old, None
    if old.again and now_ms - old.last_ms < QUIET_MS:
        return msgspec.structs.replace(old, well_ms=now_ms if old.well_ms is None else old.well_ms), None
    return msgspec.structs.replace(old, closed_ms=now_ms, told_ms=None), News.CLOSED


def look_again_ms(incident: Incident) -> int | None:
    """Return when an incident is over if nothing else happens, None where that says nothing."""
    waits = incident.well_ms is not None and incident.closed_ms is None
    return incident.last_ms + QUIET_MS if waits else None
