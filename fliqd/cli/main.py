"""The program's commands, and how each of its ends looks: a line on stderr and an exit code."""

import io
import os
import sys
from typing import Any, Final

import click

from fliqd import __version__
from fliqd.cli.groups import LazyGroup
from fliqd.errors import FliqdError

# command: (module, what it does)
COMMANDS: Final = {
    "serve": ("fliqd.cli.serve", "Run the daemon in the foreground."),
    "status": ("fliqd.cli.status", "Show how the daemon is."),
    "doctor": ("fliqd.cli.doctor", "Say what is wrong around the daemon, and what to do."),
    "jobs": ("fliqd.cli.jobs", "Create, read and change jobs."),
    "schedules": ("fliqd.cli.schedules", "Create, read and change schedules."),
    "alerts": ("fliqd.cli.alerts", "Say who is told when jobs fail."),
    "webhooks": ("fliqd.cli.webhooks", "Look at what was told of jobs."),
    "buffers": ("fliqd.cli.buffers", "Create, read and change buffers, and their items."),
    "push": ("fliqd.cli.push", "Push items into a buffer."),
    "queues": ("fliqd.cli.queues", "Limit the jobs that carry a queue's name."),
    "tokens": ("fliqd.cli.tokens", "Create, list and revoke API tokens."),
    "signing-secret": ("fliqd.cli.signing_secret", "Show or rotate the secret that requests are signed with."),
    "events": ("fliqd.cli.events", "Tell what happens, as it happens."),
    "stats": ("fliqd.cli.stats", "Show what executions came to."),
    "cron": ("fliqd.cli.cron", "Explain a cron expression, and show its next runs."),
    "config": ("fliqd.cli.config", "Begin, check, compare, apply and show the configuration."),
    "backup": ("fliqd.cli.backup", "Write everything into one file, while the daemon runs; or verify one."),
    "restore": ("fliqd.cli.restore", "Put a backup back."),
    "upgrade-check": ("fliqd.cli.upgrade_check", "Say what this version would do to the store and the configuration."),
    "export": ("fliqd.cli.export_file", "Write what there is as lines of JSON."),
    "import": ("fliqd.cli.import_file", "Make what an export holds again."),
    "completion": ("fliqd.cli.completion", "Print the completion script of a shell."),
}
INTERRUPTED: Final = 130  # what a shell makes of SIGINT
PIPE_CLOSED: Final = 141  # and of SIGPIPE


class Program(LazyGroup):
    """The outermost group: whatever a command raises on purpose ends here."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Begin; the program has one name, also as `python -m fliqd`."""
        return super().make_context("fliqd" if info_name else info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error that fliqd raised is one line, or one a problem, and an exit code."""
        if sys.stdout is None:
            sys.stdout = io.StringIO()  # closed by the caller, with `>&-`
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # not every terminal knows every character
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except FliqdError as err:
            from fliqd.cli.errors import lines_of  # noqa: PLC0415 -- only now
            from fliqd.cli.output import say  # noqa: PLC0415 -- likewise

            _finish()  # what was found comes before what was wrong
            for line in lines_of(err):
                say(f"fliqd: {line}")
            sys.exit(err.exit_code)
        except BrokenPipeError:
            sys.exit(PIPE_CLOSED)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        finally:
            _finish()
        return result


def _finish() -> None:
    """Write what stdout still holds; where that cannot be done, let it go, or Python complains at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=Program, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fliqd", message="%(prog)s %(version)s")
def cli() -> None:
    """Call HTTP endpoints on time.

    fliqd serve runs the daemon; the other commands talk to it.
    """
