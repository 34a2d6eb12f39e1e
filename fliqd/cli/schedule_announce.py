"""What a person is told about a schedule that was made or changed: what it means, and what will come of it."""

import contextlib
from datetime import datetime
from typing import Any, Final

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.output import say
from fliqd.cli.run_times import tell, warnings_of, zone_of
from fliqd.cli.schedule_names import schedule_path
from fliqd.cli.schedule_words import sentence
from fliqd.errors import FliqdError

RUNS: Final = "3"  # so many show whether it is what was meant


def announce(client: Client, schedule: dict[str, Any]) -> None:
    """Explain it, name its next runs, and warn of changes of the clocks that touch it."""
    at = moments.now()
    where = zone_of(schedule)
    zone = "" if schedule["every"] is not None else f" ({schedule['timezone']})"
    say(f"{schedule['name']}: {schedule['explanation'] or schedule['cron']}{zone}")
    if schedule["status"] != "active" or schedule["error"] is not None:
        say(sentence(schedule, at))
        return
    runs = [schedule["next_run_at"]]
    # It is made: that this token may not read, or that the daemon goes away now, is no failure of the command.
    with contextlib.suppress(FliqdError):
        runs = client.get(schedule_path(schedule["id"], "/next"), {"count": RUNS}, expects="runs")["runs"] or runs
    told = [_local(run, where) for run in runs]
    say(f"runs next at {told[0]} ({moments.relative(runs[0], at)}){''.join(f', {run}' for run in told[1:])}")
    tell(warnings_of(schedule, int(at.timestamp() * 1000)))


def _local(run: str, where: Any) -> str:
    local: datetime = moments.parse(run).astimezone(where)
    return f"{local:%a %Y-%m-%d %H:%M:%S}".removesuffix(":00")
