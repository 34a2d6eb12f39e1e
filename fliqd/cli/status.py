"""`fliqd status`: how the daemon is, for a person and, by the exit code, for a monitor."""

from typing import Any

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import TABLE, clean, example, is_for_people, show_document, show_pairs, with_output
from fliqd.core.sizes import format_size
from fliqd.errors import FliqdError


@click.command("status", epilog=example("fliqd status", "fliqd status --output json | jq .backlog"))
@with_client
@with_output
def command(client: Client, output: str) -> None:
    """Show how the daemon is: what is under way, what waits, how large its store is.

    Exits with 0 when it is well, 1 when it is failing, 69 when it does not answer.
    """
    status = client.get("/status", expects="uptime_seconds")
    if output == TABLE:
        show_pairs(_sides(client.place.url, status))
    else:
        show_document(status, output)
    if status.get("status") != "ok":
        problem = status.get("problem")
        why = f": {clean(str(problem))}" if problem else "; its log says why"
        raise FliqdError(f"the daemon at {client.place.url} is failing{why}")


def _sides(url: str, status: dict[str, Any]) -> list[tuple[str, str]]:
    store = status.get("store") or {}
    return [
        ("fliqd", f"{status.get('version')} at {url}"),
        ("status", str(status.get("status"))),
        ("up", f"{moments.span(status['uptime_seconds'])} (pid {status.get('pid')}, on {status.get('loop')})"),
        ("in flight", str(status.get("in_flight"))),
        ("backlog", str(status.get("backlog"))),
        ("next due", _when(status.get("next_due_at"), "nothing waits for its time")),
        ("store", f"{format_size(store.get('bytes', 0))} in {store.get('path')}"),
        ("checked", _when(store.get("checked_at"), "not yet since the start", "found whole ")),
        ("config", status.get("config") or "no file, all defaults"),
    ]


def _when(at: str | None, otherwise: str, before: str = "") -> str:
    if at is None:
        return otherwise
    return before + (moments.both(at, moments.now()) if is_for_people() else at)
