"""Executions added up by the hour, for whom they are added up, and what the sums say."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

from fliqd.core.model import ExecutionStatus, Job

HOUR_MS: Final = 3_600_000
DAY_HOURS: Final = 24
HOURS_KEPT: Final = 8 * DAY_HOURS  # beyond that the hours of a day become one
DAYS_KEPT: Final = 400

# An execution counts in the slot of the first bound that it did not exceed. Each is twice the last: more of them
# would tell quantiles apart that nobody asks about, and every one is a row to be read.
BOUNDS_MS: Final = tuple(2**power for power in range(23))  # 1 ms to 70 min


class Scope(StrEnum):
    """What executions are added up for."""

    JOBS = "jobs"  # all of them
    BUFFERS = "buffers"  # those of buffer items, which are in no other
    SCHEDULE = "schedule"
    QUEUE = "queue"
    HOST = "host"


OTHERS: Final = ""  # the key of those beyond the most that are told apart; also of a scope that has only one
# How many are told apart: in an hour those that come first, in a day those with the most executions.
MOST_KEYS: Final[Mapping[Scope, int]] = {Scope.SCHEDULE: 1_000, Scope.QUEUE: 100, Scope.HOST: 100}


class Cell(NamedTuple):
    """Which executions stand in one row of sums."""

    scope: str
    key: str
    hour: int  # since the epoch, UTC; of a day that has been put together the first
    slot: int  # of how long they took; 0 where nobody knows


class Ended(NamedTuple):
    """The end of an execution, as far as it is added up."""

    job: Job
    status: ExecutionStatus
    finished_ms: int
    duration_ms: int
    late_ms: int


class Sums(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """What is known of the executions in a row."""

    slot: int = 0
    succeeded: int = 0
    failed: int = 0
    interrupted: int = 0
    duration_ms: int = 0  # of those whose end is known, as late_ms
    late_ms: int = 0
    late_max_ms: int = 0


def add_up(ends: Iterable[Ended], admit: Callable[[Scope, str, int], str]) -> dict[Cell, Sums]:
    """Return the sums of a batch; `admit` says under which key a schedule, queue or host stands in an hour.

    First by all that tells executions apart, since most of a batch are much the same.
    """
    alike: dict[tuple[str, str, str | None, bool, int, int], Sums] = {}
    for job, status, finished_ms, duration_ms, late_ms in ends:
        slot = slot_of(duration_ms)
        kind = (job.queue, job.host, job.schedule_id, job.buffer_id is not None, finished_ms // HOUR_MS, slot)
        sums = alike.get(kind)
        if sums is None:
            sums = alike[kind] = Sums(slot=slot)
        if status is ExecutionStatus.SUCCESS:
            sums.succeeded += 1
        elif status is ExecutionStatus.FAILED:
            sums.failed += 1
        else:
            sums.interrupted += 1
            continue
        sums.duration_ms += duration_ms
        sums.late_ms += late_ms
        sums.late_max_ms = max(sums.late_max_ms, late_ms)
    cells: dict[Cell, Sums] = {}
    for (queue, host, schedule_id, of_buffer, hour, slot), sums in alike.items():
        places = [(Scope.BUFFERS if of_buffer else Scope.JOBS, OTHERS)]
        if not of_buffer:
            places += [
                (Scope.QUEUE, admit(Scope.QUEUE, queue, hour)),
                (Scope.HOST, admit(Scope.HOST, host, hour)),
            ]
        if schedule_id is not None:
            places.append((Scope.SCHEDULE, admit(Scope.SCHEDULE, schedule_id, hour)))
        for scope, key in places:
            _add(cells.setdefault(Cell(scope, key, hour, slot), Sums(slot=slot)), sums)
    return cells


def _add(sums: Sums, more: Sums) -> None:
    sums.succeeded += more.succeeded
    sums.failed += more.failed
    sums.interrupted += more.interrupted
    sums.duration_ms += more.duration_ms
    sums.late_ms += more.late_ms
    sums.late_max_ms = max(sums.late_max_ms, more.late_max_ms)


def slot_of(duration_ms: int) -> int:
    """Return the slot of a duration; one beyond the last bound stands in its slot."""
    return min(max(duration_ms - 1, 0).bit_length(), len(BOUNDS_MS) - 1)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What executions came to. Averages, the quantile and the rate are 0 where none has ended."""

    succeeded: int
    failed: int
    interrupted: int
    success_rate: float
    avg_duration_ms: float
    p95_duration_ms: float
    avg_late_ms: float
    max_late_ms: int

    @property
    def total(self) -> int:
        """How many have ended: of the others nobody knows how."""
        return self.succeeded + self.failed


def summarize(parts: Iterable[Sums]) -> Summary:
    """Put sums together."""
    all_of_it = Sums()
    slots = [0] * len(BOUNDS_MS)
    for part in parts:
        _add(all_of_it, part)
        slots[part.slot] += part.succeeded + part.failed
    total = all_of_it.succeeded + all_of_it.failed
    return Summary(
        succeeded=all_of_it.succeeded,
        failed=all_of_it.failed,
        interrupted=all_of_it.interrupted,
        success_rate=round(all_of_it.succeeded / total, 4) if total else 0.0,
        avg_duration_ms=round(all_of_it.duration_ms / total, 1) if total else 0.0,
        p95_duration_ms=round(quantile(slots, 0.95), 1),
        avg_late_ms=round(all_of_it.late_ms / total, 1) if total else 0.0,
        max_late_ms=all_of_it.late_max_ms,
    )


def quantile(slots: Sequence[int], share: float) -> float:
    """Return how many milliseconds `share` of the executions did not exceed; 0 for none.

    Read between the bounds as if durations were spread evenly over their logarithm, which is nearer to the truth.
    """
    so_far = list(accumulate(slots))
    if not so_far[-1]:
        return 0.0
    wanted = share * so_far[-1]
    slot = bisect_left(so_far, wanted)
    inside: float = (wanted - (so_far[slot] - slots[slot])) / slots[slot]
    return float(BOUNDS_MS[slot - 1] * 2**inside) if slot else inside
