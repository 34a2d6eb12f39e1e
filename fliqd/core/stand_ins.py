"""What sets the jobs of each stand-in API apart: the headers of their requests, and how long a key names them."""

import hashlib
import hmac
import uuid
from collections.abc import Callable
from typing import Final

import msgspec

from fliqd.core.model import Job, JobStatus

NATIVE: Final = "v1"
FLIQ: Final = "fliq"
BOOPER: Final = "booper"
DISPATCHQ: Final = "dispatchq"
QUEDUP: Final = "quedup"
OF_FLIQS_BUFFERS: Final = "fliq."  # how the dialect of their items begins

DAY_MS: Final = 86_400_000
Headers = tuple[tuple[str, str], ...]
# Given the id of a token, returns the token; None for one that is not known.
Keys = Callable[[str], str | None]


def no_keys(_token_id: str) -> None:
    """Know no token: where none are asked for."""


def holds_key(job: Job, now_ms: int) -> bool:
    """Tell whether the idempotency key of a job still names it.

    For good in most APIs. With Booper until the job has been executed (its create page: "before one of them is
    executed"), with DispatchQ for 24 hours (its deduplication page).
    """
    if job.dialect == BOOPER:
        return job.executions == 0 and job.status in (JobStatus.SCHEDULED, JobStatus.AWAITING_APPROVAL)
    return job.dialect != DISPATCHQ or job.created_ms > now_ms - DAY_MS


def headers(job: Job, body: bytes | None, *, named: frozenset[str], keys: Keys) -> Headers:
    """Return what the service of a job's API sends along, of names that are not in `named` or win over those.

    `named` are the names of the user's own headers in lower case.
    """
    if job.dialect == FLIQ or job.dialect.startswith(OF_FLIQS_BUFFERS):
        return (("X-Request-ID", _request_id(job)),)
    if job.dialect == DISPATCHQ:
        key = None if job.token_id is None else keys(job.token_id)
        facts = (
            ("Content-Type", "application/json"),
            ("X-DispatchQ-Job-Id", job.id),
            ("X-DispatchQ-Attempt", str(job.executions)),
        )
        return facts if key is None else (*facts, ("X-DispatchQ-Signature", dispatchq_signature(key, body or b"")))
    if job.dialect in (BOOPER, QUEDUP) and "content-type" not in named and not job.body_is_json and _is_json(body):
        return (("Content-Type", "application/json"),)
    return ()


def dispatchq_signature(key: str, body: bytes) -> str:
    """Sign as DispatchQ does: HMAC-SHA256 of the body alone under the API key (its webhooks page)."""
    return "sha256=" + hmac.digest(key.encode(), body, hashlib.sha256).hex()


def _request_id(job: Job) -> str:
    """Return a UUID of version 4 for an attempt: the same one however often it is asked for."""
    digest = hashlib.sha256(f"{job.id}.{job.executions}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _is_json(body: bytes | None) -> bool:
    if not body:
        return False
    try:
        msgspec.json.decode(body)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return False
    return True
