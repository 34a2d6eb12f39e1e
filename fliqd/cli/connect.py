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

TOKEN_FILE: Final = "admin.token"  # noqa: S105 -- the name of the file
WRONG_TOKEN: Final = "check --token or $FLIQD_TOKEN"  # noqa: S105 -- a message
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
            "--token", envvar="FLIQD_TOKEN", metavar="TOKEN", help="[$FLIQD_TOKEN] Else that of the token file."
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
    given = _given_place(url) if url else None
    sent = _checked(token, "--token / $FLIQD_TOKEN") if token else None
    if given is not None and sent is not None:
        return Client(given, sent, WRONG_TOKEN)  # the configuration has nothing to add, and takes time to read
    from fliqd import config as configuration  # noqa: PLC0415 -- as just said

    needs_token = True
    place = given
    if place is None:
        settings = configuration.load_settings(file, os.environ)
        place = place_of(settings.server.listen[0].url, settings.server.tls_cert)
        needs_token = settings.auth.mode == "token"
    if sent is not None:
        return Client(place, sent, WRONG_TOKEN)
    if not needs_token:
        return Client(place, None)
    if given is not None and not given.is_local:
        # The token of this machine's daemon is nobody else's business.
        return Client(place, None, "give that daemon's token with $FLIQD_TOKEN")
    return _with_token_file(place, configuration.state_dir(os.environ) / TOKEN_FILE)


def place_of(listen_url: str, certificate: str = "") -> Place:
    """Return how to reach what listens there, with which certificate if it speaks https."""
    place = parse_place(listen_url)
    if place.socket:
        return place
    if not place.port:
        raise click.UsageError(
            "server.listen picks a free port by itself, which only the daemon's log tells: give --url"
        )
    host = _ANY.get(place.host, place.host)
    scheme = "https" if certificate else "http"
    shown = f"[{host}]" if ":" in host else host
    return replace(parse_place(f"{scheme}://{shown}:{place.port}"), certificate=certificate)


def _given_place(url: str) -> Place:
    try:
        return parse_place(url)
    except ValueError as err:
        raise click.BadParameter(str(err), param_hint="--url / $FLIQD_URL") from err


def _with_token_file(place: Place, file: Path) -> Client:
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return Client(
            place,
            None,
            f"there is no {file} to take one from: give it with $FLIQD_TOKEN; if it is lost, make that file empty"
            " and restart fliqd",
        )
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
