"""JSON to typed values and back: what is wrong is said for every field at once."""

import base64
import binascii
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from multidict import MultiMapping

from fliqd.core.delivery import Timings
from fliqd.core.drafts import LATER
from fliqd.core.lifecycle import ACTIONS
from fliqd.core.model import Execution, ExecutionStatus, Job, JobStatus
from fliqd.core.retry import Backoff
from fliqd.core.times import format_time, maybe_time
from fliqd.errors import InvalidError, Problem

D = TypeVar("D", bound=msgspec.Struct)

_EXPECTED: Final = re.compile(r"Expected `([^`]*)`(?:, got `([^`]*)`)?")
_WORDS: Final = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "an object",
    "array": "a list", "null": "null",
}  # fmt: skip
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_anything: Final = msgspec.json.Decoder().decode
_DECODERS: Final[dict[type, Any]] = {}


def decode(body: bytes, kind: type[D]) -> tuple[D, list[Problem]]:
    """Read a JSON object into a document; what is wrong with single fields comes back beside it.

    Fields at fault are left unset in the document. Raises InvalidError (`invalid_json`) for what is not
    strict JSON: UTF-8 (RFC 8259, 8.1), no NaN, no lone surrogates, no NUL, not nested too deeply.
    """
    check_text(body)
    decoder = _DECODERS.get(kind) or _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    try:
        return decoder.decode(body), []
    except msgspec.ValidationError:
        return _explain(body, kind)
    except (msgspec.DecodeError, RecursionError) as err:
        raise _not_json(err) from err


def decode_list(body: bytes, name: str, longest: int) -> list[bytes]:
    """Read `{"<name>": [object, …]}`; return the objects undecoded."""
    check_text(body)
    try:
        top = _objects(body)
    except msgspec.ValidationError as err:
        raise InvalidError([Problem("body", "expected a JSON object")], "invalid_json") from err
    except (msgspec.DecodeError, RecursionError) as err:
        raise _not_json(err) from err
    problems = [_unknown(key, (name,)) for key in top if key != name]
    if problems:
        raise InvalidError(problems)
    try:
        items = msgspec.json.decode(top.get(name, b"null"), type=list[msgspec.Raw])
    except (msgspec.ValidationError, RecursionError) as err:
        raise InvalidError([Problem(name, "expected a list of objects")]) from err
    if not 1 <= len(items) <= longest:
        raise InvalidError([Problem(name, f"expected 1 to {longest} of them, got {len(items)}")])
    return [bytes(item) for item in items]


def check_text(body: bytes) -> None:
    """Raise InvalidError for bytes that are not UTF-8, or hold a NUL however it is written."""
    try:
        body.decode()
    except UnicodeDecodeError as err:
        raise _not_json(err) from err
    if b"\\u0000" in body:
        try:
            clean = not _holds_nul(_anything(body))
        except (msgspec.MsgspecError, RecursionError) as err:
            raise _not_json(err) from err
        if not clean:
            raise InvalidError([Problem("body", "holds the character NUL (\\u0000)")], "invalid_json")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_holds_nul(item) for item in value)


def _not_json(err: Exception) -> InvalidError:
    what = "is nested too deeply" if isinstance(err, RecursionError) else f"is not JSON: {err}"
    return InvalidError([Problem("body", what)], "invalid_json")


def _explain(body: bytes, kind: type[D]) -> tuple[D, list[Problem]]:
    """Go through a document field by field, for every problem that it has."""
    try:
        raw = _objects(body)
    except msgspec.ValidationError as err:
        raise InvalidError([Problem("body", "expected a JSON object")], "invalid_json") from err
    except (msgspec.DecodeError, RecursionError) as err:
        raise _not_json(err) from err  # what is wrong with a field was met before what is wrong with the text
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    problems = []
    values = {}
    for name, text in raw.items():
        if name not in known:
            problems.append(_unknown(name, known))
            continue
        try:
            values[known[name].name] = msgspec.json.decode(text, type=known[name].type)
        except msgspec.ValidationError as err:
            problems.append(Problem(name, _in_words(str(err), bytes(text), known[name].type)))
        except (msgspec.DecodeError, RecursionError) as err:
            raise _not_json(err) from err
    return kind(**values), problems


