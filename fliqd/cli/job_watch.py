"""`fliqd jobs watch`: what becomes of jobs, a line for each change. The API is asked gently, again and again."""

import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import UnreachableError
from fliqd.cli.job_words import FINAL, sentence
from fliqd.cli.output import TABLE, clean, example, say, show_document, with_output, write

SOONEST_S, LATEST_S = 0.1, 2.0  # between two looks: first often, then ever more seldom
GROWTH: Final = 1.5
BETWEEN_S: Final = 1.0  # where none is named
NEWEST: Final = "100"  # jobs that are looked at there
AT_FIRST: Final = 10  # and how many of them are shown to begin with
PATIENCE_S: Final = 60.0  # for a daemon that is restarted meanwhile: its jobs go on


@click.command("watch", epilog=example("fliqd jobs watch ID && echo delivered", "fliqd jobs watch"))
@click.argument("job_id", metavar="[ID]", required=False)
@with_client
@with_output
def command(client: Client, job_id: str | None, output: str) -> None:
    """Follow a job until it ends: exits with 0 on success, with 1 when it failed or was cancelled.

    Without ID: follow the newest jobs, until Ctrl-C.
    """
    job: dict[str, Any] = {}
    for job in newest(client) if job_id is None else changes(client, job_id):
        if output == TABLE:
            at = moments.now()
            name = f"  {job['name']}" if job["name"] else ""
            write(f"{moments.short(job['updated_at'], at)}  {job['id']}{clean(name)}  {clean(sentence(job, at))}\n")
        else:
            show_document(job, output)
        sys.stdout.flush()
    if job["status"] != "success":
        raise SystemExit(1)


def changes(client: Client, job_id: str) -> Iterator[dict[str, Any]]:
    """Yield a job as it is and after each change of its state, until it has ended."""
    job = client.job(job_id)
    yield job
    seen, wait_s = _state(job), SOONEST_S
    while job["status"] not in FINAL:
        time.sleep(_until_due(job, wait_s))
        job = _patiently(client, job_id)
        if _state(job) != seen:
            seen, wait_s = _state(job), SOONEST_S
            yield job
        else:
            wait_s = min(wait_s * GROWTH, LATEST_S)


def newest(client: Client) -> Iterator[dict[str, Any]]:
    """Yield the newest jobs, oldest first, and again whenever one has changed; never ends."""
    seen: dict[str, object] | None = None
    while True:
        jobs = client.get("/jobs", {"limit": NEWEST}, expects="jobs")["jobs"]
        changed = jobs[:AT_FIRST] if seen is None else [job for job in jobs if seen.get(job["id"]) != _state(job)]
        seen = {job["id"]: _state(job) for job in jobs}
        yield from reversed(changed)
        time.sleep(BETWEEN_S)


def _state(job: dict[str, Any]) -> object:
    return job["status"], job["executions"], job["next_attempt_at"]


def _until_due(job: dict[str, Any], wait_s: float) -> float:
    """Return how long to wait for a change; no shorter than to the due time, if that is near."""
    if job["next_attempt_at"] is None:
        return wait_s
    due_s = (moments.parse(job["next_attempt_at"]) - moments.now()).total_seconds()
    return max(wait_s, min(due_s, LATEST_S))


def _patiently(client: Client, job_id: str) -> dict[str, Any]:
    """Look at a job; a daemon that does not answer is given a while to come back."""
    deadline = time.monotonic() + PATIENCE_S
    told = False
    while True:
        try:
            return client.job(job_id)
        except UnreachableError as err:
            if time.monotonic() > deadline:
                raise
            if not told:
                say(f"fliqd: {err}; trying again for {PATIENCE_S:g} s")
                told = True
            time.sleep(1)
