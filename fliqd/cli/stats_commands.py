"""`fliqd stats jobs`, `usage` and `timeline`."""

import functools
from collections.abc import Callable
from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.bars import bars
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import (
    TABLE,
    example,
    is_for_people,
    say,
    show_document,
    show_documents,
    show_pairs,
    show_table,
    with_output,
)
from fliqd.cli.schedule_names import id_of


def with_window(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say whose executions, and how far back; it is called with `query`."""

    @functools.wraps(function)
    def run(
        *, client: Client, days: int | None, schedule: str | None, queue: str | None, host: str | None, **given: Any
    ) -> None:
        asked = {
            "days": None if days is None else str(days),
            "schedule_id": None if schedule is None else id_of(client, schedule),
            "queue": queue,
            "host": host,
        }
        query = {name: value for name, value in asked.items() if value is not None}
        function(client=client, query=query, **given)

    for option in (
        click.option("--host", metavar="HOST", help="Of one host, such as example.com or nas.lan:8080."),
        click.option("--queue", metavar="NAME", help="Of one queue."),
        click.option("--schedule", metavar="ID|NAME", help="Of one schedule."),
        click.option("--days", type=click.IntRange(1, 365), metavar="N", help="How far to look back, at most 365."),
    ):
        run = option(run)
    return run


@click.command("jobs", epilog=example("fliqd stats jobs", "fliqd stats jobs --days 7 --schedule nightly-backup"))
@with_client
@with_window
@with_output
def jobs(client: Client, query: dict[str, str], output: str) -> None:
    """Show what executions came to in the last 30 days."""
    stats = client.get("/stats/jobs", query, expects="total_executions")
    if output != TABLE:
        show_document(stats, output)
        return
    show_pairs(
        [
            ("days", str(stats["since_days"])),
            ("executions", str(stats["total_executions"])),
            ("succeeded", f"{stats['succeeded']} ({stats['success_rate']:.2%})"),
            ("failed", str(stats["failed"])),
            ("interrupted", str(stats["interrupted"])),
            ("took", f"{_ms(stats['avg_duration_ms'])} on average, 95 % within {_ms(stats['p95_duration_ms'])}"),
            ("late", f"{_ms(stats['avg_late_ms'])} on average, {_ms(stats['max_late_ms'])} at most"),
        ]
    )
    _tell_of_others(stats)


@click.command("usage", epilog=example("fliqd stats usage", "fliqd stats usage --days 365 -o json"))
@with_client
@with_window
@with_output
def usage(client: Client, query: dict[str, str], output: str) -> None:
    """Show how many executions there were on each of the last 30 days (UTC); days without any are left out."""
    stats = client.get("/stats/usage", query, expects="buckets")
    if output != TABLE:
        show_document(stats, output)
        return
    buckets = stats["buckets"]
    drawn = bars([bucket["job_executions"] + bucket["buffer_executions"] for bucket in buckets])
    rows = [
        (bucket["date"], str(bucket["job_executions"]), str(bucket["buffer_executions"]), *_for_people(bar))
        for bucket, bar in zip(buckets, drawn, strict=True)
    ]
    show_table(("date", "jobs", "buffers", *_for_people("")), rows)


@click.command("timeline", epilog=example("fliqd stats timeline", "fliqd stats timeline --days 30 --queue mail"))
@click.option("--bucket", type=click.Choice(["hour", "day"]), help="Hours (up to 7 days back) or days.")
@with_client
@with_window
@with_output
def timeline(client: Client, query: dict[str, str], bucket: str | None, output: str) -> None:
    """Show what executions came to in each hour of the last day, or of more days."""
    query |= {"bucket": bucket} if bucket else {}
    stats = client.get("/stats/timeline", query, expects="buckets")
    if output != TABLE:
        show_documents(stats["buckets"], output)
        return
    buckets = stats["buckets"]
    by_day, at = stats["bucket"] == "day", moments.now()
    drawn = bars([one["total_executions"] for one in buckets])
    rows = [
        (
            one["start"][:10] if by_day else moments.short(one["start"], at) if is_for_people() else one["start"],
            str(one["total_executions"]),
            str(one["failed"]),
            *((_ms(one["avg_duration_ms"]), _ms(one["p95_duration_ms"])) if one["total_executions"] else ("", "")),
            *_for_people(bar),
        )
        for one, bar in zip(buckets, drawn, strict=True)
    ]
    show_table((stats["bucket"], "executions", "failed", "average", "95 %", *_for_people("")), rows)
    _tell_of_others(stats)


def _for_people(bar: str) -> tuple[str, ...]:
    """Return a bar as a column, where somebody looks."""
    return (bar or " ",) if is_for_people() else ()


def _ms(ms: float) -> str:
    return moments.milliseconds(round(ms))


def _tell_of_others(stats: dict[str, Any]) -> None:
    if not stats["complete"]:
        say("There were too many to tell all apart: some of these may be missing here.")
