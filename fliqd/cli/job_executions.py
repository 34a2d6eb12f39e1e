"""`fliqd jobs executions`: the attempts at a job, and what came back."""

from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client, job_path
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, Row, example, is_for_people, show_documents, show_table, with_output

NAMES: Final = ("#", "status", "code", "when", "late", "took", "error")


@click.command("executions", epilog=example("fliqd jobs executions ID", "fliqd jobs executions ID -o json"))
@click.argument("job_id", metavar="ID")
@with_client
@with_output
def command(client: Client, job_id: str, output: str) -> None:
    """List the attempts at a job, newest first. JSON has the answers' headers and bodies too."""
    executions = client.get(job_path(job_id, "/executions"), expects="executions")["executions"]
    if output == TABLE:
        show_table(NAMES, map(_row, executions))
    else:
        show_documents(executions, output)


def _row(execution: dict[str, Any]) -> Row:
    started = execution["started_at"]
    code = execution["status_code"]
    return (
        str(execution["attempt_num"]),
        execution["status"],
        "" if code is None else str(code),
        moments.both(started, moments.now()) if is_for_people() else started,
        moments.milliseconds(execution["late_ms"]),
        moments.milliseconds(execution["duration_ms"]),
        execution["error"] or "",
    )
