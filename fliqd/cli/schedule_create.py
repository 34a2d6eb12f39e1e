"""`fliqd schedules create`: a request that is made again and again."""

from typing import Any

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.output import TABLE, example, show_document, with_output, write
from fliqd.cli.schedule_fields import SCHEDULE


@click.command(
    "create",
    epilog=example(
        "fliqd schedules create http://nas.lan/backup --cron '0 3 * * *' --tz Europe/Berlin --name nightly",
        "fliqd schedules create https://example.com/ping --every 15m --method GET --overlap skip",
    ),
)
@click.argument("url")
@SCHEDULE.options()
@click.option("--paused", is_flag=True, help="Make it, and let it wait for `fliqd schedules resume`.")
@with_client
@with_output
def command(*, client: Client, url: str, paused: bool, output: str, **fields: Any) -> None:
    """Have a request made to URL by a rule: at times (--cron) or at a distance (--every). Prints the schedule's id.

    What the rule means, its next runs, and the dates on which a change of the clocks touches it go to stderr.
    """
    asked = {"url": url, **fields} | ({"paused": True} if paused else {})
    try:
        schedule = client.call("POST", "/schedules", SCHEDULE.document(asked), expects="next_run_at").document
    except RefusedError as err:
        raise SCHEDULE.in_options(err) from err
    if output == TABLE:
        from fliqd.cli.schedule_announce import announce  # noqa: PLC0415 -- help needs no calendar

        write(f"{schedule['id']}\n")
        announce(client, schedule)
    else:
        show_document(schedule, output)
