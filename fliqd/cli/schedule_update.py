"""`fliqd schedules update`: change what was asked for."""

from typing import Any

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.output import TABLE, example, show_document, with_output, write
from fliqd.cli.schedule_fields import SCHEDULE
from fliqd.cli.schedule_names import id_of, schedule_path


@click.command(
    "update",
    epilog=example(
        "fliqd schedules update nightly --cron '30 4 * * *'",
        "fliqd schedules update nightly https://example.com/new --ends-at ''",
    ),
)
@click.argument("schedule", metavar="ID|NAME")
@click.argument("url", required=False)
@SCHEDULE.options(update=True)
@with_client
@with_output
def command(client: Client, schedule: str, url: str | None, output: str, **fields: Any) -> None:
    """Change a schedule: URL and the options replace what was asked for, the rest stays.

    An empty text takes a field that is one back to its default. Jobs that are made stay as they are. What the
    configuration file declares is changed there: a conflict (5).
    """
    given = {name: value for name, value in {"url": url, **fields}.items() if value not in (None, ())}
    if not given:
        raise click.UsageError("say what to change; see --help")
    asked = SCHEDULE.document(given, update=True)
    path = schedule_path(id_of(client, schedule))
    try:
        changed = client.call("PATCH", path, asked, expects="next_run_at").document
    except RefusedError as err:
        raise SCHEDULE.in_options(err) from err
    if output == TABLE:
        from fliqd.cli.schedule_announce import announce  # noqa: PLC0415 -- help needs no calendar

        write(f"{changed['id']}\n")
        announce(client, changed)
    else:
        show_document(changed, output)
