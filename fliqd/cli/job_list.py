"""`fliqd jobs list`: jobs by what is asked for, page after page."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from fliqd.cli.cells import instant
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.job_words import last, when
from fliqd.cli.output import TABLE, Row, example, show_documents, show_table, with_output
from fliqd.cli.pages import Pages, with_limit
from fliqd.errors import Problem

STATUSES: Final = (
    "scheduled", "awaiting_approval", "running", "success", "failed", "cancelled", "pending", "completed",
)  # fmt: skip
NAMES: Final = ("id", "status", "when", "runs", "last", "name", "request")


def with_filters(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each filter of the list; it is called with them by the API's names."""
    for option in (
        click.option("--scheduled-before", metavar="TIME", help="Asked for before TIME."),
        click.option("--scheduled-after", metavar="TIME", help="Asked for at or after TIME."),
        click.option("--created-before", metavar="TIME", help="Made before TIME."),
        click.option("--created-after", metavar="TIME", help="Made at or after TIME, such as 2027-01-01T09:00:00Z."),
        click.option("--name", metavar="NAME", help="Jobs of this name."),
        click.option("--tag", metavar="TAG", help="Jobs with this tag."),
        click.option("--queue", metavar="NAME", help="Jobs of this queue."),
        click.option("--status", type=click.Choice(STATUSES), metavar="STATUS", help=f"One of {', '.join(STATUSES)}."),
    ):
        function = option(function)
    return function


@click.command(
    "list", epilog=example("fliqd jobs list --status failed --tag nightly", "fliqd jobs list --all -o jsonl | jq .url")
)
@with_filters
@click.option("--schedule", metavar="ID|NAME", help="Jobs of this schedule; a deleted one is known by its id.")
@with_limit
@with_client
@with_output
def command(client: Client, schedule: str | None, limit: int | None, output: str, **filters: str | None) -> None:
    """List jobs, newest first.

    WHEN is the time a job ended, the time since which it runs, or the time at which it is due.
    """
    path = "/jobs"
    if schedule is not None:
        from fliqd.cli.schedule_names import id_of, schedule_path  # noqa: PLC0415 -- only here

        path = schedule_path(id_of(client, schedule), "/jobs")
    show_jobs(client, path, filters, limit, output)


def show_jobs(client: Client, path: str, filters: Mapping[str, str | None], limit: int | None, output: str) -> None:
    """Print the jobs at a path that the filters let through."""
    jobs = Pages(client, path, "jobs", {name: value for name, value in filters.items() if value is not None}, limit)
    try:
        if output != TABLE:
            show_documents(jobs, output)
        else:
            show_table(NAMES, (row(job) for job in jobs))
    except RefusedError as err:
        problems = [Problem(f"--{problem.field.replace('_', '-')}", problem.problem) for problem in err.problems]
        raise RefusedError(str(err), code=err.code, status=err.status, problems=problems) from err
    jobs.tell()


def row(job: dict[str, Any]) -> Row:
    """Return a job as a line of a table."""
    request = f"{job['http_method']} {job['url']}"
    return (
        job["id"], job["status"], instant(when(job)), str(job["executions"]), last(job), job["name"] or "", request,
    )  # fmt: skip