def _in_words(error: str, raw: bytes, kind: object) -> str:
    """Put msgspec's complaint about a field of type `kind` into words."""
    choices = next((get_args(part) for part in get_args(kind) if get_origin(part) is Literal), None)
    match = _EXPECTED.match(error)
    if choices is not None and "enum value" in error:
        return f"expected {', '.join(choices[:-1])} or {choices[-1]}, got {_shown(raw)}"
    if match is None:
        where = error.replace(" - at `$", " at `").replace("`", '"')
        return f"{where}; got {_shown(raw)}"
    kinds = [_WORDS.get(kind, kind) for kind in match[1].split(" | ") if kind != "null"]
    inside = re.search(r"at `\$([^`]*)`", error)
    where = f" in {_culprit(raw) or inside[1].lstrip('.')}" if inside else ""
    return f"expected {' or '.join(kinds)}{where}, got {_WORDS.get(match[2], match[2])}"


def _culprit(raw: bytes) -> str | None:
    """Return the name of the first member of an object that is no text: where a text was expected, it is that."""
    try:
        value = _anything(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return next((name[:64] for name, member in value.items() if not isinstance(member, str)), None)


def _shown(raw: bytes) -> str:
    text = raw.decode()
    return text if len(text) <= 64 else f"{text[:63]}…"  # noqa: PLR2004 -- a line's worth


def _unknown(name: str, known: Iterable[str]) -> Problem:
    if name in LATER:
        return Problem(name, "is not available in this version of fliqd", "unknown_field")
    near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.6)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return Problem(name[:64], f"unknown field{hint}", "unknown_field")


class Params:
    """The query parameters of a request: each known, each at most once, each read once."""

    def __init__(self, query: MultiMapping[str], allowed: Sequence[str]) -> None:
        """Take the query; raise InvalidError for a stranger, or one that comes twice."""
        problems = []
        for name in dict.fromkeys(query):
            if name not in allowed:
                near = difflib.get_close_matches(name[:64], allowed, n=1, cutoff=0.6)
                hint = f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(allowed) or 'none'}"
                problems.append(Problem(name[:64], f"unknown query parameter{hint}", "unknown_parameter"))
            elif len(query.getall(name)) > 1:
                problems.append(Problem(name, "comes more than once"))
        if problems:
            raise InvalidError(problems)
        self._query = query

    def text(self, name: str) -> str | None:
        value = self._query.get(name)
        if value is not None and "\0" in value:
            raise InvalidError([Problem(name, "holds the character NUL")])
        return value

    def limit(self) -> int:
        text = self._query.get("limit", "20")
        if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:  # noqa: PLR2004 -- as it says
            raise InvalidError([Problem("limit", "expected a whole number from 1 to 100")])
        return int(text)

    def cursor(self) -> int | None:
        text = self._query.get("cursor")
        return None if text is None else read_cursor(text)


def write_cursor(pk: int | None) -> str | None:
    """Return the opaque place to go on from; it stays right while jobs come and go."""
    return None if pk is None else base64.urlsafe_b64encode(b"j%d" % pk).rstrip(b"=").decode()


def read_cursor(text: str) -> int:
    try:
        place = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        match = re.fullmatch(rb"j([0-9]{1,18})", place)
    except (binascii.Error, ValueError):
        match = None
    if match is None:
        raise InvalidError([Problem("cursor", "expected the next_cursor of an earlier answer, unchanged")])
    return int(match[1])


