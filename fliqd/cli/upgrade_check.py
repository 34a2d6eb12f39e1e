"""`fliqd upgrade-check`: what the version that runs this would do. Asks no daemon, changes nothing."""

import os
from typing import TYPE_CHECKING

import click

from fliqd import __version__
from fliqd.cli.output import TABLE, example, say, show_document, show_pairs, with_output
from fliqd.core.sizes import format_size

if TYPE_CHECKING:
    from fliqd.upgrade import Check

EX_DATAERR, EX_CONFIG = 65, 78


@click.command("upgrade-check", epilog=example("fliqd upgrade-check --config /etc/fliqd/config.toml"))
@click.option("--config", metavar="FILE", help="The daemon's configuration.")
@with_output
def command(config: str | None, output: str) -> None:
    """Say what this version would do to the store and the configuration that are there.

    Run it with the new version before the old one is replaced; the daemon may go on meanwhile. It tells the steps of
    the schema, the copy that is set aside first, the room that takes, and keys of the configuration that it does not
    know. Exits with 0 if the upgrade will do, 1 if there is no room, 65 if the store is newer, 78 if the configuration
    would be refused.
    """
    from fliqd import upgrade  # noqa: PLC0415 -- help needs none of it

    found = upgrade.check(config, os.environ)
    if output == TABLE:
        show_pairs(_sides(found))
        for problem in found.problems:
            say(f"fliqd: {problem}")
    else:
        show_document(
            {
                "ok": not found.problems,
                "version": __version__,
                "store": found.store if found.exists else None,
                "schema": {"has": found.schema, "knows": found.newest},
                "steps": [{"number": step.number, "about": step.about} for step in found.steps],
                "copy": found.copy,
                "copy_bytes": found.copy_bytes,
                "needs_bytes": found.needs_bytes,
                "free_bytes": found.free_bytes,
                "problems": list(found.problems),
            },
            output,
        )
    if found.is_newer:
        raise SystemExit(EX_DATAERR)
    if found.problems:
        raise SystemExit(EX_CONFIG if found.problems[0].startswith("configuration") else 1)


def _sides(found: "Check") -> list[tuple[str, str]]:
    if not found.exists:
        return [("fliqd", __version__), ("store", f"none at {found.store}: one will be made")]
    sides = [
        ("fliqd", __version__),
        ("store", f"{found.store}, schema {found.schema}; this fliqd knows {found.newest}"),
    ]
    if not found.steps:
        return [*sides, ("upgrade", "refused" if found.is_newer else "nothing to do: it is opened as it is")]
    sides += [(f"step {step.number}", step.about) for step in found.steps]
    return [
        *sides,
        ("set aside", f"{found.copy} ({format_size(found.copy_bytes)}) first"),
        ("room", f"up to {format_size(found.needs_bytes)} is taken, {format_size(found.free_bytes)} are free"),
        ("way back", f"stop fliqd, install the version before, fliqd restore {found.copy}"),
    ]
