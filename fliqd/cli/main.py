"""The commands, each imported when it is called."""

import importlib
import sys
from typing import Any, Final

import click

from fliqd import __version__
from fliqd.errors import ConfigError, FliqdError

# command: (module, what it does)
COMMANDS: Final = {
    "serve": ("fliqd.cli.serve", "Run the daemon in the foreground."),
    "status": ("fliqd.cli.status", "Show how the daemon is."),
    "jobs": ("fliqd.cli.jobs", "Create, read and change jobs."),
    "config": ("fliqd.cli.config", "Check the configuration."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that help stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error that fliqd raised is one line, or one a problem, and an exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as err:
            for problem in err.problems:
                click.echo(f"fliqd: {problem}", err=True)
            sys.exit(err.exit_code)
        except FliqdError as err:
            click.echo(f"fliqd: {err}", err=True)
            sys.exit(err.exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fliqd", message="%(prog)s %(version)s")
def cli() -> None:
    """Call HTTP endpoints on time.

    fliqd serve runs the daemon; the other commands talk to it.
    """
