"""`fliqd config init`: a file to begin with."""

import os
from importlib import resources
from pathlib import Path
from typing import Final

import click

from fliqd.cli.errors import ConflictingError
from fliqd.cli.output import example, say, write
from fliqd.errors import FliqdError

STARTER: Final = "starter.toml"
DEFAULT: Final = "fliqd.toml"  # the first that `fliqd serve` looks for, root's daemon included
LOCALTIME: Final = Path("/etc/localtime")


@click.command("init", epilog=example("fliqd config init", "fliqd config init /etc/fliqd/config.toml"))
@click.argument("file", required=False)
def command(file: str | None) -> None:
    """Write a commented configuration to begin with, and print its path; a file that is there stays (5).

    Without FILE: $FLIQD_CONFIG, else ./fliqd.toml, which `fliqd serve` reads when it is started here.
    """
    path = Path(file or os.environ.get("FLIQD_CONFIG") or DEFAULT)
    text = resources.files("fliqd.cli").joinpath(STARTER).read_text(encoding="utf-8")
    text = text.replace('timezone = "Europe/Berlin"', f'timezone = "{_local_zone()}"')
    if path.exists():
        raise ConflictingError(f"{path} is there already, and stays as it is; name another file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as err:
        raise FliqdError(f"{path} cannot be written: {err.strerror}") from err
    write(f"{path}\n")
    check, serve = (f" {file}", f" --config {file}") if file else ("", "")
    say(f"Next: edit it, then `fliqd config check{check}`, then `fliqd serve{serve}`.")


def _local_zone() -> str:
    """Return this machine's zone by its name, UTC where it does not tell."""
    from fliqd.core import zones  # noqa: PLC0415 -- not needed for help

    told = os.environ.get("TZ", "").removeprefix(":")
    linked = str(LOCALTIME.resolve()).rpartition("/zoneinfo/")[2]
    return next((name for name in (told, linked) if name in zones.names()), "UTC")
