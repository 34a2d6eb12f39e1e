"""`fliqd config diff` and `apply`: what a reload would change, and the reload."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.errors import RefusedError
from fliqd.cli.output import TABLE, clean, example, is_for_people, say, show_document, with_output, write
from fliqd.errors import ConfigError, FliqdError

MARKS: Final = {
    "created": ("+", "green"),
    "updated": ("~", "yellow"),
    "deleted": ("-", "red"),
    "missed": ("!", "yellow"),
}
WIDEST: Final = 60  # of a value, in characters


@click.command("diff", epilog=example("fliqd config diff", "fliqd config diff fliqd.toml || fliqd config apply"))
@click.argument("file", required=False)
@with_client
@with_output
def diff(client: Client, file: str | None, output: str) -> None:
    """Say what a reload would change: of the daemon's file, or of FILE in its place. Exits with 1 if anything would.

    References such as ${env:NAME} are looked up by the daemon.
    """
    body = None if file is None else json.dumps({"config": _text(Path(file))}).encode()
    document = _asked(client, "/config/diff", body)
    _show(document, output, "nothing would change", file)
    if any(document[what] for what in MARKS):
        raise click.exceptions.Exit(1)


@click.command("apply", epilog=example("fliqd config apply"))
@with_client
@with_output
def apply(client: Client, output: str) -> None:
    """Have the daemon read its file again and make it so: all of it, or nothing. SIGHUP does the same."""
    _show(_asked(client, "/config/reload", None), output, "nothing has changed")


def _asked(client: Client, path: str, body: bytes | None) -> dict[str, Any]:
    try:
        document: dict[str, Any] = client.call("POST", path, body, expects="restart_needed").document
    except RefusedError as err:
        if err.code == "invalid_config" and err.problems:
            raise ConfigError(err.problems) from err
        raise
    return document


def _show(document: dict[str, Any], output: str, nothing: str, file: str | None = None) -> None:
    if output != TABLE:
        show_document(document, output)
        return
    lines = [line for what in MARKS for entry in document[what] for line in _lines(what, entry)]
    for line in lines:
        write(f"{line}\n")
    if not lines:
        count, declares = document["unchanged"], f"as {file or document['file'] or 'the file'} declares"
        say(f"{nothing}: 1 entry is {declares} it" if count == 1 else f"{nothing}: {count} entries are {declares} them")
    for note in document["notes"]:
        say(f"note: {note}")
    if document["restart_needed"]:
        say(f"note: these settings take effect at the next start: {', '.join(document['restart_needed'])}")


def _lines(what: str, entry: dict[str, Any]) -> Iterator[str]:
    mark, colour = MARKS[what]
    words = f"{mark} {entry['kind']} {clean(str(entry['name']))}"
    if what == "missed":
        words += "  (its time was past already when it was first seen: it does not run)"
    yield _painted(words, colour)
    for field, change in entry.get("changes", {}).items():
        yield f"    {field}: {_value(change['from'])} -> {_value(change['to'])}"


def _painted(text: str, colour: str) -> str:
    plain = not is_for_people() or os.environ.get("NO_COLOR")
    return text if plain else click.style(text, fg=colour)


def _value(value: object) -> str:
    text = clean(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        why = getattr(err, "strerror", None) or err
        raise FliqdError(f"{file} cannot be read: {why}; name the right one, or put it back") from err
