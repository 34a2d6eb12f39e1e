"""Notices what goes wrong and what has recovered, and has it told: once, not for each time."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from fliqd.clock import Alarm, Clock
from fliqd.core import messages
from fliqd.core.incidents import QUIET_MS, Incident, News, look_again_ms, went_well, went_wrong
from fliqd.core.messages import FAILURE, Alert
from fliqd.core.model import Job
from fliqd.engine.couriers import Couriers
from fliqd.errors import FliqdError
from fliqd.store.base import AlertStore

log = structlog.get_logger()

MOST_INCIDENTS: Final = 1_000
KEEP_MS: Final = 30 * 86_400_000  # an incident in which nothing has happened for so long is forgotten
GATHER_S: Final = 1.0  # what comes within this time of each other is told together
SAVE_S: Final = 10.0  # how long a count may be known in memory alone

Key = tuple[str, str]


class Alerts:
    """Best effort: nothing waits for it, and it raises nothing to those who tell it something.

    An incident (`raise_`, `clear`) lasts until it is over and is told twice; what has happened and is over
    (`missed`, `clock_was_set`) is gathered for a moment, and told at most once in `QUIET_MS`. Where there is no
    channel that is enabled, nothing is noticed.
    """

    def __init__(self, *, store: AlertStore, clock: Clock, couriers: Couriers) -> None:
        self._store = store
        self._clock = clock
        self._couriers = couriers
        self._incidents: dict[Key, Incident] = {}
        self._facts: dict[Key, Mapping[str, Any]] = {}  # of what went wrong last
        self._alarms: dict[Key, Alarm] = {}
        self._unsaved: set[Key] = set()
        self._gone: set[Key] = set()
        self._saving: asyncio.TimerHandle | None = None
        self._save_now = asyncio.Event()
        self._missed: dict[str, int] = {}
        self._missed_told_ms: int | None = None
        self._missed_waits = False

    async def run(self) -> None:
        """Pick up what was going wrong, then write down what is, for ever."""
        await self._load()
        try:
            while True:
                await self._save_now.wait()
                self._save_now.clear()
                await self._save()
        finally:
            if self._saving is not None:
                self._saving.cancel()
            await self._save()

    # What is told to it

    def ended(self, failed: Sequence[Job], well: Collection[str]) -> None:
        """Take note of jobs that have failed, and of hosts that have answered well."""
        if not self._incidents and not self._couriers.any():
            return
        for job in failed:
            self.raise_(FAILURE, job.host, messages.facts_of(job))
        for host in well:
            self.clear(FAILURE, host)

    def raise_(self, kind: str, subject: str, facts: Mapping[str, Any]) -> None:
        """Take note that something goes wrong: it is told when it begins, and counted while it lasts."""
        key = (kind, subject)
        old = self._incidents.get(key)
        if old is None and (not self._couriers.any() or not self._has_room()):
            return
        incident, news = went_wrong(old, kind, subject, self._clock.now_ms())
        self._facts[key] = facts
        self._take(key, incident, news)

    def is_open(self, kind: str, subject: str) -> bool:
        """Tell whether that something goes wrong is known already."""
        incident = self._incidents.get((kind, subject))
        return incident is not None and incident.closed_ms is None and incident.well_ms is None

    def clear(self, kind: str, subject: str) -> None:
        """Take note that it goes well: if it did not, that is told."""
        key = (kind, subject)
        old = self._incidents.get(key)
        if old is None or old.closed_ms is not None:
            return
        incident, news = went_well(old, self._clock.now_ms())
        if incident != old:  # else it is known already that it goes well, and too soon to believe it
            self._take(key, incident, news)

    def missed(self, schedules: Mapping[str, int]) -> None:
        """Take note of schedules, by their names, that missed so many runs."""
        if not self._couriers.any():
            return
        for name, count in schedules.items():
            self._missed[name] = self._missed.get(name, 0) + count
        if not self._missed_waits:
            self._missed_waits = True
            asyncio.get_running_loop().call_later(GATHER_S, self._tell_missed)

    def clock_was_set(self, step_ms: int) -> None:
        """Take note that the clock was set."""
        self._couriers.tell(messages.of_clock(step_ms, self._clock.now_ms()))

    # Incidents

    def _take(self, key: Key, incident: Incident, news: News | None) -> None:
        """Keep an incident as it stands now, and tell what is news."""
        self._incidents[key] = incident
        self._gone.discard(key)
        if (alarm := self._alarms.pop(key, None)) is not None:
            alarm.cancel()
        if (again_ms := look_again_ms(incident)) is not None:
            self._alarms[key] = self._clock.call_at(again_ms, partial(self.clear, *key))
        self._unsaved.add(key)
        if news is None:
            if self._saving is None:
                self._saving = asyncio.get_running_loop().call_later(SAVE_S, self._save_now.set)
            return
        self._save_now.set()
        self._tell(key, incident, news)

    def _tell(self, key: Key, incident: Incident, news: News) -> None:
        alert = messages.of_incident(incident, news, self._facts.get(key, {}))
        log.warning("alert.raised" if not alert.good else "alert.cleared", kind=key[0], subject=key[1])
        self._couriers.tell(alert, lambda: self._told(key, incident.opened_ms, news))

    def _told(self, key: Key, opened_ms: int, news: News) -> None:
        """Note that the news are out, unless there are newer ones."""
        incident = self._incidents.get(key)
        if incident is not None and incident.opened_ms == opened_ms and incident.news is news:
            self._incidents[key] = msgspec.structs.replace(incident, told_ms=self._clock.now_ms())
            self._unsaved.add(key)
            self._save_now.set()

    def _has_room(self) -> bool:
        """Tell whether one more incident can be kept; those that are long over make room."""
        if len(self._incidents) < MOST_INCIDENTS:
            return True
        self._forget_old()
        return len(self._incidents) < MOST_INCIDENTS

    def _forget_old(self) -> None:
        now_ms = self._clock.now_ms()
        for key, incident in list(self._incidents.items()):
            over = incident.closed_ms is not None and now_ms - incident.closed_ms >= QUIET_MS
            if over or now_ms - incident.last_ms >= KEEP_MS:
                del self._incidents[key]
                self._facts.pop(key, None)
                self._unsaved.discard(key)
                self._gone.add(key)

    async def _load(self) -> None:
        """Take up the incidents that a predecessor has left, and tell what it had no time to tell."""
        try:
            for incident in await self._store.incidents():
                # What has been noticed since the start is newer.
                self._incidents.setdefault((incident.kind, incident.subject), incident)
        except FliqdError as err:
            log.warning("alerts.not_read", error=str(err))
            return
        self._forget_old()
        for key, incident in list(self._incidents.items()):
            if incident.told_ms is None and key not in self._unsaved:
                self._tell(key, incident, incident.news)
            if (again_ms := look_again_ms(incident)) is not None and key not in self._alarms:
                self._alarms[key] = self._clock.call_at(again_ms, partial(self.clear, *key))

    async def _save(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
        unsaved, self._unsaved = self._unsaved, set()
        gone, self._gone = self._gone, set()
        if not unsaved and not gone:
            return
        try:
            await self._store.keep([self._incidents[key] for key in unsaved], gone)
        except FliqdError as err:
            # On a full disk, of all things: what counts is that it is told.
            log.warning("alerts.not_written", incidents=len(unsaved), error=str(err))
            self._unsaved |= unsaved & self._incidents.keys()  # for the next time

    # What has happened and is over

    def _tell_missed(self) -> None:
        now_ms = self._clock.now_ms()
        if self._missed_told_ms is not None and 0 <= now_ms - self._missed_told_ms < QUIET_MS:
            self._clock.call_at(self._missed_told_ms + QUIET_MS, self._tell_missed)
            return
        missed, self._missed = self._missed, {}
        self._missed_waits = False
        self._missed_told_ms = now_ms
        self._couriers.tell(messages.of_missed(missed))

    def say(self, alert: Alert) -> None:
        """Tell something that needs no keeping."""
        self._couriers.tell(alert)
