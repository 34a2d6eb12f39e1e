"""A job's fields as options, and the options as the document that the API takes."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from fliqd.cli.errors import RefusedError
from fliqd.errors import Problem

# option: (field of the API, what click needs to know)
OPTIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "--at": ("scheduled_at", {"metavar": "TIME", "help": "When, such as 2027-01-01T09:00:00Z."}),
    "--delay": ("delay", {"metavar": "D", "help": "In how long: 90s, 1h30m, 2d, or seconds."}),
    "--method": (
        "http_method",
        {
            "type": click.Choice(["GET", "POST", "PUT", "PATCH", "DELETE"], case_sensitive=False),
            "metavar": "METHOD",
            "help": "GET, POST (the default), PUT, PATCH or DELETE.",
        },
    ),
    "--header": ("headers", {"multiple": True, "metavar": "'NAME: VALUE'", "help": "Sent along; may come again."}),
    "--query": ("query", {"multiple": True, "metavar": "NAME=VALUE", "help": "Added to the URL; may come again."}),
    "--data": ("body", {"metavar": "TEXT", "help": "The body; @FILE or @- (stdin) reads it from there."}),
    "--json": ("json", {"metavar": "JSON", "help": "The body as JSON; @FILE or @- reads it from there."}),
    "--max-retries": ("max_retries", {"type": int, "metavar": "N", "help": "Further attempts after a failed one."}),
    "--backoff": (
        "backoff",
        {
            "metavar": "KIND",
            "help": 'exponential, linear, fixed, or an object such as {"kind": "fixed", "initial": "5s"}.',
        },
    ),
    "--timeout": ("timeout_seconds", {"metavar": "D", "help": "How long an attempt may take."}),
    "--expires-at": ("expires_at", {"metavar": "TIME", "help": "No attempt starts later."}),
    "--queue": ("queue", {"metavar": "NAME", "help": "The lane it goes through."}),
    "--name": ("name", {"metavar": "TEXT", "help": "What you call it."}),
    "--description": ("description", {"metavar": "TEXT", "help": "What you want to remember of it."}),
    "--tag": ("tags", {"multiple": True, "metavar": "TAG", "help": "To find it by; may come again."}),
    "--on-interrupt": (
        "on_interrupt",
        {"type": click.Choice(["retry", "fail"]), "help": "What to do when the daemon dies during an attempt."},
    ),
    "--success-status": (
        "success_statuses",
        {"multiple": True, "metavar": "STATUS", "help": "What counts as success, such as 2xx or 409; may come again."},
    ),
}
SHORT: Final = {"--header": "-H", "--data": "-d"}
IDEMPOTENCY: Final = {
    "--idempotency-key": ("idempotency_key", {"metavar": "KEY", "help": "A repeat makes no second job."})
}
_NAMED: Final = {field: option for option, (field, _) in (OPTIONS | IDEMPOTENCY).items()}
# An empty one of these is a variable that was not set, hardly a wish for the default.
_NEVER_EMPTY: Final = frozenset({"scheduled_at", "delay", "url", "idempotency_key"})


def with_fields(*, create: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field; it is called with them by the API's names."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option, (field, given) in reversed((OPTIONS | (IDEMPOTENCY if create else {})).items()):
            names = (SHORT[option], option) if option in SHORT else (option,)
            function = click.option(*names, field, **given)(function)
        return function

    return decorate


def document(fields: dict[str, Any], *, update: bool = False) -> bytes:
    """Return what to send for the options that were given; raise click's usage error.

    In an update an empty value takes a field back to its default.
    """
    sent: dict[str, Any] = {}
    raw_json: str | None = None
    for field, value in fields.items():
        if value is None or value == ():
            continue
        if update and value in ("", ("",)) and field not in {"body", "json", *_NEVER_EMPTY}:
            sent[field] = None
        elif field == "json":
            raw_json = _json(value)
        else:
            sent[field] = _READ.get(field, _as_it_is)(value)
    text = json.dumps(sent)
    if raw_json is not None:
        # As it was written: a number that Python cannot hold goes out as it came.
        text = f'{text[:-1]}{", " if sent else ""}"json": {raw_json}}}'
    return text.encode("utf-8", "surrogateescape")


def in_options(err: RefusedError) -> RefusedError:
    """Return a refusal that speaks of the options and not of the API's fields."""
    if err.code == "invalid_json":
        return err  # there "body" is the whole document
    problems = []
    for problem in err.problems:
        field, dot, rest = problem.field.partition(".")
        problems.append(Problem(f"{_NAMED.get(field, field)}{dot}{rest}", problem.problem))
    return RefusedError(str(err), code=err.code, status=err.status, problems=problems)


def _as_it_is(value: object) -> object:
    return value


def _duration(text: str) -> object:
    """Return a number where it is one: the API takes `"90s"` or 90, not `"90"`."""
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def _headers(lines: Sequence[str]) -> dict[str, str]:
    return _pairs(lines, ":", "--header", "'Name: value'")


def _query(lines: Sequence[str]) -> dict[str, str]:
    return _pairs(lines, "=", "--query", "name=value")


def _pairs(lines: Sequence[str], separator: str, option: str, expected: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in lines:
        name, found, value = line.partition(separator)
        if separator == ":":
            name, value = name.strip(), value.strip()
        if not found or not name:
            _refuse(option, f"expected {expected}")
        if name in pairs:
            _refuse(option, f"{name!r} comes twice")
        pairs[name] = value
    return pairs


def _backoff(text: str) -> object:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as err:
        _refuse("--backoff", f"is not JSON: {err}", err)


def _statuses(words: Sequence[str]) -> list[int | str]:
    return [int(word) if word.isascii() and word.isdigit() else word for word in words]


def _body(text: str) -> str:
    return _content(text, "--data")


def _json(text: str) -> str:
    content = _content(text, "--json")
    try:
        json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        _refuse("--json", f"is not JSON: {err}", err)
    return content.strip()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} does not exist in JSON")


def _content(text: str, option: str) -> str:
    """Return a text, or that of the file that `@FILE` or `@-` names."""
    if not text.startswith("@"):
        return text
    name = text[1:]
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode()
    except OSError as err:
        _refuse(option, f"{name} cannot be read: {err.strerror}", err)
    except UnicodeDecodeError as err:
        _refuse(option, f"{name} is not UTF-8 text, and a job's body is", err)


def _refuse(option: str, problem: str, cause: Exception | None = None) -> NoReturn:
    raise click.BadParameter(problem, param_hint=option) from cause


_READ: Final[dict[str, Callable[[Any], object]]] = {
    "delay": _duration,
    "timeout_seconds": _duration,
    "headers": _headers,
    "query": _query,
    "body": _body,
    "backoff": _backoff,
    "tags": list,
    "success_statuses": _statuses,
}
