"""`fliqd events`: what happens, as it happens."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.event_stream import GAP, OPEN, Event, follow
from fliqd.cli.job_words import sentence
from fliqd.cli.output import TABLE, clean, example, say, show_document, with_output, write
from fliqd.cli.schedule_names import id_of


@click.command(
    "events", epilog=example("fliqd events", "fliqd events --type job.failed --type schedule.missed -o jsonl")
)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Such as job.failed; may come again.")
@click.option("--job", "job_id", metavar="ID", help="Of one job.")
@click.option("--schedule", metavar="ID|NAME", help="Of one schedule.")
@click.option("--queue", metavar="NAME", help="Of one queue.")
@with_client
@with_output
def command(
    *,
    client: Client,
    types: tuple[str, ...],
    job_id: str | None,
    schedule: str | None,
    queue: str | None,
    output: str,
) -> None:
    """Tell what happens to jobs and schedules, a line each, until Ctrl-C."""
    asked = {
        "type": ",".join(types) or None,
        "job_id": job_id,
        "schedule_id": None if schedule is None else id_of(client, schedule),
        "queue": queue,
    }
    for event in follow(client, {name: value for name, value in asked.items() if value is not None}):
        if event["type"].startswith("stream."):
            if event["type"] == GAP:
                say("fliqd: some events may be missing here")
            elif event["type"] != OPEN:
                say(f"fliqd: {event['message']}")
        elif output == TABLE:
            write(f"{moments.short(event['at'], moments.now())}  {clean(_line(event))}\n")
        else:
            show_document(event, output)
        sys.stdout.flush()


def _line(event: Event) -> str:
    about: Mapping[str, Any] = event.get("job") or event["schedule"]
    name = f"  {about['name']}" if about["name"] else ""
    if "job" in event:
        said = sentence(about, moments.now())
    else:
        missed = event["missed"]
        said = f"{missed['count']} missed ({missed['reason']}), {missed['first_at']} to {missed['last_at']}"
    return f"{event['type']:<15}  {about['id']}{name}  {said}"
