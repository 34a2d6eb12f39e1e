"""`fliqd jobs why`: what a job waits for."""

from typing import Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client, job_path
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, example, is_for_people, show_document, show_table, with_output, write

NAMES: Final = ("reason", "until", "message")


@click.command("why", epilog=example("fliqd jobs why ID"))
@click.argument("job_id", metavar="ID")
@with_client
@with_output
def command(client: Client, job_id: str, output: str) -> None:
    """Say what a job waits for, the most telling reason first."""
    answer = client.get(job_path(job_id, "/why"), expects="waits_for")
    if output != TABLE:
        show_document(answer, output)
        return
    reasons = answer["waits_for"]
    if not reasons:
        write(f"{answer['status']}: it waits for nothing\n")
        return
    at = moments.now()
    untils = [reason["until"] or "" for reason in reasons]
    if is_for_people():
        untils = [until and moments.short(until, at) for until in untils]
    show_table(
        NAMES, [(reason["reason"], until, reason["message"]) for reason, until in zip(reasons, untils, strict=True)]
    )
