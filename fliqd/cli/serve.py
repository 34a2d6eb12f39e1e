"""`fliqd serve`: run the daemon."""

import asyncio
import os
import sys

import click

from fliqd import config as configuration
from fliqd import logs


@click.command("serve")
@click.option("--config", "file", metavar="FILE", help="The TOML file to read; see `fliqd config check`.")
def command(file: str | None) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C.

    Without --config: $FLIQD_CONFIG, else ./fliqd.toml, else ~/.config/fliqd/config.toml, else
    /etc/fliqd/config.toml, else all defaults.
    """
    config = configuration.load(file, os.environ)
    logs.configure(config.settings.log.level, config.settings.log.format)
    from fliqd.daemon import serve  # noqa: PLC0415 -- a wrong configuration is told before the heavy imports

    error = asyncio.run(serve(config))
    if error is not None:
        click.echo(f"fliqd: {error}", err=True)
        sys.stderr.flush()
        # The store's threads may hang in a failed disk; the process must not wait for them.
        os._exit(error.exit_code)
