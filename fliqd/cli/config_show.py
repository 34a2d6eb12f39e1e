"""`fliqd config show`: every setting as it stands, and where it comes from; secrets masked."""

import json
import os
from collections.abc import Iterable

import click

from fliqd.cli.connect import connect
from fliqd.cli.output import TABLE, example, show_document, show_table, with_output


@click.command("show", epilog=example("fliqd config show", "fliqd config show --running", "fliqd config show -o json"))
@click.argument("file", required=False)
@click.option("--config", "named", metavar="FILE", help="The same as FILE, as `fliqd serve` takes it.")
@click.option("--running", is_flag=True, help="What the running daemon goes by, in place of what one would go by.")
@click.option("--url", envvar="FLIQD_URL", metavar="URL", help="[$FLIQD_URL] With --running: where the daemon is.")
@click.option("--token", envvar="FLIQD_TOKEN", metavar="TOKEN", help="[$FLIQD_TOKEN] With --running: its token.")
@with_output
def command(
    *, file: str | None, named: str | None, running: bool, url: str | None, token: str | None, output: str
) -> None:
    """Show every setting, its value and where that comes from: the default, the file or the environment.

    References are shown as they are written, secrets not at all.
    """
    if file and named and file != named:
        raise click.UsageError("give FILE or --config, not both")
    if running:
        document = connect(url, token, file or named).get("/config", expects="settings")
        found = [
            (f"{section}.{key}", setting["value"], setting["origin"])
            for section, keys in document["settings"].items()
            for key, setting in keys.items()
        ]
    else:
        from fliqd import config as configuration  # noqa: PLC0415 -- not needed for help

        config = configuration.load(file or named, os.environ)
        found = [(shown.key, shown.value, shown.origin) for shown in config.shown]
        document = {
            "file": config.file and str(config.file),
            "settings": _nested(found),
            "schedules": [entry.schedule.name for entry in config.declared.schedules],
            "jobs": [job.name for job in config.declared.jobs],
        }
    if output != TABLE:
        show_document(document, output)
        return
    show_table(("setting", "value", "from"), [(key, json.dumps(value), origin) for key, value, origin in found])


def _nested(found: Iterable[tuple[str, object, str]]) -> dict[str, dict[str, object]]:
    nested: dict[str, dict[str, object]] = {}
    for name, value, origin in found:
        section, _, key = name.partition(".")
        nested.setdefault(section, {})[key] = {"value": value, "origin": origin}
    return nested
