"""Dynamic fields: what a request says of its own job, of the run before, and of what a schedule's runs remember.

Booper has them (its create page: `$job`, `$state`, `$previous` in the body of recurring jobs) and publishes no more
than their names, and that three members of these names are in the body that is sent. What else is here is our
definition:

- `$job`: `id`, `attempt`, `scheduled_at`.
- `$previous`: what came of the schedule's run before: the JSON object that its target answered with, else
  `{"status": 200, "body": …}`; `{}` for the first run.
- `$state`: what the runs have to remember: an object `$state` in an answer is merged into it, member by member, and
  null takes a member away. It begins as the member `$state` of the body, or as `{}`.

A text in a JSON body that is one of these names, or one with a path after it (`$previous.items.0.id`), is replaced by
what is there, null for nothing; other texts stay as they are. With `inject` the three also become members of a body
that is an object, or of an empty one.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec

from fliqd.core.delivery import Response
from fliqd.core.model import Dynamic, Job
from fliqd.core.references import escape
from fliqd.core.times import format_time

ROOM: Final = 64 * 1024  # bytes of JSON that a state may grow to, and as much of an answer is read for it
MOST_PUT_IN: Final = 1024 * 1024  # bytes of JSON that the texts of a body are replaced by, all of them together
NAMES: Final = ("$job", "$state", "$previous")
HAVE_BODIES: Final = frozenset({"POST", "PUT", "PATCH"})
_FIELD: Final = re.compile(r"\$(job|state|previous)((?:\.[^.]+)*)")
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class Memory(NamedTuple):
    """What a schedule's runs know of those before: JSON objects, None before the first has come to that."""

    state: bytes | None = None
    previous: bytes | None = None


class Heard(msgspec.Struct, frozen=True, gc=False):
    """What the end of a run has brought for the next one: JSON objects; no state where the answer had none."""

    previous: bytes
    state: bytes | None = None


class _TooLongError(Exception):
    """More would be put into a body than is sent for one."""


NOTHING: Final = Memory()


def rendered(job: Job, memory: Memory) -> Job:
    """Return a job with the body that is sent; as it is where that is no JSON, nested too deeply, or would be too long.

    What comes from targets is literal, also where the rest of the body has references of the configuration file.
    """
    if job.body is not None and not job.body_is_json:
        return job
    if job.body is None and (job.dynamic_fields is not Dynamic.INJECT or job.http_method not in HAVE_BODIES):
        return job
    try:
        body = {} if job.body is None else _decode(job.body)
        fields = _fields(job, body, memory)
        if job.has_references:
            fields = _literal(fields)
        if isinstance(body, dict):
            body = {key: value for key, value in body.items() if key not in NAMES}
        whole = _Filling(fields).replaced(body)
        if isinstance(body, dict) and job.dynamic_fields is Dynamic.INJECT:
            whole |= {f"${name}": value for name, value in fields.items()}
        return msgspec.structs.replace(job, body=_encode(whole), body_is_json=True)
    except (msgspec.MsgspecError, RecursionError, _TooLongError):
        return job


def hear(response: Response) -> Heard:
    """Return what an answer brings for the next run; a long one only its beginning, as a text."""
    try:
        body: Any = None if response.truncated or not response.body else _decode(response.body)
    except (ValueError, msgspec.MsgspecError, RecursionError):  # ValueError: no UTF-8
        body = None
    if isinstance(body, dict):
        state = body.pop("$state", None)
        return Heard(_encode(body), _encode(state) if isinstance(state, dict) else None)
    if body is None and response.body:
        body = response.body[: ROOM // 8].decode("utf-8", "replace")
    return Heard(_encode({"status": response.status, "body": body}))


def remembered(before: Memory, heard: Heard, body: bytes | None = None) -> Memory:
    """Return what the next run knows; a state that would grow too large, or too deep, stays as it was.

    The first one to be merged is merged into what it began as: what `body`, that of the run's job, says.
    """
    if heard.state is None:
        return Memory(before.state, heard.previous)
    try:
        state = _first_state(body) if before.state is None else _object(before.state)
        for name, value in _object(heard.state).items():
            if value is None:
                state.pop(name, None)
            else:
                state[name] = value
        text = _encode(state)
    except RecursionError:
        return Memory(before.state, heard.previous)
    return Memory(text if len(text) <= ROOM else before.state, heard.previous)


def _fields(job: Job, body: object, memory: Memory) -> dict[str, Any]:
    state = _begun(body) if memory.state is None else _object(memory.state)
    return {
        "job": {
            "id": job.pk if job.dialect == "booper" else job.id,
            "attempt": job.executions,
            "scheduled_at": format_time(job.scheduled_ms),
        },
        "state": state,
        "previous": _object(memory.previous),
    }


class _Filling:
    """Replaces the texts of one body, and gives up at MOST_PUT_IN: a short text may stand for a long value, often."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields
        self._room = MOST_PUT_IN

    def replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            match = _FIELD.fullmatch(value) if value.startswith("$") else None
            return value if match is None else self._counted(_found(self._fields[match[1]], match[2].split(".")[1:]))
        if isinstance(value, dict):
            return {key: self.replaced(part) for key, part in value.items()}
        return [self.replaced(part) for part in value] if isinstance(value, list) else value

    def _counted(self, value: Any) -> Any:
        self._room -= len(_encode(value))
        if self._room < 0:
            raise _TooLongError
        return value


def _found(value: Any, path: list[str]) -> Any:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {key: _literal(part) for key, part in value.items()}
    return [_literal(part) for part in value] if isinstance(value, list) else value


def _first_state(body: bytes | None) -> dict[str, Any]:
    """Return what a body says that the state begins as; nothing where it is no JSON."""
    try:
        return _begun(_decode(body)) if body else {}
    except (ValueError, msgspec.MsgspecError):  # ValueError: no UTF-8
        return {}


def _begun(body: object) -> dict[str, Any]:
    first = body.get("$state") if isinstance(body, dict) else None
    return dict(first) if isinstance(first, dict) else {}


def _object(text: bytes | None) -> dict[str, Any]:
    value = _decode(text) if text else {}
    return value if isinstance(value, dict) else {}
