"""What became of attempts since the start, in plain numbers: counted by the batch, read when somebody asks."""

from collections.abc import Sequence
from typing import Final

from fliqd.core.histogram import Histogram
from fliqd.core.model import ExecutionStatus
from fliqd.store.base import Finish

LATENESS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
DURATION_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)


class Tally:
    """The attempts whose outcome is on disk, by how they ended, how late they began and how long they took."""

    def __init__(self) -> None:
        self.attempts: dict[tuple[str, str], int] = {}  # by status and error code, "" for none
        self.lateness = Histogram(LATENESS_S)
        self.duration = Histogram(DURATION_S)

    def add(self, ends: Sequence[Finish]) -> None:
        """Count a batch."""
        attempts = self.attempts
        for end in ends:
            settlement = end.settlement
            key = (settlement.execution_status, settlement.error_code or "")  # both are texts
            attempts[key] = attempts.get(key, 0) + 1
            self.lateness.add(end.late_ms / 1000)
            self.duration.add((end.finished_ms - end.started_ms) / 1000)

    def add_interrupted(self, count: int) -> None:
        """Count attempts whose end is not known."""
        if count:
            key = (ExecutionStatus.INTERRUPTED, str(ExecutionStatus.INTERRUPTED))
            self.attempts[key] = self.attempts.get(key, 0) + count
