"""`fliqd schedules delete`: end schedules for good, and say what went with them."""

from typing import Any

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import NotAllowedError
from fliqd.cli.job_words import FINAL
from fliqd.cli.output import example, with_output
from fliqd.cli.pages import PAGE
from fliqd.cli.schedule_names import id_of, schedule_path
from fliqd.cli.steps import each


@click.command("delete", epilog=example("fliqd schedules delete nightly"))
@click.argument("schedules", metavar="ID|NAME…", nargs=-1, required=True)
@with_client
@with_output
def command(client: Client, schedules: tuple[str, ...], output: str) -> None:
    """Delete schedules; prints the id of each. What the configuration file declares is taken out there (5).

    Jobs that never started are cancelled, those that have go on to their end. Jobs, executions and missed runs stay
    to be read by that id.
    """
    each(client, schedules, _delete, output, _told)


def _delete(client: Client, given: str) -> dict[str, Any]:
    schedule_id = id_of(client, given)
    waited = {job["id"] for job in _newest(client, schedule_id) if job["status"] not in FINAL}
    client.call("DELETE", schedule_path(schedule_id))
    after = {job["id"]: job["status"] for job in _newest(client, schedule_id)} if waited else {}
    return {
        "id": schedule_id,
        "status": "deleted",
        "cancelled_jobs": sorted(job_id for job_id in waited if after.get(job_id) == "cancelled"),
        "jobs_under_way": sorted(job_id for job_id in waited if after.get(job_id) not in {None, *FINAL}),
    }


def _newest(client: Client, schedule_id: str) -> list[dict[str, Any]]:
    """Return its newest jobs, among which those that wait are; nothing for a token that may only write."""
    try:
        jobs: list[dict[str, Any]] = client.get(
            schedule_path(schedule_id, "/jobs"), {"limit": str(PAGE)}, expects="jobs"
        )["jobs"]
    except NotAllowedError:
        return []
    return jobs


def _told(deleted: dict[str, Any]) -> str:
    cancelled, under_way = deleted["cancelled_jobs"], deleted["jobs_under_way"]
    parts = [f"cancelled {', '.join(cancelled)}"] if cancelled else []
    parts += [f"{', '.join(under_way)} had started and goes on"] if under_way else []
    return f"deleted; {'; '.join(parts) or 'no job of it was waiting'}"
