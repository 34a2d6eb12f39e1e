"""`fliqd backup`: everything in one file, or whether such a file is still what was written. Asks no daemon."""

import os
from pathlib import Path

import click

from fliqd.cli.output import TABLE, example, show_document, show_pairs, with_output
from fliqd.cli.progress import shown
from fliqd.core.sizes import format_size


@click.command(
    "backup",
    epilog=example(
        "fliqd backup /mnt/nas/fliqd.backup --force",
        "fliqd backup --verify /mnt/nas/fliqd.backup",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Read FILE instead, and say whether it is whole.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--config", metavar="FILE", help="The daemon's configuration, to find the store by.")
@with_output
def command(*, file: Path, verify: bool, force: bool, config: str | None, output: str) -> None:
    """Write the store and its key files into FILE, whether the daemon runs or not.

    FILE is a tar with mode 0600: what it holds may call the API and sign requests, so keep it as you keep passwords.
    The configuration is not in it. It is read back and checked before it gets its name; a backup that is cut off
    leaves nothing under that name. Run it as the daemon's user or as root. `fliqd restore` brings it back.
    """
    if verify and force:
        raise click.UsageError("--verify writes nothing: leave --force out")
    from fliqd import backup as backups  # noqa: PLC0415 -- help needs none of these
    from fliqd import config as configuration  # noqa: PLC0415 -- likewise

    with shown() as progress:
        if verify:
            manifest = backups.verify(file, progress)
        else:
            manifest = backups.make(configuration.load(config, os.environ), file, force=force, progress=progress)
    size = file.stat().st_size
    facts = manifest.store
    if output != TABLE:
        show_document(
            {
                "file": str(file),
                "bytes": size,
                "made_at": manifest.made_at,
                "fliqd": manifest.fliqd,
                "schema": facts.schema,
                "jobs": facts.jobs,
                "waiting": facts.waiting,
                "files": manifest.names,
            },
            output,
        )
        return
    show_pairs(
        [
            ("whole" if verify else "backup", f"{file} ({format_size(size)})"),
            ("made", f"{manifest.made_at} by fliqd {manifest.fliqd}, schema {facts.schema}"),
            ("jobs", f"{facts.jobs}, of which {facts.waiting} wait"),
            ("holds", ", ".join(manifest.names)),
        ]
    )
