"""`fliqd cron`: what an expression means, and when it runs next. Needs no daemon."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from fliqd.cli.output import TABLE, example, say, show_document, show_table, with_output, write

MOST_RUNS: Final = 1000


@click.command(
    "cron",
    epilog=example(
        "fliqd cron '0 8 * * 1-5' --tz Europe/Berlin", "fliqd cron '30 2 * * *' --tz America/New_York --count 10"
    ),
)
@click.argument("expression", metavar="EXPR")
@click.option("--tz", "timezone", default="UTC", metavar="ZONE", help="The clocks it goes by, such as Europe/Berlin.")
@click.option("--from", "start", metavar="TIME", help="Runs later than this, RFC 3339; default now.")
@click.option("--count", default=5, type=click.IntRange(1, MOST_RUNS), show_default=True, help="How many runs.")
@with_output
def command(expression: str, timezone: str, start: str | None, count: int, output: str) -> None:
    """Explain a cron expression, and print its next runs in its zone and in UTC.

    Says too when a change of the clocks will touch it.
    """
    from fliqd.core import cron_grammar, zones  # noqa: PLC0415 -- help needs none of these
    from fliqd.core.dst_warnings import dst_warnings  # noqa: PLC0415 -- likewise
    from fliqd.core.times import format_time, parse_time  # noqa: PLC0415 -- likewise
    from fliqd.service.calendar import preview  # noqa: PLC0415 -- likewise

    try:
        from_ms = int(datetime.now(UTC).timestamp() * 1000) if start is None else parse_time(start)
    except ValueError as err:
        raise click.BadParameter(str(err), param_hint="--from") from err
    runs, description = preview(expression, timezone, from_ms=from_ms, count=count)
    where = zones.zone(timezone)
    found: list[dict[str, Any]] = [
        {"local": datetime.fromtimestamp(run / 1000, where).isoformat(), "utc": format_time(run)} for run in runs
    ]
    warnings = dst_warnings(cron_grammar.parse(expression), where, from_ms)
    if output != TABLE:
        told = [{"local": warning.local, "kind": str(warning.kind), "what": warning.what} for warning in warnings]
        show_document({"description": description, "runs": found, "warnings": told}, output)
        return
    write(f"{description} ({timezone})\n\n")
    show_table((timezone, "UTC"), [(run["local"], run["utc"]) for run in found])
    for warning in warnings:
        say(f"note: {warning.local} {warning.what}")
