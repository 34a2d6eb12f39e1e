"""Rows to records and back. A record's fields are the table's columns; both orders are checked at open."""

from collections.abc import Callable, Sequence
from functools import wraps
from operator import attrgetter
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from fliqd.core.answers import Answer
from fliqd.core.buffers import Buffer
from fliqd.core.channels import Channel, ChannelType
from fliqd.core.deliveries import Delivery, DeliveryStatus
from fliqd.core.delivery import ErrorCode, Timings
from fliqd.core.due_heap import DueEntry
from fliqd.core.incidents import Incident
from fliqd.core.model import ENDS, HELD_MS, Dynamic, Execution, ExecutionStatus, Job, JobStatus, OnInterrupt, Source
from fliqd.core.notices import Kind, Notice
from fliqd.core.occurrences import Gap, Overlap
from fliqd.core.queues import Queue
from fliqd.core.retry import Backoff
from fliqd.core.schedule import Misfire, Missed, MissedReason, Schedule, WhileRunning
from fliqd.errors import StoreUnusableError
from fliqd.store.base import Finish, Token

Row = Sequence[Any]

JOB_COLUMNS: Final = Job.__struct_fields__
SCHEDULE_COLUMNS: Final = Schedule.__struct_fields__
BUFFER_COLUMNS: Final = Buffer.__struct_fields__
DELIVERY_COLUMNS: Final = Delivery.__struct_fields__
CHANNEL_COLUMNS: Final = Channel.__struct_fields__
INCIDENT_COLUMNS: Final = Incident.__struct_fields__
EXECUTION_COLUMNS: Final = (
    "job_pk", "attempt_num", "id", "status", "started_ms", "finished_ms", "late_ms", "status_code", "error_code",
    "error", "response_headers", "response_body", "response_truncated", "timings", "request_body",
)  # fmt: skip

_BODY: Final = JOB_COLUMNS.index("body")
_ASKED: Final = JOB_COLUMNS.index("asked")

_JOB_STATUS: Final = {str(status): status for status in JobStatus}
_EXECUTION_STATUS: Final = {str(status): status for status in ExecutionStatus}
_ON_INTERRUPT: Final = {str(choice): choice for choice in OnInterrupt}
_SOURCE: Final = {str(source): source for source in Source}
_DEFAULT_BACKOFF: Final = Backoff()
_DEFAULT_SUCCESS: Final = ("2xx",)

_encode: Final = msgspec.json.Encoder().encode
_string_map: Final = msgspec.json.Decoder(dict[str, str]).decode
_strings: Final = msgspec.json.Decoder(tuple[str, ...]).decode
_pairs: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode
_backoff: Final = msgspec.json.Decoder(Backoff).decode
_timings: Final = msgspec.json.Decoder(Timings).decode
_JSON: Final = (
    ("headers", _string_map),
    ("query", _string_map),
    ("backoff", _backoff),
    ("success_statuses", _strings),
    ("tags", _strings),
    ("webhook_headers", _string_map),
    ("webhook_events", _strings),
)
_JSON_OF_BUFFER: Final = tuple(pair for pair in _JSON if pair[0] != "tags")
_SCHEDULE_KINDS: Final = (
    ("source", Source), ("dst_gap", Gap), ("dst_overlap", Overlap), ("misfire", Misfire), ("overlap", WhileRunning),
    ("on_interrupt", OnInterrupt), ("last_status", JobStatus), ("body_is_json", bool), ("has_references", bool),
    ("requires_approval", bool), ("dynamic_fields", Dynamic),
)  # fmt: skip
_SCHEDULE_TEXTS: Final = tuple(column for column, kind in _SCHEDULE_KINDS if kind is not bool)


P = ParamSpec("P")
T = TypeVar("T")


