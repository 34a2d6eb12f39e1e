"""`fliqd jobs update`: change what was asked for."""

from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client, job_path
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.job_fields import JOB
from fliqd.cli.job_words import sentence
from fliqd.cli.output import TABLE, example, say, show_document, with_output, write


@click.command(
    "update",
    epilog=example("fliqd jobs update ID --delay 2h", "fliqd jobs update ID https://example.com/new --name ''"),
)
@click.argument("job_id", metavar="ID")
@click.argument("url", required=False)
@JOB.options("idempotency_key", "dedupe_key", "dedupe_window", "requires_approval", update=True)
@with_client
@with_output
def command(client: Client, job_id: str, url: str | None, output: str, **fields: Any) -> None:
    """Change a job that waits: URL and the options replace what was asked for, the rest stays.

    An empty text takes a field that is one back to its default.
    """
    given = {name: value for name, value in {"url": url, **fields}.items() if value not in (None, ())}
    if not given:
        raise click.UsageError("say what to change; see --help")
    try:
        job = client.call("PATCH", job_path(job_id), JOB.document(given, update=True), expects="id").document
    except RefusedError as err:
        raise JOB.in_options(err) from err
    if output == TABLE:
        write(f"{job['id']}\n")
        say(sentence(job, moments.now()))
    else:
        show_document(job, output)
