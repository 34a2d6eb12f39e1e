"""`fliqd export`: what the daemon has, as lines of JSON that `fliqd import` takes."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from fliqd.cli.client import Client
from fliqd.cli.connect import with_client
from fliqd.cli.output import example, say
from fliqd.errors import FliqdError


@click.command(
    "export",
    epilog=example("fliqd export jobs.jsonl --force", "fliqd export --status failed | jq -r '.job.url // empty'"),
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["scheduled", "running", "success", "failed", "cancelled"]),
    help="Jobs in this state alone; may come again.",
)
@click.option("--executions", is_flag=True, help="The attempts at each job, too; takes a call for each.")
@click.option("--masked", is_flag=True, help="Be content with what a token sees that may only read.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@with_client
def command(
    *, client: Client, file: Path | None, statuses: tuple[str, ...], executions: bool, masked: bool, force: bool
) -> None:
    """Write queues, buffers with what waits in them, and jobs as lines of JSON, into FILE or to stdout.

    For moving jobs to another daemon, or for other programs; to get everything back as it was there is `fliqd backup`.
    FILE has mode 0600 and is there once all of it is; headers with secrets are in it.
    """
    from fliqd.cli.exporting import Export  # noqa: PLC0415 -- help needs none of it

    with _sink(file, force=force) as write:
        export = Export(client, write, details=executions, masked=masked)
        export.run(statuses)
    say(f"exported {', '.join(f'{count} {many}' for many, count in export.counts.items())}")


@contextmanager
def _sink(file: Path | None, *, force: bool) -> Iterator[Callable[[bytes], None]]:
    """Yield what writes a line; a file gets its name when it is whole."""
    if file is None:
        yield _to_stdout
        return
    if os.path.lexists(file) and not (force and (file.is_file() or file.is_symlink())):
        raise FliqdError(f"{file} exists: name another file" + ("" if force else ", or replace it with --force"))
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            yield lambda line: _write(stream.write, line)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as err:
        raise FliqdError(f"{file} cannot be written: {err.strerror}") from err
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _to_stdout(line: bytes) -> None:
    _write(sys.stdout.buffer.write, line)


def _write(write: Callable[[bytes], int], line: bytes) -> None:
    try:
        write(line)
    except BrokenPipeError:
        raise
    except OSError as err:
        raise FliqdError(f"the export cannot be written: {err.strerror}") from err