def _from_disk(read: Callable[P, T]) -> Callable[P, T]:
    """Have what cannot be read called by its name: only a damaged file holds such a row."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as err:
            raise StoreUnusableError(
                f"the store is damaged: a row is no {read.__name__} ({err!r}). Put back a backup (`fliqd restore FILE`)"
            ) from err

    return reading


def _json(value: object) -> str:
    return _encode(value).decode()


@_from_disk
def job(row: Row) -> Job:
    values = dict(zip(JOB_COLUMNS, row, strict=True))
    for column, decode in _JSON:
        text = values[column]
        if text is None:
            del values[column]  # the record's default
        else:
            values[column] = decode(text)
    values["status"] = _JOB_STATUS[values["status"]]
    values["on_interrupt"] = _ON_INTERRUPT[values["on_interrupt"]]
    values["body_is_json"] = bool(values["body_is_json"])
    values["has_references"] = bool(values["has_references"])
    values["source"] = _SOURCE[values["source"]]
    values["requires_approval"] = bool(values["requires_approval"])
    values["key_is_free"] = bool(values["key_is_free"])
    if values["dynamic_fields"] is not None:
        values["dynamic_fields"] = Dynamic(values["dynamic_fields"])
    return Job(**values)


CLAIMED: Final = (
    "pk", "id", "token_id", "url", "host", "lane", "http_method", "headers", "body", "body_is_json", "timeout_ms",
    "max_retries", "queue", "name", "idempotency_key", "scheduled_ms", "created_ms", "started_ms", "due_ms",
    "executions", "attempts", "last_status_code", "last_error",
)  # fmt: skip


@_from_disk
def claimed(row: list[Any], owner: str, now_ms: int, long_body: Callable[[int], bytes]) -> Job:
    """Read a row of `jobs_claimable`: its body is in hex, as JSON holds no bytes, or 0 if too long for that."""
    if len(row) != len(CLAIMED):
        row[_BODY] = _body_of(row[_BODY], row[0], long_body)
        if row[_ASKED] is not None:
            row[_ASKED] = row[_ASKED].encode()
        return job(row)
    (pk, job_id, token_id, url, host, lane, http_method, headers, body, body_is_json, timeout_ms, max_retries, queue,
     name, key, scheduled_ms, created_ms, started_ms, due_ms, executions, attempts, code, error) = row  # fmt: skip
    return Job(
        pk=pk,
        id=job_id,
        token_id=token_id,
        status=JobStatus.RUNNING,
        url=url,
        host=host,
        lane=lane,
        http_method=http_method,
        headers={} if headers is None else _string_map(headers),
        body=_body_of(body, pk, long_body),
        body_is_json=bool(body_is_json),
        timeout_ms=timeout_ms,
        max_retries=max_retries,
        queue=queue,
        name=name,
        idempotency_key=key,
        scheduled_ms=scheduled_ms,
        created_ms=created_ms,
        updated_ms=now_ms,
        started_ms=started_ms,
        next_attempt_ms=None,
        due_ms=due_ms,
        owner=owner,
        executions=executions,
        attempts=attempts,
        last_status_code=code,
        last_error=error,
    )


def _body_of(body: str | int | None, pk: int, long_body: Callable[[int], bytes]) -> bytes | None:
    return bytes.fromhex(body) if isinstance(body, str) else None if body is None else long_body(pk)


def job_values(job: Job, pk: int) -> tuple[Any, ...]:
    """Return the values of a job in the order of `job_insert`, which is that of the columns."""
    return (
        pk, job.id, job.dialect, job.token_id, str(job.status), job.url, job.host, job.lane, job.http_method,
        _json(job.headers) if job.headers else None,
        _json(job.query) if job.query else None,
        job.body, job.body_is_json, job.timeout_ms, job.max_retries,
        None if job.backoff == _DEFAULT_BACKOFF else _json(job.backoff),
        None if job.success_statuses == _DEFAULT_SUCCESS else _json(job.success_statuses),
        str(job.on_interrupt), job.queue, job.name, job.description,
        _json(job.tags) if job.tags else None,
        job.idempotency_key, job.replay_of, job.scheduled_ms, job.expires_ms, job.created_ms, job.updated_ms,
        job.started_ms, job.finished_ms, job.next_attempt_ms, job.due_ms, job.owner, job.executions, job.attempts,
        job.crashes, job.last_status_code, job.last_error, str(job.source), job.schedule_id, job.slot_ms,
        job.has_references, job.buffer_id, job.webhook_url,
        _json(job.webhook_headers) if job.webhook_headers else None,
        None if job.webhook_events == ENDS else _json(job.webhook_events),
        job.callback_url, job.requires_approval, job.approved_ms, job.approved_by, job.key_is_free, job.dedupe_key,
        job.dedupe_window_ms, job.dynamic_fields and str(job.dynamic_fields), job.asked,
    )  # fmt: skip


# What differs between most new jobs, and what does not.
_PLAIN: Final = frozenset({
    "pk", "id", "token_id", "url", "host", "lane", "http_method", "headers", "body", "body_is_json", "timeout_ms",
    "max_retries", "idempotency_key", "scheduled_ms", "created_ms", "updated_ms", "next_attempt_ms",
})  # fmt: skip
_rest: Final = attrgetter(*(column for column in JOB_COLUMNS if column not in _PLAIN))
_NOTHING_MORE: Final = _rest(
    Job(id="", url="", host="", lane="", scheduled_ms=0, created_ms=0, updated_ms=0, next_attempt_ms=0)
)


def plain_job_values(job: Job, pk: int) -> tuple[Any, ...] | None:
    """Return those of `job_values` that `job_insert_plain` takes, in its order; None for a job that needs more."""
    if _rest(job) != _NOTHING_MORE:
        return None
    headers = _json(job.headers) if job.headers else None
    return (
        pk, job.id, job.token_id, job.url, job.host, job.lane, job.http_method, headers, job.body, job.body_is_json,
        job.timeout_ms, job.max_retries, job.idempotency_key, job.scheduled_ms, job.created_ms, job.updated_ms,
        job.next_attempt_ms,
    )  # fmt: skip


@_from_disk
def schedule(row: Row) -> Schedule:
    """Read a schedule; after its columns may come how its last job stands now, None when that is gone."""
    values = dict(zip(SCHEDULE_COLUMNS, row, strict=False))
    if len(row) > len(SCHEDULE_COLUMNS):
        values["last_status"] = row[-1] or values["last_status"]
    for column, decode in _JSON:
        text = values[column]
        if text is None:
            del values[column]  # the record's default
        else:
            values[column] = decode(text)
    for column, kind in _SCHEDULE_KINDS:
        if values[column] is not None:
            values[column] = kind(values[column])
    return Schedule(**values)


def schedule_values(schedule: Schedule) -> dict[str, Any]:
    """Return the values of a schedule by column."""
    values = {column: getattr(schedule, column) for column in SCHEDULE_COLUMNS}
    values |= {column: None if values[column] is None else str(values[column]) for column in _SCHEDULE_TEXTS}
    values |= {
        "headers": _json(schedule.headers) if schedule.headers else None,
        "query": _json(schedule.query) if schedule.query else None,
        "backoff": None if schedule.backoff == _DEFAULT_BACKOFF else _json(schedule.backoff),
        "success_statuses": None if schedule.success_statuses == _DEFAULT_SUCCESS else _json(schedule.success_statuses),
        "tags": _json(schedule.tags) if schedule.tags else None,
        "webhook_headers": _json(schedule.webhook_headers) if schedule.webhook_headers else None,
        "webhook_events": None if schedule.webhook_events == ENDS else _json(schedule.webhook_events),
    }
    return values


@_from_disk
def buffer(row: Row) -> Buffer:
    values = dict(zip(BUFFER_COLUMNS, row, strict=True))
    for column, decode in _JSON_OF_BUFFER:
        text = values[column]
        if text is None:
            del values[column]  # the record's default
        else:
            values[column] = decode(text)
    values["source"] = _SOURCE[values["source"]]
    values["on_interrupt"] = _ON_INTERRUPT[values["on_interrupt"]]
    values["has_references"] = bool(values["has_references"])
    return Buffer(**values)


def buffer_values(buffer: Buffer) -> dict[str, Any]:
    """Return the values of a buffer by column."""
    values = {column: getattr(buffer, column) for column in BUFFER_COLUMNS}
    return values | {
        "source": str(buffer.source),
        "on_interrupt": str(buffer.on_interrupt),
        "headers": _json(buffer.headers) if buffer.headers else None,
        "query": _json(buffer.query) if buffer.query else None,
        "backoff": None if buffer.backoff == _DEFAULT_BACKOFF else _json(buffer.backoff),
        "success_statuses": None if buffer.success_statuses == _DEFAULT_SUCCESS else _json(buffer.success_statuses),
        "webhook_headers": _json(buffer.webhook_headers) if buffer.webhook_headers else None,
        "webhook_events": None if buffer.webhook_events == ENDS else _json(buffer.webhook_events),
    }


def queue(row: Row) -> Queue:
    name, concurrency, rate, paused_ms, source, created_ms, updated_ms = row
    return Queue(
        name=name, concurrency=concurrency, rate=rate, paused_ms=paused_ms, source=_SOURCE[source],
        created_ms=created_ms, updated_ms=updated_ms,
    )  # fmt: skip


def queue_values(queue: Queue) -> tuple[Any, ...]:
    return (
        queue.name, queue.concurrency, queue.rate, queue.paused_ms, str(queue.source), queue.created_ms,
        queue.updated_ms,
    )  # fmt: skip


@_from_disk
def missed(row: Row) -> Missed:
    first_ms, last_ms, count, reason, noted_ms = row
    return Missed(first_ms, last_ms, count, MissedReason(reason), noted_ms)


@_from_disk
def execution(row: Row) -> Execution:
    values = dict(zip(EXECUTION_COLUMNS, row, strict=True))
    values["status"] = _EXECUTION_STATUS[values["status"]]
    values["response_truncated"] = bool(values["response_truncated"])
    values["response_headers"] = _pairs(values["response_headers"] or "[]")
    values["timings"] = _timings(values["timings"]) if values["timings"] else None
    values["error_code"] = ErrorCode(values["error_code"]) if values["error_code"] else None
    return Execution(**values)


def execution_close_values(end: Finish) -> tuple[Any, ...]:
    settlement = end.settlement
    return (
        end.job.pk, end.job.executions, str(settlement.execution_status), end.started_ms, end.finished_ms,
        end.late_ms, end.status_code,
        str(settlement.error_code) if settlement.error_code else None, settlement.error,
        _json(end.response_headers) if end.response_headers else None,
        end.response_body, end.response_truncated, _json(end.timings),
        end.job.body if end.job.dynamic_fields else None,
    )  # fmt: skip


def settled(end: Finish) -> Job:
    """Return the job of an attempt as its end leaves it, as far as anybody is told."""
    settlement = end.settlement
    return msgspec.structs.replace(
        end.job,
        status=settlement.status,
        finished_ms=None if settlement.status is JobStatus.SCHEDULED else end.finished_ms,
        next_attempt_ms=settlement.next_attempt_ms,
        updated_ms=end.finished_ms,
        attempts=settlement.attempts,
        last_status_code=end.status_code,
        last_error=settlement.job_error,
    )


def answer(end: Finish) -> Answer:
    return Answer(
        status_code=end.status_code,
        headers=end.response_headers,
        body=end.response_body,
        truncated=end.response_truncated,
        duration_ms=end.finished_ms - end.started_ms,
    )


def outbox_values(notice: Notice, event_id: str, due_ms: int, created_ms: int) -> tuple[Any, ...]:
    return (
        event_id, notice.job_id, str(notice.kind), notice.event, notice.url, notice.lane,
        _json(notice.headers) if notice.headers else None, notice.has_references, notice.body, notice.signed_for,
        notice.job_id, str(notice.kind), HELD_MS, due_ms, created_ms,
    )  # fmt: skip


@_from_disk
def delivery(row: Row) -> Delivery:
    values = dict(zip(DELIVERY_COLUMNS, row, strict=True))
    values["kind"] = Kind(values["kind"])
    values["status"] = DeliveryStatus(values["status"])
    values["headers"] = _string_map(values["headers"]) if values["headers"] else {}
    values["has_references"] = bool(values["has_references"])
    return Delivery(**values)


@_from_disk
def channel(row: Row) -> Channel:
    values = dict(zip(CHANNEL_COLUMNS, row, strict=True))
    values["type"] = ChannelType(values["type"])
    values["source"] = _SOURCE[values["source"]]
    values["has_references"] = bool(values["has_references"])
    values["enabled"] = bool(values["enabled"])
    return Channel(**values)


def channel_values(channel: Channel) -> tuple[Any, ...]:
    """Return the values of a channel in the order of `channel_put`."""
    return (
        channel.id, channel.name, str(channel.type), channel.target, channel.has_references, channel.enabled,
        str(channel.source), channel.created_ms, channel.updated_ms,
    )  # fmt: skip


def incident(row: Row) -> Incident:
    values = dict(zip(INCIDENT_COLUMNS, row, strict=True))
    values["again"] = bool(values["again"])
    return Incident(**values)


def job_settle_values(end: Finish) -> tuple[Any, ...]:
    settlement = end.settlement
    retries = settlement.status is JobStatus.SCHEDULED
    return (
        end.job.pk, end.job.executions, end.job.owner, str(settlement.status), settlement.next_attempt_ms,
        None if retries else end.finished_ms, end.finished_ms, settlement.attempts, end.started_ms, end.status_code,
        settlement.job_error,
    )  # fmt: skip


def due(row: Row) -> DueEntry:
    return DueEntry(row[0], row[1], row[2])


def due_entry(job: Job) -> DueEntry | None:
    """Return the place of a job in the due index, None when it does not wait for a time."""
    if job.status is not JobStatus.SCHEDULED or job.next_attempt_ms is None or job.is_held:
        return None
    return DueEntry(job.next_attempt_ms, job.pk, job.lane)


@_from_disk
def token(row: Row) -> Token:
    token_id, name, digest, scopes, created_ms, last_used_ms = row
    return Token(
        id=token_id,
        name=name,
        hash=digest,
        scopes=_strings(scopes),
        created_ms=created_ms,
        last_used_ms=last_used_ms,
    )
