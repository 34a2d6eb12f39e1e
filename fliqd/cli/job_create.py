"""`fliqd jobs create`: one job from options; many of them go to `job_batch`."""

from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.job_fields import JOB
from fliqd.cli.job_words import sentence
from fliqd.cli.output import TABLE, example, say, show_document, with_output, write
from fliqd.errors import FliqdError

CREATED = 201


@click.command(
    "create",
    epilog=example(
        'fliqd jobs create https://example.com/hook --delay 10m --json \'{"kind": "full"}\'',
        "fliqd jobs create http://nas.lan/backup -H 'Authorization: Bearer …' --max-retries 3 --wait",
        "fliqd jobs create --batch jobs.jsonl",
    ),
)
@click.argument("url", required=False)
@JOB.options()
@click.option("--wait", is_flag=True, help="Wait for its end; exit with 1 when it failed.")
@click.option("--batch", metavar="FILE", help="Make many: a line of JSON for each, or a JSON array; - is stdin.")
@click.option("--skip", type=click.IntRange(0), metavar="N", help="With --batch: pass over the first N lines.")
@with_client
@with_output
def command(
    *,
    client: Client,
    url: str | None,
    wait: bool,
    batch: str | None,
    skip: int | None,
    output: str,
    **fields: Any,
) -> None:
    """Have a request made to URL: now, at a time (--at) or after a while (--delay). Prints the job's id."""
    given = [name for name, value in fields.items() if value not in (None, ())]
    if batch is not None:
        if url or given or wait:
            raise click.UsageError("--batch takes everything about its jobs from the file: leave out the rest")
        from fliqd.cli.job_batch import create_all  # noqa: PLC0415 -- only for many

        create_all(client, batch, skip or 0, output)
        return
    if url is None:
        raise click.UsageError("Missing argument 'URL': where the request goes; or --batch FILE, for many.")
    if skip is not None:
        raise click.UsageError("--skip goes with --batch")
    if fields["scheduled_at"] is None and fields["delay"] is None:
        fields["delay"] = "0"
    try:
        answer = client.call("POST", "/jobs", JOB.document({"url": url, **fields}), expects="id")
    except RefusedError as err:
        raise JOB.in_options(err) from err
    job = answer.document
    if answer.status != CREATED:
        key = (
            "dedupe key had found it: it does the same work"
            if job["deduplicated"]
            else "idempotency key had made it before"
        )
        say(f"This {key}; nothing new was made.")
    if output == TABLE:
        write(f"{job['id']}\n")
        say(sentence(job, moments.now()))
    elif not wait:
        show_document(job, output)
    if wait:
        _wait(client, job["id"], output)


def _wait(client: Client, job_id: str, output: str) -> None:
    from fliqd.cli.job_watch import changes  # noqa: PLC0415 -- only when waited for

    job: dict[str, Any] = {}
    for job in changes(client, job_id):  # noqa: B007 -- the last one counts
        pass
    if output != TABLE:
        show_document(job, output)
    if job["status"] != "success":
        raise FliqdError(f"{job_id}: {sentence(job, moments.now())}")
    if output == TABLE:
        say(sentence(job, moments.now()))
