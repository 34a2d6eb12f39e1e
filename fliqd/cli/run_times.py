"""When something runs next, in its zone and in UTC, and what the changes of the clocks do to it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fliqd.cli.output import TABLE, say, show_document, show_table, write
from fliqd.core import cron_grammar, zones
from fliqd.core.dst_warnings import DstWarning, dst_warnings
from fliqd.core.occurrences import DstPolicy, Gap, Overlap
from fliqd.core.times import format_time


def show_run_times(
    about: str,
    runs: Sequence[int],
    where: ZoneInfo,
    *,
    description: str | None,
    warnings: Sequence[DstWarning],
    output: str,
) -> None:
    """Print runs, in ms since the epoch, under what they are about; the warnings go to people, or into the JSON."""
    found: list[dict[str, Any]] = [
        {"local": datetime.fromtimestamp(run / 1000, where).isoformat(), "utc": format_time(run)} for run in runs
    ]
    if output != TABLE:
        told = [{"local": warning.local, "kind": str(warning.kind), "what": warning.what} for warning in warnings]
        show_document({"description": description, "runs": found, "warnings": told}, output)
        return
    write(f"{about} ({where.key})\n\n")
    show_table((where.key, "UTC"), [(run["local"], run["utc"]) for run in found])
    tell(warnings)


def tell(warnings: Sequence[DstWarning]) -> None:
    """Tell of changes of the clocks."""
    for warning in warnings:
        say(f"note: {warning.local} {warning.what}")


def zone_of(schedule: Mapping[str, Any]) -> ZoneInfo:
    """Return the zone of a schedule; UTC where this machine does not know the one that the daemon's does."""
    try:
        return zones.zone(schedule["timezone"])
    except zones.ZoneError:
        return zones.zone("UTC")


def warnings_of(schedule: Mapping[str, Any], from_ms: int) -> list[DstWarning]:
    """Return what the changes of a year from then on do to a schedule; an interval goes by no clocks."""
    if schedule["cron"] is None or zone_of(schedule).key != schedule["timezone"]:
        return []
    policy = DstPolicy(gap=Gap(schedule["dst"]["gap"]), overlap=Overlap(schedule["dst"]["overlap"]))
    return dst_warnings(cron_grammar.parse(schedule["cron"]), zone_of(schedule), from_ms, dst=policy)
