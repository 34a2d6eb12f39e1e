"""A notice on its way: the request that carries it, and what the outcome of a try makes of it."""

from enum import StrEnum
from typing import Final

import msgspec

from fliqd.core.delivery import ErrorCode, OutgoingRequest, Response
from fliqd.core.headers import check_headers
from fliqd.core.notices import Kind
from fliqd.core.outgoing import OURS, USER_AGENT
from fliqd.core.references import Lookup, expand, expand_all
from fliqd.core.signing import Signer
from fliqd.core.stand_ins import Keys, dispatchq_signature
from fliqd.core.urls import check_url

MOST_TRIES: Final = 10
TIMEOUT_S: Final = 10.0
FIRST_WAIT_MS: Final = 30_000
LONGEST_WAIT_MS: Final = 3_600_000
READ: Final = 64 * 1024  # bytes of an answer, of which none is kept; then the connection is cut


class DeliveryStatus(StrEnum):
    """Where a notice stands; `pending` is also the wait for another try."""

    PENDING = "pending"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A notice in the outbox. The field names are the columns of the store."""

    pk: int
    id: str
    job_id: str
    kind: Kind
    event: str
    url: str
    lane: str
    headers: dict[str, str] = {}
    has_references: bool = False
    body: bytes
    status: DeliveryStatus
    attempts: int  # tries that were begun
    next_attempt_ms: int | None
    owner: str | None
    status_code: int | None
    last_error: str | None
    created_ms: int
    finished_ms: int | None
    signed_for: str | None = None  # the id of the token whose text signs it, of DispatchQ's callbacks


class Tried(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a try came to, and what becomes of the notice."""

    delivery: Delivery
    status: DeliveryStatus
    status_code: int | None
    error: str | None
    next_attempt_ms: int | None
    finished_ms: int | None


def request_of(
    delivery: Delivery, *, signer: Signer | None, keys: Keys, lookup: Lookup, now_ms: int
) -> OutgoingRequest:
    """Return the request of a try, signed now; raise ValueError where a reference is missing, or makes none."""
    url, headers = delivery.url, delivery.headers
    if delivery.has_references:
        url, headers = expand(url, lookup), expand_all(headers, lookup)
        check_url(url)
        for problem in check_headers("webhook_headers", headers):
            raise ValueError(str(problem))
    url = url.partition("#")[0]
    named = {name.lower() for name in headers}
    sent = [("User-Agent", USER_AGENT)] if "user-agent" not in named else []
    sent += [("Content-Type", "application/json")] if "content-type" not in named else []
    sent += [(name, value) for name, value in headers.items() if name.lower() not in OURS]
    sent += [("X-Fliq-Delivery-Id", delivery.id), ("X-Fliq-Attempt", str(delivery.attempts))]
    if delivery.signed_for is not None and (key := keys(delivery.signed_for)) is not None:
        sent.append(("X-DispatchQ-Signature", dispatchq_signature(key, delivery.body)))
    if signer is not None:
        sent += signer.headers(
            message_id=delivery.id, seconds=now_ms // 1000, method="POST", url=url, body=delivery.body
        )
    return OutgoingRequest(
        method="POST", url=url, headers=tuple(sent), body=delivery.body, timeout_s=TIMEOUT_S, capture=0, limit=READ
    )


def tried(delivery: Delivery, response: Response, now_ms: int) -> Tried:
    """Decide what `response` makes of a notice under way."""
    failure = response.failure
    good = failure is None and response.status is not None and 200 <= response.status < 300  # noqa: PLR2004 -- 2xx
    if good:
        return _ended(delivery, DeliveryStatus.DELIVERED, response, None, now_ms)
    error = f"{ErrorCode.BAD_STATUS}: the receiver answered {response.status}"
    if failure is not None:
        error = f"{failure.code}: {failure.message}"
    # The one that it met first may be the only connection that the receiver has given up; a second one tells of it.
    at_once = response.stale and delivery.attempts == 1
    denied = failure is not None and failure.code is ErrorCode.EGRESS_DENIED  # it will be, the next time
    if denied or delivery.attempts >= MOST_TRIES:
        return _ended(delivery, DeliveryStatus.FAILED, response, error, now_ms)
    return Tried(
        delivery=delivery,
        status=DeliveryStatus.PENDING,
        status_code=response.status,
        error=error,
        next_attempt_ms=now_ms + (0 if at_once else wait_ms(delivery.attempts)),
        finished_ms=None,
    )


def wait_ms(tries: int) -> int:
    """Return how long to wait after so many tries: 30 s, doubling, at most an hour."""
    return min(FIRST_WAIT_MS << min(tries - 1, 20), LONGEST_WAIT_MS)


def _ended(delivery: Delivery, status: DeliveryStatus, response: Response, error: str | None, now_ms: int) -> Tried:
    return Tried(
        delivery=delivery,
        status=status,
        status_code=response.status,
        error=error,
        next_attempt_ms=None,
        finished_ms=now_ms,
    )
