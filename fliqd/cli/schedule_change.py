"""`fliqd schedules pause`, `resume` and `run`: one step for each of several schedules."""

from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import example, with_output
from fliqd.cli.schedule_names import id_of, schedule_path
from fliqd.cli.schedule_words import sentence
from fliqd.cli.steps import Step, each


@click.command("pause", epilog=example("fliqd schedules pause nightly"))
@click.argument("schedules", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def pause(client: Client, schedules: tuple[str, ...], output: str) -> None:
    """Make no more jobs until it is resumed; jobs that are made go on. Prints the id of each."""
    each(client, schedules, _post("/pause"), output, lambda schedule: sentence(schedule, moments.now()))


@click.command("resume", epilog=example("fliqd schedules resume nightly"))
@click.argument("schedules", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def resume(client: Client, schedules: tuple[str, ...], output: str) -> None:
    """Go on from now; what was due meanwhile is not made up for. Prints the id of each."""
    each(client, schedules, _post("/resume"), output, lambda schedule: sentence(schedule, moments.now()))


@click.command("run", epilog=example("fliqd schedules run nightly", "fliqd jobs watch $(fliqd schedules run nightly)"))
@click.argument("schedules", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def run(client: Client, schedules: tuple[str, ...], output: str) -> None:
    """Make a job now, beside the due times, of paused ones too. Prints the id of each job."""
    each(client, schedules, _post("/run"), output, lambda job: f"a run of {job['name']}, due now")


def _post(tail: str) -> Step:
    def step(client: Client, given: str) -> dict[str, Any]:
        path = schedule_path(id_of(client, given), tail)
        found: dict[str, Any] = client.call("POST", path, expects="id").document
        return found

    return step
