"""`fliqd serve`: run the daemon."""

import contextlib
import os
import sys
import traceback

import click

from fliqd.cli.output import example
from fliqd.errors import FliqdError


@click.command("serve", epilog=example("fliqd serve --config /etc/fliqd/config.toml"))
@click.option("--config", "file", metavar="FILE", help="The TOML file to read; see `fliqd config check`.")
def command(file: str | None) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C.

    Without --config: $FLIQD_CONFIG, else ./fliqd.toml, else ~/.config/fliqd/config.toml, else
    /etc/fliqd/config.toml, else all defaults.
    """
    from fliqd import config as configuration  # noqa: PLC0415 -- help needs none of these

    config = configuration.load(file, os.environ)
    # structlog takes in rich where it finds it, for tracebacks that are never shown: 3 MB of a daemon's memory.
    sys.modules["rich"] = None  # type: ignore[assignment]  # "not to be found", as the import system has it
    import asyncio  # noqa: PLC0415 -- a wrong configuration is told before the heavy imports

    from fliqd import logs, loop  # noqa: PLC0415 -- likewise
    from fliqd.daemon import serve  # noqa: PLC0415 -- likewise

    logs.configure(config.settings.log.level, config.settings.log.format)
    try:
        with asyncio.Runner(loop_factory=loop.factory()) as runner:
            error = runner.run(serve(config))
    except FliqdError:
        raise
    except Exception:  # noqa: BLE001 -- whatever it is, it ends here
        with contextlib.suppress(OSError):
            traceback.print_exc()
        os._exit(FliqdError.exit_code)  # a thread of the store must not keep a process that is dead
    if error is not None:
        with contextlib.suppress(OSError):  # nobody may be listening any more
            click.echo(f"fliqd: {error}", err=True)
            sys.stderr.flush()
        # The store's threads may hang in a failed disk; the process must not wait for them.
        os._exit(error.exit_code)
