"""The request that a job sends: the user's headers, then the ones they cannot override."""

from typing import Final

from fliqd import __version__
from fliqd.core.delivery import OutgoingRequest
from fliqd.core.model import Job
from fliqd.core.signing import Signer
from fliqd.core.times import format_time
from fliqd.core.urls import with_query

USER_AGENT: Final = f"fliqd/{__version__}"
OURS: Final = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})  # and all of x-fliq-*


def outgoing(job: Job, *, signer: Signer | None, now_ms: int, capture: int, limit: int) -> OutgoingRequest:
    """Build the request of the attempt that `job.executions` counts."""
    url = with_query(job.url, job.query.items()) if job.query else job.url
    url = url.partition("#")[0]
    body = job.body or b""
    names = {name.lower() for name in job.headers}
    headers = [(name, value) for name, value in job.headers.items() if name.lower() not in OURS]
    if "user-agent" not in names:
        headers.append(("User-Agent", USER_AGENT))
    if job.body_is_json and "content-type" not in names:
        headers.append(("Content-Type", "application/json"))
    headers += [
        ("X-Fliq-Delivery-Id", job.id),
        ("X-Fliq-Attempt", str(job.executions)),
        ("X-Fliq-Scheduled-At", format_time(job.scheduled_ms)),
    ]
    if signer is not None:
        headers += signer.headers(message_id=job.id, seconds=now_ms // 1000, method=job.http_method, url=url, body=body)
    return OutgoingRequest(
        method=job.http_method,
        url=url,
        headers=tuple(headers),
        body=job.body,
        timeout_s=job.timeout_ms / 1000,
        capture=capture,
        limit=limit,
    )
