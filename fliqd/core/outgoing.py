"""The request that a job sends: the user's headers, then the ones they cannot override."""

from typing import Final

from fliqd import __version__
from fliqd.core import stand_ins
from fliqd.core.delivery import OutgoingRequest
from fliqd.core.model import Job
from fliqd.core.redirects import Hop
from fliqd.core.signing import Signer
from fliqd.core.stand_ins import Keys
from fliqd.core.times import format_time
from fliqd.core.urls import with_query

USER_AGENT: Final = f"fliqd/{__version__}"
OURS: Final = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})  # and all of x-fliq-*


def outgoing(
    job: Job, *, signer: Signer | None, keys: Keys, now_ms: int, capture: int, limit: int, timeout_s: float
) -> OutgoingRequest:
    """Build the request of the attempt that `job.executions` counts."""
    url = with_query(job.url, job.query.items()) if job.query else job.url
    url = url.partition("#")[0]
    return OutgoingRequest(
        method=job.http_method,
        url=url,
        headers=_headers(job, method=job.http_method, url=url, body=job.body, signer=signer, keys=keys, now_ms=now_ms),
        body=job.body,
        timeout_s=timeout_s,
        capture=capture,
        limit=limit,
    )


def redirected(
    job: Job,
    request: OutgoingRequest,
    hop: Hop,
    *,
    signer: Signer | None,
    keys: Keys,
    now_ms: int,
    timeout_s: float,
    previous: str,
) -> OutgoingRequest:
    """Build the request that follows a redirect; a stranger gets none of the user's headers and no signature."""
    body = job.body if hop.with_body else None
    if hop.stranger:
        headers: tuple[tuple[str, str], ...] = (("User-Agent", USER_AGENT), *_facts(job))
    else:
        headers = _headers(job, method=hop.method, url=hop.url, body=body, signer=signer, keys=keys, now_ms=now_ms)
    return OutgoingRequest(
        method=hop.method,
        url=hop.url,
        headers=headers,
        body=body,
        timeout_s=timeout_s,
        capture=request.capture,
        limit=request.limit,
        previous=previous,
    )


def _headers(
    job: Job, *, method: str, url: str, body: bytes | None, signer: Signer | None, keys: Keys, now_ms: int
) -> tuple[tuple[str, str], ...]:
    names = {name.lower() for name in job.headers}
    theirs: stand_ins.Headers = ()
    taken = OURS
    if job.dialect != stand_ins.NATIVE:
        theirs = stand_ins.headers(job, body, named=frozenset(names), keys=keys)
        taken |= {name.lower() for name, _ in theirs}
        names |= taken
    headers = [(name, value) for name, value in job.headers.items() if name.lower() not in taken]
    if "user-agent" not in names:
        headers.append(("User-Agent", USER_AGENT))
    if job.body_is_json and body is not None and "content-type" not in names:
        headers.append(("Content-Type", "application/json"))
    headers += (*theirs, *_facts(job))
    if signer is not None:
        headers += signer.headers(message_id=job.id, seconds=now_ms // 1000, method=method, url=url, body=body or b"")
    return tuple(headers)


def _facts(job: Job) -> tuple[tuple[str, str], ...]:
    facts = (
        ("X-Fliq-Delivery-Id", job.id),
        ("X-Fliq-Attempt", str(job.executions)),
        ("X-Fliq-Scheduled-At", format_time(job.scheduled_ms)),
    )
    return facts if job.schedule_id is None else (*facts, ("X-Fliq-Schedule-Id", job.schedule_id))
