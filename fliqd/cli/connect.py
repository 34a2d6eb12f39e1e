"""Which daemon a command talks to, and with which token: options, environment, configuration, in this order."""

import functools
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from fliqd.cli.client import Client
from fliqd.cli.errors import NotAllowedError
from fliqd.cli.places import Place, parse_place
from fliqd.settings import Listen

TOKEN_FILE: Final = "admin.token"  # noqa: S105 -- the name of the file
_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- where it listens to all, we come by loopback


def with_client(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where the daemon is; it is called with `client`."""

    @functools.wraps(function)
    def run(*, daemon: str | None, token: str | None, config: str | None, **given: Any) -> None:
        function(client=connect(daemon, token, config), **given)

    for option in (
        click.option("--config", metavar="FILE", help="The daemon's configuration, to find it by."),
        click.option(
            "--token", envvar="FLIQD_TOKEN", metavar="TOKEN", help="[$FLIQD_TOKEN] Else the daemon's token file is read."
        ),
        click.option(
            "--url", "daemon", envvar="FLIQD_URL", metavar="URL",
            help="[$FLIQD_URL] Where the daemon is: http(s)://… or unix:/path; else the configuration says it.",
        ),
    ):  # fmt: skip
        run = option(run)
    return run


def connect(url: str | None, token: str | None, file: str | None) -> Client:
    """Return the client for what was given; raise ConfigError, NotAllowedError or click's usage error."""
    from fliqd import config as configuration  # noqa: PLC0415 -- not needed to show a command's help

    needs_token = True
    if url:
        try:
            place = parse_place(url)
        except ValueError as err:
            raise click.BadParameter(str(err), param_hint="--url / $FLIQD_URL") from err
    else:
        settings = configuration.load(file, os.environ).settings
        place = place_of(settings.server.listen[0])
        needs_token = settings.auth.mode == "token"
    if token:
        return Client(place, _checked(token, "--token / $FLIQD_TOKEN"), "check --token or $FLIQD_TOKEN")
    if not needs_token:
        return Client(place, None)
    if not place.is_local and url:
        # The token of this machine's daemon is nobody else's business.
        return Client(place, None, "give its token with $FLIQD_TOKEN")
    return _with_token_file(place, configuration.state_dir(os.environ) / TOKEN_FILE)


def place_of(listen: Listen) -> Place:
    """Return how to reach what listens there."""
    if listen.path:
        return parse_place(listen.url)
    if not listen.port:
        raise click.UsageError(
            "server.listen picks a free port by itself, so only the daemon's log knows it: give --url"
        )
    return parse_place(replace(listen, host=_ANY.get(listen.host, listen.host)).url)


def _with_token_file(place: Place, file: Path) -> Client:
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return Client(place, None, f"there is no {file} to take one from: give it with $FLIQD_TOKEN")
    except OSError as err:
        raise NotAllowedError(
            f"the token file {file} cannot be read ({err.strerror}): run as the daemon's user, or set $FLIQD_TOKEN"
        ) from err
    return Client(
        place, _checked(text, str(file)), f"the token in {file} is not this daemon's: give it with $FLIQD_TOKEN"
    )


def _checked(text: str, where: str) -> str:
    """Return a token that can go into a header."""
    if not _TOKEN.fullmatch(text.strip()):
        raise NotAllowedError(f"what {where} holds is not a token")
    return text.strip()
