"""`fliqd jobs cancel`, `approve`, `run` and `replay`: one step for each of several jobs."""

from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client, job_path
from fliqd.cli.connect import with_client
from fliqd.cli.job_words import sentence
from fliqd.cli.output import example, with_output
from fliqd.cli.steps import Step, each


@click.command("cancel", epilog=example("fliqd jobs cancel ID", "fliqd jobs cancel ID1 ID2 ID3"))
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_client
@with_output
def cancel(client: Client, job_ids: tuple[str, ...], output: str) -> None:
    """Cancel jobs that wait, for their time or for somebody; prints the id of each.

    One that runs or has ended is a conflict (5).
    """

    def step(client: Client, job_id: str) -> dict[str, Any]:
        client.call("DELETE", job_path(job_id))
        return {"id": job_id, "status": "cancelled"}

    each(client, job_ids, step, output, lambda job: job["status"])


@click.command("approve", epilog=example("fliqd jobs approve ID", "fliqd jobs list --status awaiting_approval"))
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_client
@with_output
def approve(client: Client, job_ids: tuple[str, ...], output: str) -> None:
    """Let jobs go that wait to be approved, at their time; prints the id of each. `fliqd jobs cancel` refuses them."""
    each(client, job_ids, _post("/approve"), output, lambda job: sentence(job, moments.now()))


@click.command("run", epilog=example("fliqd jobs run ID"))
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_client
@with_output
def run(client: Client, job_ids: tuple[str, ...], output: str) -> None:
    """Make waiting jobs due at once, those that wait for a retry too; prints the id of each."""
    each(client, job_ids, _post("/run"), output, lambda job: sentence(job, moments.now()))


@click.command("replay", epilog=example("fliqd jobs replay ID", "fliqd jobs watch $(fliqd jobs replay ID)"))
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@with_client
@with_output
def replay(client: Client, job_ids: tuple[str, ...], output: str) -> None:
    """Do failed jobs again, now, as new ones; prints the new ids."""
    each(client, job_ids, _post("/replay"), output, lambda job: f"replays {job['replay_of']}")


def _post(tail: str) -> Step:
    def step(client: Client, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = client.call("POST", job_path(job_id, tail), expects="id").document
        return job

    return step