_SECRET_NAME: Final = re.compile(
    r"authorization|proxy-authorization|cookie|set-cookie|.*-(?:key|token|secret)", re.IGNORECASE
)
MASK: Final = "***"


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers without the values that are secrets, by their names."""
    return {name: MASK if _SECRET_NAME.fullmatch(name) else value for name, value in headers.items()}


def job_view(job: Job, *, secrets: bool = True) -> dict[str, Any]:
    """Return a job as the API shows it; without `secrets`, headers that carry some are masked."""
    waits = job.status is JobStatus.SCHEDULED
    body = job.body
    return {
        "id": job.id,
        "status": job.status.value,
        "url": job.url,
        "http_method": job.http_method,
        "scheduled_at": format_time(job.scheduled_ms),
        "headers": job.headers if secrets else masked(job.headers),
        "query": job.query,
        "body": None if body is None or job.body_is_json else body.decode(),
        "json": msgspec.Raw(body) if body is not None and job.body_is_json else None,
        "max_retries": job.max_retries,
        "backoff": backoff_view(job.backoff),
        "timeout_seconds": seconds(job.timeout_ms),
        "expires_at": maybe_time(job.expires_ms),
        "idempotency_key": job.idempotency_key,
        "queue": job.queue,
        "name": job.name,
        "description": job.description,
        "tags": job.tags,
        "on_interrupt": job.on_interrupt.value,
        "success_statuses": _statuses(job.success_statuses),
        "created_at": format_time(job.created_ms),
        "updated_at": format_time(job.updated_ms),
        "started_at": maybe_time(job.started_ms),
        "finished_at": maybe_time(job.finished_ms),
        "next_attempt_at": maybe_time(job.next_attempt_ms) if waits else None,
        "attempts": job.attempts,
        "executions": job.executions,
        "last_status_code": job.last_status_code,
        "last_error": job.last_error,
        "replay_of": job.replay_of,
        "schedule_id": None,
        "buffer_id": None,
        "approved_at": None,
        "approved_by": None,
        "actions": ACTIONS[job.status],
    }


@lru_cache(maxsize=256)
def _statuses(words: tuple[str, ...]) -> tuple[int | str, ...]:
    return tuple(int(word) if word.isdigit() else word for word in words)


def _timings(timings: Timings | None) -> dict[str, float | None] | None:
    """Return the phases in milliseconds, to the microsecond."""
    if timings is None:
        return None
    phases = msgspec.structs.asdict(timings)
    return {name: None if ms is None else round(ms, 3) for name, ms in phases.items()}


def execution_view(execution: Execution, *, secrets: bool = True) -> dict[str, Any]:
    """Return an attempt as the API shows it; `executed_at` is `started_at` by its older name."""
    headers = dict(execution.response_headers)
    ended_ms = execution.finished_ms
    known = execution.status is not ExecutionStatus.INTERRUPTED and ended_ms is not None
    return {
        "id": execution.id,
        "attempt_num": execution.attempt_num,
        "status": execution.status.value,
        "status_code": execution.status_code,
        "duration_ms": (ended_ms or 0) - execution.started_ms if known else None,
        "executed_at": format_time(execution.started_ms),
        "started_at": format_time(execution.started_ms),
        "finished_at": maybe_time(ended_ms),
        "late_ms": execution.late_ms,
        "error": execution.error,
        "error_code": execution.error_code and execution.error_code.value,
        "response_headers": headers if secrets else masked(headers),
        "response_body": None
        if execution.response_body is None
        else execution.response_body.decode("utf-8", "replace"),
        "response_truncated": execution.response_truncated,
        "timings": _timings(execution.timings),
    }


@lru_cache(maxsize=256)
def backoff_view(backoff: Backoff) -> object:
    """Return a backoff as it may be given: its kind alone where nothing else was."""
    if backoff == Backoff(kind=backoff.kind):
        return backoff.kind.value
    return {
        "kind": backoff.kind.value,
        "initial": backoff.initial_s,
        "max": backoff.max_s,
        "jitter": backoff.jitter,
        "delays": list(backoff.delays_s) or None,
    }


def seconds(ms: int) -> int | float:
    """Return milliseconds as seconds, whole where they are."""
    return ms // 1000 if ms % 1000 == 0 else ms / 1000
