"""`fliqd jobs get`: one job, whole."""

import json
from collections.abc import Iterator
from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, example, is_for_people, show_document, show_pairs, with_output

LONGEST: Final = 2000  # characters of a body that a person is shown


@click.command("get", epilog=example("fliqd jobs get job_01m80gbsnj033v6g0cwh3yv7k4"))
@click.argument("job_id", metavar="ID")
@with_client
@with_output
def command(client: Client, job_id: str, output: str) -> None:
    """Show all that is known about a job; what is not set is left out, but for JSON."""
    job = client.job(job_id)
    if output == TABLE:
        show_pairs(_sides(job))
    else:
        show_document(job, output)


def _sides(job: dict[str, Any]) -> Iterator[tuple[str, str]]:
    at = moments.now()
    for name, value in job.items():
        if value is None or value in ([], {}):
            continue
        if name.endswith("_at") and is_for_people():
            yield name, moments.both(value, at)
        elif name in ("headers", "query"):
            for key, text in value.items():
                yield name, f"{key}: {text}" if name == "headers" else f"{key}={text}"
        elif name in ("tags", "success_statuses", "actions"):
            yield name, ", ".join(str(item) for item in value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield name, text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters in all)"
