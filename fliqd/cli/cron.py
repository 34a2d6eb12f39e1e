"""`fliqd cron`: what an expression means, and when it runs next. Needs no daemon."""

from datetime import UTC, datetime
from typing import Final

import click

from fliqd.cli.output import example, say, with_output

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

    Says too when a change of the clocks will touch it, and which steps lead nowhere.
    """
    from fliqd.cli.run_times import show_run_times  # noqa: PLC0415 -- help needs none of these
    from fliqd.core import cron_grammar, zones  # noqa: PLC0415 -- likewise
    from fliqd.core.dst_warnings import dst_warnings  # noqa: PLC0415 -- likewise
    from fliqd.core.times import parse_time  # noqa: PLC0415 -- likewise
    from fliqd.service.calendar import preview  # noqa: PLC0415 -- likewise

    try:
        from_ms = int(datetime.now(UTC).timestamp() * 1000) if start is None else parse_time(start)
    except ValueError as err:
        raise click.BadParameter(str(err), param_hint="--from") from err
    runs, description = preview(expression, timezone, from_ms=from_ms, count=count)
    where = zones.zone(timezone)
    warnings = dst_warnings(cron_grammar.parse(expression), where, from_ms)
    for idle in cron_grammar.idle_steps(expression):
        say(f"note: {idle}")
    show_run_times(description, runs, where, description=description, warnings=warnings, output=output)
