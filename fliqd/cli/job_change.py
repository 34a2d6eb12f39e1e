"""`fliqd jobs cancel`, `run` and `replay`: one step for each of several jobs."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client, job_path
from fliqd.cli.connect import with_client
from fliqd.cli.errors import NotAllowedError, UnreachableError, lines_of
from fliqd.cli.job_words import sentence
from fliqd.cli.output import TABLE, example, say, show_document, show_documents, with_output, write
from fliqd.errors import FliqdError

Step = Callable[[Client, str], dict[str, Any]]


@click.command("cancel", epilog=example("fliqd jobs cancel ID", "fliqd jobs cancel ID1 ID2 ID3"))
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_client
@with_output
def cancel(client: Client, job_ids: tuple[str, ...], output: str) -> None:
    """Cancel jobs that wait; prints the id of each. One that runs or has ended is a conflict (5)."""

    def step(client: Client, job_id: str) -> dict[str, Any]:
        client.call("DELETE", job_path(job_id))
        return {"id": job_id, "status": "cancelled"}

    _each(client, job_ids, step, output, lambda job: job["status"])


@click.command("run", epilog=example("fliqd jobs run ID"))
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_client
@with_output
def run(client: Client, job_ids: tuple[str, ...], output: str) -> None:
    """Make waiting jobs due at once, those that wait for a retry too; prints the id of each."""
    _each(client, job_ids, _post("/run"), output, lambda job: sentence(job, moments.now()))


@click.command("replay", epilog=example("fliqd jobs replay ID", "fliqd jobs watch $(fliqd jobs replay ID)"))
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_client
@with_output
def replay(client: Client, job_ids: tuple[str, ...], output: str) -> None:
    """Do failed jobs again, now, as new ones; prints the new ids."""
    _each(client, job_ids, _post("/replay"), output, lambda job: f"replays {job['replay_of']}")


def _post(tail: str) -> Step:
    def step(client: Client, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = client.call("POST", job_path(job_id, tail), expects="id").document
        return job

    return step


def _each(
    client: Client, job_ids: tuple[str, ...], step: Step, output: str, word: Callable[[dict[str, Any]], str]
) -> None:
    """Take a step for each job; one that is refused does not keep the others from theirs, and is told.

    Raises the last refusal, so that its exit code is the command's.
    """
    done = []
    refusals: list[FliqdError] = []
    try:
        for job_id in job_ids:
            try:
                job = step(client, job_id)
            except (UnreachableError, NotAllowedError):
                raise
            except FliqdError as err:
                refusals.append(_named(err, job_id))
                continue
            done.append(job)
            if output == TABLE:
                write(f"{job['id']}\n")
                say(word(job))
    finally:
        _show(done, output, one=len(job_ids) == 1)
    for refusal in refusals[:-1]:
        for line in lines_of(refusal):
            say(f"fliqd: {line}")
    if refusals:
        raise refusals[-1]


def _show(jobs: Iterable[dict[str, Any]], output: str, *, one: bool) -> None:
    if output == TABLE:
        return
    if not one:
        show_documents(jobs, output)
        return
    for job in jobs:
        show_document(job, output)


def _named(err: FliqdError, job_id: str) -> FliqdError:
    """Say of which job a refusal speaks, unless it does."""
    if job_id not in str(err):
        err.args = (f"{job_id}: {err}",)
    return err
