"""`fliqd jobs list`: jobs by what is asked for, page after page."""

import shutil
from collections.abc import Iterator
from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.job_words import last, when
from fliqd.cli.output import TABLE, Row, example, is_for_people, say, show_documents, show_table, with_output
from fliqd.errors import Problem

PAGE: Final = 100  # the most that the API gives at once
ROOMY: Final = 100  # columns of a terminal in which the time of day finds room
STATUSES: Final = (
    "scheduled", "awaiting_approval", "running", "success", "failed", "cancelled", "pending", "completed",
)  # fmt: skip
NAMES: Final = ("id", "status", "when", "runs", "last", "name", "request")


class Pages:
    """Goes through a list by its cursor; `is_cut` tells whether it stopped before the end."""

    def __init__(self, client: Client, query: dict[str, str], limit: int | None) -> None:
        self._client = client
        self._query = query
        self._left = limit
        self.is_cut = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while self._left is None or self._left > 0:
            count = PAGE if self._left is None else min(PAGE, self._left)
            query = {**self._query, "limit": str(count)} | ({"cursor": cursor} if cursor else {})
            page = self._client.get("/jobs", query, expects="jobs")
            yield from page["jobs"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return
            if self._left is not None:
                self._left -= count
        self.is_cut = True


@click.command(
    "list", epilog=example("fliqd jobs list --status failed --tag nightly", "fliqd jobs list --all -o jsonl | jq .url")
)
@click.option("--status", type=click.Choice(STATUSES), metavar="STATUS", help=f"One of {', '.join(STATUSES)}.")
@click.option("--queue", metavar="NAME", help="Jobs of this queue.")
@click.option("--tag", metavar="TAG", help="Jobs with this tag.")
@click.option("--name", metavar="NAME", help="Jobs of this name.")
@click.option("--created-after", metavar="TIME", help="Made at or after TIME, such as 2027-01-01T09:00:00Z.")
@click.option("--created-before", metavar="TIME", help="Made before TIME.")
@click.option("--scheduled-after", metavar="TIME", help="Asked for at or after TIME.")
@click.option("--scheduled-before", metavar="TIME", help="Asked for before TIME.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many there are.")
@with_client
@with_output
def command(client: Client, limit: int, everything: bool, output: str, **filters: str | None) -> None:  # noqa: FBT001 -- click's
    """List jobs, newest first.

    WHEN is the time a job ended, the time since which it runs, or the time at which it is due.
    """
    query = {name: value for name, value in filters.items() if value is not None}
    jobs = Pages(client, query, None if everything else limit)
    try:
        if output != TABLE:
            show_documents(jobs, output)
        else:
            show_table(NAMES, (row(job) for job in jobs))
    except RefusedError as err:
        problems = [Problem(f"--{problem.field.replace('_', '-')}", problem.problem) for problem in err.problems]
        raise RefusedError(str(err), code=err.code, status=err.status, problems=problems) from err
    if jobs.is_cut and is_for_people():
        say("There are more: see --all and --limit.")


def row(job: dict[str, Any]) -> Row:
    """Return a job as a line of a table."""
    instant = when(job)
    if instant and is_for_people():
        write_out = moments.both if shutil.get_terminal_size().columns >= ROOMY else moments.relative
        instant = write_out(instant, moments.now())
    request = f"{job['http_method']} {job['url']}"
    return (job["id"], job["status"], instant or "", str(job["executions"]), last(job), job["name"] or "", request)
