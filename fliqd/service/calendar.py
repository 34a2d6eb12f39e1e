"""What a cron expression means: its next runs, in words and as instants."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from fliqd.core import cron_grammar, zones
from fliqd.core.describe import describe
from fliqd.core.occurrences import occurrences
from fliqd.errors import InvalidError, Problem


class Preview(NamedTuple):
    """The next runs in milliseconds since the epoch, and the expression in plain English."""

    runs: Sequence[int]
    description: str


def preview(cron: str, timezone: str, *, from_ms: int, count: int) -> Preview:
    """Return the next `count` runs of `cron` on the clocks of `timezone`, each strictly later than `from_ms`.

    Raises InvalidError for an expression that cannot be read, that never comes true within 12 years, or that has no run
    that can be shown, and for a zone that does not exist.
    """
    problems = []
    where = parsed = None
    try:
        parsed = cron_grammar.parse(cron, since=datetime.fromtimestamp(from_ms / 1000, UTC).date())
    except cron_grammar.CronError as err:
        problems.append(Problem("cron", f"{cron!r}: {err}" if len(cron) <= cron_grammar.MAX_LENGTH else str(err)))
    try:
        where = zones.zone(timezone)
    except zones.ZoneError as err:
        problems.append(Problem("timezone", str(err)))
    if parsed is None or where is None:
        raise InvalidError(problems)
    runs = list(islice(occurrences(parsed, where, from_ms), count))
    if not runs:
        raise InvalidError([Problem("cron", f"{cron!r}: has no run after that time")])
    return Preview(runs, describe(parsed))
