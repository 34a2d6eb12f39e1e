"""The request that a job or a schedule makes, as options: what is sent, and what becomes of it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

from fliqd.cli.fields import Field, RawJson, refuse


def duration(text: str) -> object:
    """Return a number where it is one: the API takes `"90s"` or 90, not `"90"`."""
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def pairs(lines: Sequence[str], separator: str, option: str, expected: str) -> dict[str, str]:
    """Return the names and values that are given a pair at a time."""
    found: dict[str, str] = {}
    for line in lines:
        name, parted, value = line.partition(separator)
        if separator == ":":
            name, value = name.strip(), value.strip()
        if not parted or not name:
            refuse(option, f"expected {expected}")
        if name in found:
            refuse(option, f"{name!r} comes twice")
        found[name] = value
    return found


def _headers(lines: Sequence[str]) -> dict[str, str]:
    return pairs(lines, ":", "--header", "'Name: value'")


def _webhook_headers(lines: Sequence[str]) -> dict[str, str]:
    return pairs(lines, ":", "--webhook-header", "'Name: value'")


def _query(lines: Sequence[str]) -> dict[str, str]:
    return pairs(lines, "=", "--query", "name=value")


def _backoff(text: str) -> object:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as err:
        refuse("--backoff", f"is not JSON: {err}", err)


def _statuses(words: Sequence[str]) -> list[int | str]:
    return [int(word) if word.isascii() and word.isdigit() else word for word in words]


def _body(text: str) -> str:
    return _content(text, "--data")


def _json(text: str) -> RawJson:
    content = _content(text, "--json")
    try:
        json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        refuse("--json", f"is not JSON: {err}", err)
    return RawJson(content.strip())


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
        refuse(option, f"{name} cannot be read: {err.strerror}", err)
    except UnicodeDecodeError as err:
        refuse(option, f"{name} is not UTF-8 text, and a body is", err)


REQUEST: Final = (
    Field(
        "--method",
        "http_method",
        {
            "type": click.Choice(["GET", "POST", "PUT", "PATCH", "DELETE"], case_sensitive=False),
            "metavar": "METHOD",
            "help": "GET, POST (the default), PUT, PATCH or DELETE.",
        },
    ),
    Field(
        "--header",
        "headers",
        {"multiple": True, "metavar": "'NAME: VALUE'", "help": "Sent along; may come again."},
        _headers,
        short="-H",
    ),
    Field(
        "--query",
        "query",
        {"multiple": True, "metavar": "NAME=VALUE", "help": "Added to the URL; may come again."},
        _query,
    ),
    Field(
        "--data",
        "body",
        {"metavar": "TEXT", "help": "The body; @FILE or @- (stdin) reads it from there."},
        _body,
        short="-d",
        is_emptied=False,
    ),
    Field(
        "--json",
        "json",
        {"metavar": "JSON", "help": "The body as JSON; @FILE or @- reads it from there."},
        _json,
        is_emptied=False,
    ),
    Field(
        "--max-retries", "max_retries", {"type": int, "metavar": "N", "help": "Further attempts after a failed one."}
    ),
    Field(
        "--backoff",
        "backoff",
        {
            "metavar": "KIND",
            "help": 'exponential, linear, fixed, or an object such as {"kind": "table", "delays": ["5s", "1m"]}.',
        },
        _backoff,
    ),
    Field("--timeout", "timeout_seconds", {"metavar": "D", "help": "How long an attempt may take."}, duration),
    Field("--queue", "queue", {"metavar": "NAME", "help": "The lane it goes through."}),
    Field("--description", "description", {"metavar": "TEXT", "help": "What you want to remember of it."}),
    Field("--tag", "tags", {"multiple": True, "metavar": "TAG", "help": "To find it by; may come again."}, list),
    Field(
        "--on-interrupt",
        "on_interrupt",
        {"type": click.Choice(["retry", "fail"]), "help": "What to do when the daemon dies during an attempt."},
    ),
    Field(
        "--success-status",
        "success_statuses",
        {"multiple": True, "metavar": "STATUS", "help": "What counts as success, such as 2xx or 409; may come again."},
        _statuses,
    ),
    Field("--webhook-url", "webhook_url", {"metavar": "URL", "help": "Is told when it ends."}),
    Field(
        "--webhook-header",
        "webhook_headers",
        {"multiple": True, "metavar": "'NAME: VALUE'", "help": "Sent along to that; may come again."},
        _webhook_headers,
    ),
    Field(
        "--webhook-event",
        "webhook_events",
        {
            "multiple": True,
            "type": click.Choice(["awaiting_approval", "started", "retrying", "completed", "failed", "cancelled"]),
            "metavar": "EVENT",
            "help": "What it is told of: awaiting_approval, started, retrying, completed, failed or cancelled; may come"
            " again. The last three unless given.",
        },
        list,
    ),
    Field("--callback-url", "callback_url", {"metavar": "URL", "help": "Gets what the target answered."}),
    Field(
        "--requires-approval/--no-approval",
        "requires_approval",
        {"default": None, "help": "Whether it waits for `fliqd jobs approve`; not unless given."},
    ),
    Field(
        "--dynamic-fields",
        "dynamic_fields",
        {
            "metavar": "HOW",
            "help": "Fill $job, $state and $previous into the JSON: `replace` where they stand, or `inject` them too.",
        },
    ),
)
