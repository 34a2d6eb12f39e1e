"""`fliqd jobs watch`: what becomes of jobs, a line for each change, as the daemon tells it."""

import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from fliqd.cli import moments
from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import MissingError
from fliqd.cli.event_stream import GAP, OPEN, follow
from fliqd.cli.job_words import FINAL, sentence
from fliqd.cli.output import TABLE, clean, example, show_document, with_output, write

AT_FIRST: Final = "10"  # jobs that are shown to begin with, where none is named
JOBS: Final = "job.created,job.updated,job.started,job.retrying,job.completed,job.failed,job.cancelled"

Job = dict[str, Any]


@click.command("watch", epilog=example("fliqd jobs watch ID && echo delivered", "fliqd jobs watch"))
@click.argument("job_id", metavar="[ID]", required=False)
@with_client
@with_output
def command(client: Client, job_id: str | None, output: str) -> None:
    """Follow a job until it ends: exits with 0 on success, with 1 when it failed or was cancelled.

    Without ID: follow all jobs, until Ctrl-C.
    """
    job: Job = {}
    for job in everything(client, whole=output != TABLE) if job_id is None else changes(client, job_id):
        if output == TABLE:
            at = moments.now()
            name = f"  {job['name']}" if job["name"] else ""
            write(f"{moments.short(job['updated_at'], at)}  {job['id']}{clean(name)}  {clean(sentence(job, at))}\n")
        else:
            show_document(job, output)
        sys.stdout.flush()
    if job["status"] != "success":
        raise SystemExit(1)


def changes(client: Client, job_id: str) -> Iterator[Job]:
    """Yield a job as it is and after each change, until it has ended."""
    job = client.job(job_id)  # one that does not exist, or has ended, needs no stream
    yield job
    if job["status"] in FINAL:
        return
    for event in follow(client, {"job_id": job_id, "type": JOBS}):
        if event["type"] in (OPEN, GAP):
            new = client.job(job_id)
        elif event["type"] == "job.updated":
            # More may have changed than is told; and it may be further by now, which is told next.
            new = _told(client.job(job_id), event)
        elif "job" in event:
            new = _told(job, event)
        else:
            continue
        if _is_news(job, new):
            job = new
            yield job
        if job["status"] in FINAL:
            return


def everything(client: Client, *, whole: bool) -> Iterator[Job]:
    """Yield the newest jobs, oldest first, and then every one that changes; all their fields with `whole`."""
    seen: dict[str, Job] = {}
    for event in follow(client, {"type": JOBS}):
        if "job" in event:
            job_id = event["job"]["id"]
            known = seen.get(job_id)
            if known is None and whole:
                known = _there(client, job_id)
            new = _told(known or {}, event)
            if known is None or _is_news(known, new):
                yield new
            if new["status"] in FINAL:
                seen.pop(job_id, None)
            else:
                seen[job_id] = new
        elif not seen:
            jobs = client.get("/jobs", {"limit": AT_FIRST}, expects="jobs")["jobs"]
            seen = {job["id"]: job for job in reversed(jobs)}
            yield from seen.values()


def _there(client: Client, job_id: str) -> Job | None:
    """Return a job, None if it is gone already."""
    try:
        return client.job(job_id)
    except MissingError:
        return None


def _told(job: Job, event: Job) -> Job:
    """Return a job with what an event says of it."""
    return {**job, **{name: value for name, value in event["job"].items() if name != "host"}}


def _is_news(old: Job, new: Job) -> bool:
    """Tell whether a job has changed; what is told may be older than what was read meanwhile."""
    return new["updated_at"] >= old["updated_at"] and _state(new) != _state(old)


def _state(job: Job) -> object:
    return job["status"], job["executions"], job["next_attempt_at"]
