"""Rows to records and back. A record's fields are the table's columns; both orders are checked at open."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from fliqd.core.delivery import ErrorCode, Timings
from fliqd.core.due_heap import DueEntry
from fliqd.core.model import Execution, ExecutionStatus, Job, JobStatus, OnInterrupt
from fliqd.core.retry import Backoff
from fliqd.store.base import Finish, Token

Row = Sequence[Any]

JOB_COLUMNS: Final = Job.__struct_fields__
EXECUTION_COLUMNS: Final = (
    "job_pk", "attempt_num", "id", "status", "started_ms", "finished_ms", "late_ms", "status_code", "error_code",
    "error", "response_headers", "response_body", "response_truncated", "timings",
)  # fmt: skip

_BODY: Final = JOB_COLUMNS.index("body")

_JOB_STATUS: Final = {str(status): status for status in JobStatus}
_EXECUTION_STATUS: Final = {str(status): status for status in ExecutionStatus}
_ON_INTERRUPT: Final = {str(choice): choice for choice in OnInterrupt}
_DEFAULT_BACKOFF: Final = Backoff()
_DEFAULT_SUCCESS: Final = ("2xx",)

_encode: Final = msgspec.json.Encoder().encode
_string_map: Final = msgspec.json.Decoder(dict[str, str]).decode
_strings: Final = msgspec.json.Decoder(tuple[str, ...]).decode
_pairs: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode
_backoff: Final = msgspec.json.Decoder(Backoff).decode
_timings: Final = msgspec.json.Decoder(Timings).decode
_JOB_JSON: Final = (
    ("headers", _string_map),
    ("query", _string_map),
    ("backoff", _backoff),
    ("success_statuses", _strings),
    ("tags", _strings),
)


def _json(value: object) -> str:
    return _encode(value).decode()


def job(row: Row) -> Job:
    values = dict(zip(JOB_COLUMNS, row, strict=True))
    for column, decode in _JOB_JSON:
        text = values[column]
        if text is None:
            del values[column]  # the record's default
        else:
            values[column] = decode(text)
    values["status"] = _JOB_STATUS[values["status"]]
    values["on_interrupt"] = _ON_INTERRUPT[values["on_interrupt"]]
    values["body_is_json"] = bool(values["body_is_json"])
    return Job(**values)


def claimed(row: list[Any], long_body: Callable[[int], bytes]) -> Job:
    """Read a row of `jobs_claimable`: its body is in hex, as JSON holds no bytes, or 0 if too long for that."""
    body = row[_BODY]
    if body is not None:
        row[_BODY] = bytes.fromhex(body) if isinstance(body, str) else long_body(row[0])
    return job(row)


def job_values(job: Job) -> tuple[Any, ...]:
    """Return the values of a job in the order of `job_insert`, which is that of the columns."""
    return (
        job.pk, job.id, job.dialect, job.token_id, str(job.status), job.url, job.host, job.lane, job.http_method,
        _json(job.headers) if job.headers else None,
        _json(job.query) if job.query else None,
        job.body, job.body_is_json, job.timeout_ms, job.max_retries,
        None if job.backoff == _DEFAULT_BACKOFF else _json(job.backoff),
        None if job.success_statuses == _DEFAULT_SUCCESS else _json(job.success_statuses),
        str(job.on_interrupt), job.queue, job.name, job.description,
        _json(job.tags) if job.tags else None,
        job.idempotency_key, job.replay_of, job.scheduled_ms, job.expires_ms, job.created_ms, job.updated_ms,
        job.started_ms, job.finished_ms, job.next_attempt_ms, job.due_ms, job.owner, job.executions, job.attempts,
        job.crashes, job.last_status_code, job.last_error,
    )  # fmt: skip


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
    )  # fmt: skip


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
    """Return the place of a job in the due index, None when it does not wait."""
    if job.status is not JobStatus.SCHEDULED or job.next_attempt_ms is None:
        return None
    return DueEntry(job.next_attempt_ms, job.pk, job.lane)


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
