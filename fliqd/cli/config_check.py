"""`fliqd config check`: would the daemon take this configuration? Asks no daemon."""

import os

import click

from fliqd.cli.output import TABLE, example, show_document, with_output, write
from fliqd.errors import ConfigError


@click.command("check", epilog=example("fliqd config check /etc/fliqd/config.toml && systemctl restart fliqd"))
@click.argument("file", required=False)
@click.option("--config", "named", metavar="FILE", help="The same as FILE, as `fliqd serve` takes it.")
@with_output
def command(file: str | None, named: str | None, output: str) -> None:
    """Say everything that is wrong with a configuration, a line each; exit with 78 if anything is.

    Without FILE, the one that `fliqd serve` would read. Overrides in the environment are checked with it.
    """
    if file and named and file != named:
        raise click.UsageError("give FILE or --config, not both")
    from fliqd import config as configuration  # noqa: PLC0415 -- not needed for help

    try:
        config = configuration.load(file or named, os.environ)
    except ConfigError as err:
        if output != TABLE:
            read = configuration.find(file or named, os.environ)
            problems = [{"field": problem.field, "problem": problem.problem} for problem in err.problems]
            show_document({"ok": False, "file": read and str(read), "problems": problems}, output)
        raise
    found, declared = config.file, config.declared
    if output != TABLE:
        show_document({"ok": True, "file": found and str(found), "problems": []}, output)
    elif found is None:
        write("no configuration file was found, which is fine: all defaults\n")
    else:
        counts = (f"{len(some)} {word}{'s' * (len(some) != 1)}" for word, some in
                  (("schedule", declared.schedules), ("job", declared.jobs), ("alert", declared.channels))
                  if some or word != "alert")  # fmt: skip
        write(f"{found} is fine ({', '.join(counts)})\n")
