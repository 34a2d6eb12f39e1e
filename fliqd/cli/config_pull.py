"""`fliqd config pull`: the schedules that were made over the API, as the configuration file declares them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import example, say, write
from fliqd.errors import FliqdError

MASK: Final = "***"
MOST_LEVELS: Final = 90  # of JSON; the file may have a few more
# What a file says of a schedule, in the order in which a person reads it; with the value that goes without saying.
FIELDS: Final[tuple[tuple[str, object], ...]] = (
    ("name", None), ("description", None), ("cron", None), ("every", None), ("timezone", None),
    ("dst", {"gap": "after", "overlap": "first"}), ("starts_at", None), ("ends_at", None), ("max_runs", None),
    ("jitter", None), ("misfire", "latest"), ("misfire_grace", "1m"), ("overlap", "queue"), ("paused", False),
    ("url", None), ("http_method", "POST"), ("query", {}), ("headers", {}), ("body", None), ("json", None),
    ("max_retries", None), ("backoff", None), ("timeout_seconds", None), ("queue", "default"), ("tags", []),
    ("on_interrupt", "retry"), ("success_statuses", ["2xx"]), ("webhook_url", None), ("webhook_headers", {}),
    ("webhook_events", ["completed", "failed", "cancelled"]), ("callback_url", None),
)  # fmt: skip


@click.command("pull", epilog=example("fliqd config pull >> fliqd.toml && fliqd config apply"))
@with_client
def command(client: Client) -> None:
    """Print the schedules that were made over the API as TOML, ready to paste into the configuration file.

    Once they stand there, a reload takes them over by their names, with id, history and next run.
    """
    import tomli_w  # noqa: PLC0415 -- not needed for help

    entries = [entry(schedule) for schedule in _made_over_the_api(client)]
    if not entries:
        say("No schedule was made over the API: there is nothing to pull.")
        return
    write(tomli_w.dumps({"schedules": list(reversed(entries))}))


def entry(schedule: dict[str, Any]) -> dict[str, Any]:
    """Return what the file says of a schedule; its texts are literal, so what looks like a reference is escaped."""
    if MASK in (*schedule["headers"].values(), *schedule["webhook_headers"].values()):
        raise FliqdError("this token may not see the values of secret headers: use one with the scope write")
    said = {name: schedule[name] for name, usual in FIELDS if schedule[name] not in (None, usual)}
    if "json" in said and _is_beyond_toml(said["json"]):
        # It has no null, integers of 64 bits, and a file has a depth: the same value as a text.
        said["body"] = json.dumps(said.pop("json"), ensure_ascii=False)
        if not any(name.lower() == "content-type" for name in schedule["headers"]):
            said["headers"] = {**schedule["headers"], "Content-Type": "application/json"}
    if isinstance(said.get("backoff"), dict):
        said["backoff"] = {key: value for key, value in said["backoff"].items() if value is not None}
    for name in ("starts_at", "ends_at"):
        if name in said:
            said[name] = datetime.fromisoformat(said[name])
    return {name: _literal(value) for name, value in said.items()}


def _made_over_the_api(client: Client) -> Iterator[dict[str, Any]]:
    query = {"source": "api", "limit": "100"}
    while True:
        page = client.get("/schedules", query, expects="schedules")
        yield from page["schedules"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def _literal(value: Any) -> Any:
    from fliqd.core.references import escape  # noqa: PLC0415 -- not needed for help

    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {key: _literal(part) for key, part in value.items()}
    return [_literal(part) for part in value] if isinstance(value, list) else value


def _is_beyond_toml(value: Any, levels: int = MOST_LEVELS) -> bool:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return not levels or any(_is_beyond_toml(part, levels - 1) for part in parts)
    return value is None or (isinstance(value, int) and value.bit_length() >= 64)  # noqa: PLR2004 - those of TOML
