"""`fliqd restore`: a backup put back while no daemon runs; what was there is set aside."""

import os
from pathlib import Path

import click

from fliqd.cli.output import TABLE, example, say, show_document, show_pairs, with_output
from fliqd.cli.progress import shown


@click.command("restore", epilog=example("fliqd restore /mnt/nas/fliqd.backup"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--config", metavar="FILE", help="The daemon's configuration, to find the store's place by.")
@with_output
def command(file: Path, config: str | None, output: str) -> None:
    """Put back the store and the key files of a backup; stop the daemon first.

    FILE is read and checked before anything changes. What was there is set aside in a folder, not deleted. A bare
    store will do as well, such as the copy that was set aside before an upgrade; then the key files stay as they are.
    """
    from fliqd import config as configuration  # noqa: PLC0415 -- help needs none of these
    from fliqd import restore as restoring  # noqa: PLC0415 -- likewise

    with shown() as progress:
        restored = restoring.restore(configuration.load(config, os.environ), file, progress)
    facts = restored.facts
    if output != TABLE:
        show_document(
            {
                "store": restored.store,
                "schema": facts.schema,
                "jobs": facts.jobs,
                "waiting": facts.waiting,
                "due": facts.due,
                "keys": list(restored.keys),
                "made_at": restored.made_at,
                "set_aside": list(restored.set_aside),
            },
            output,
        )
        return
    show_pairs(
        [
            ("restored", restored.store),
            ("made", restored.made_at or "a bare store, which does not say"),
            ("jobs", f"{facts.jobs}, of which {facts.waiting} wait, {facts.due} of them due by now"),
            ("keys", ", ".join(restored.keys) or "none in it; those that are there stay"),
            ("set aside", ", ".join(restored.set_aside) or "nothing was there"),
        ]
    )
    say(
        "Next: start the daemon (systemctl start fliqd). Jobs that were due meanwhile leave at once, those that ran"
        " after the backup was made again."
    )
