"""The due times of a schedule, whatever rule they come from: the next, the last, how many.

Instants are milliseconds since the epoch, UTC. A slot is a due time that the rule names; with jitter its run
is put off a little, and the slot stays what it was.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from fliqd.core import cron_grammar, interval, occurrences, zones
from fliqd.core.cron import Cron
from fliqd.core.durations import LONGEST_MS
from fliqd.core.occurrences import DstPolicy

# A later slot is none: with the longest jitter its run would be past the year 9999, which no text can say.
LAST_MS: Final = zones.END_S * 1000 - LONGEST_MS


class Rule(Protocol):
    """What names slots."""

    def next_after(self, after_ms: int) -> int | None:
        """Return the first slot strictly after `after_ms`, None for none."""

    def latest(self, until_ms: int) -> int | None:
        """Return the last slot at or before `until_ms`, None for none."""

    def count_between(self, after_ms: int, until_ms: int) -> int:
        """Return how many slots there are with `after_ms < slot <= until_ms`."""


@dataclass(frozen=True, slots=True, eq=False)
class CronRule:
    """The times of a cron expression, on the clocks of a zone.

    What was found last is remembered: schedules of one expression that are due together ask for the same times.
    """

    cron: Cron
    zone: ZoneInfo
    dst: DstPolicy

    def next_after(self, after_ms: int) -> int | None:
        return _next_run(self, after_ms)

    def latest(self, until_ms: int) -> int | None:
        return _previous_run(self, until_ms)

    def count_between(self, after_ms: int, until_ms: int) -> int:
        return occurrences.count_between(self.cron, self.zone, after_ms, until_ms, self.dst)


@lru_cache(maxsize=1024)
def _next_run(rule: CronRule, after_ms: int) -> int | None:
    return occurrences.next_run(rule.cron, rule.zone, after_ms, rule.dst)


@lru_cache(maxsize=1024)
def _previous_run(rule: CronRule, until_ms: int) -> int | None:
    return occurrences.previous_run(rule.cron, rule.zone, until_ms, rule.dst)


@dataclass(frozen=True, slots=True)
class IntervalRule:
    """Every so often from an anchor on, which is the first slot."""

    anchor_ms: int
    every_ms: int

    def next_after(self, after_ms: int) -> int | None:
        return interval.next_after(self.anchor_ms, self.every_ms, after_ms)

    def latest(self, until_ms: int) -> int | None:
        return interval.latest(self.anchor_ms, self.every_ms, until_ms)

    def count_between(self, after_ms: int, until_ms: int) -> int:
        return interval.count_between(self.anchor_ms, self.every_ms, after_ms, until_ms)


@dataclass(frozen=True, slots=True)
class Timing:
    """A rule between its bounds, both inclusive, None for open."""

    rule: Rule
    starts_ms: int | None = None
    ends_ms: int | None = None

    def next_after(self, after_ms: int) -> int | None:
        """Return the first slot strictly after `after_ms`, None for none."""
        slot_ms = self.rule.next_after(self._from(after_ms))
        return None if slot_ms is None or slot_ms > self._to(LAST_MS) else slot_ms

    def latest(self, until_ms: int) -> int | None:
        """Return the last slot at or before `until_ms`, None for none."""
        slot_ms = self.rule.latest(self._to(until_ms))
        return None if slot_ms is None or (self.starts_ms is not None and slot_ms < self.starts_ms) else slot_ms

    def count_between(self, after_ms: int, until_ms: int) -> int:
        """Return how many slots there are with `after_ms < slot <= until_ms`."""
        low_ms, high_ms = self._from(after_ms), self._to(until_ms)
        return self.rule.count_between(low_ms, high_ms) if low_ms < high_ms else 0

    def _from(self, after_ms: int) -> int:
        return after_ms if self.starts_ms is None else max(after_ms, self.starts_ms - 1)

    def _to(self, until_ms: int) -> int:
        return until_ms if self.ends_ms is None else min(until_ms, self.ends_ms)


@lru_cache(maxsize=4096)
def cron_rule(cron: str, timezone: str, dst: DstPolicy) -> CronRule:
    """Return the rule of an expression; raise CronError or ZoneError. Remembered: reading one costs ten runs."""
    return CronRule(cron_grammar.parse(cron), zones.zone(timezone), dst)


def jitter_of(schedule_id: str, slot_ms: int, most_ms: int) -> int:
    """Return by how much the run of a slot is put off: 0 to `most_ms` inclusive, evenly spread.

    It is a hash of both, so a restart, another host and a preview get the same answer.
    """
    if not most_ms:
        return 0
    digest = blake2b(f"{schedule_id}:{slot_ms}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) * (most_ms + 1) >> 64
