"""`fliqd schedules next`: when a schedule runs next."""

from typing import Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, example, say, with_output
from fliqd.cli.schedule_names import find, schedule_path

MOST_RUNS: Final = 1000


@click.command("next", epilog=example("fliqd schedules next nightly", "fliqd schedules next nightly --count 20"))
@click.argument("schedule", metavar="ID|NAME")
@click.option("--count", default=5, type=click.IntRange(1, MOST_RUNS), show_default=True, help="How many runs.")
@with_client
@with_output
def command(client: Client, schedule: str, count: int, output: str) -> None:
    """Show the next runs of a schedule in its zone and in UTC, jitter included.

    Says too when a change of the clocks will touch it.
    """
    from fliqd.cli.run_times import show_run_times, warnings_of, zone_of  # noqa: PLC0415 -- help needs no calendar
    from fliqd.core.times import parse_time  # noqa: PLC0415 -- likewise

    found = find(client, schedule)
    path = schedule_path(found["id"], "/next")
    runs = [parse_time(run) for run in client.get(path, {"count": str(count)}, expects="runs")["runs"]]
    warnings = warnings_of(found, int(moments.now().timestamp() * 1000))
    about = f"{found['name']}: {found['explanation'] or found['cron']}"
    show_run_times(about, runs, zone_of(found), description=found["explanation"], warnings=warnings, output=output)
    if output == TABLE and found["status"] == "paused":
        say("It is paused; this is how it would go on now.")
    elif output == TABLE and not runs:
        say("It has ended: there is no further run.")
