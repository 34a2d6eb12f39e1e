"""`fliqd import`: what an export holds, made again here."""

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import example, say, with_output
from fliqd.errors import FliqdError


@click.command("import", epilog=example("fliqd import jobs.jsonl --dry-run", "fliqd import jobs.jsonl"))
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Make nothing; say what would be made.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["scheduled", "awaiting_approval", "running", "failed"]),
    default=["scheduled", "awaiting_approval"],
    show_default=True,
    help="Make jobs again that were in this state; may come again. The last two are due at once.",
)
@click.option("--skip-late", is_flag=True, help="Leave out jobs whose time has passed, rather than run them at once.")
@with_client
@with_output
def command(
    *, client: Client, file: str, dry_run: bool, statuses: tuple[str, ...], skip_late: bool, output: str
) -> None:
    """Make queues, buffers and what waits of an export again; FILE may be - for stdin.

    Each job gets a new id, and its old one as its idempotency key unless it has one: importing again makes none twice,
    nor does importing where they came from. A job that waits for a retry keeps its time and the retries it has left.
    Stop the daemon they came from, or cancel them there: else both run them.
    """
    from fliqd.cli.importing import Import  # noqa: PLC0415 -- help needs none of it
    from fliqd.cli.job_batch import open_file  # noqa: PLC0415 -- likewise
    from fliqd.cli.records import Choices  # noqa: PLC0415 -- likewise

    work = Import(client, output, Choices(frozenset(statuses), skip_late=skip_late), dry_run=dry_run)
    with open_file(file, "FILE") as stream:
        try:
            work.run(stream)
        except (FliqdError, KeyboardInterrupt, BrokenPipeError):
            work.end_progress()
            if work.done:
                say(f"fliqd: {work.done} records are done; import the same file again, none is made twice")
            raise
    work.end_progress()
    work.summarise()
    if not work.whole:
        raise FliqdError(f"{file} was cut off: its last line is missing; what it has has been looked at")
    if work.refused:
        raise SystemExit(1)
