"""The daemon, if it runs, and the store that it has or would have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fliqd import __version__
from fliqd.doctor.finding import Finding, Subject, note, ok, warning, wrong
from fliqd.errors import FliqdError, StoreUnusableError
from fliqd.store.sqlite import copies, files, schema
from fliqd.store.sqlite.lock import holder

REFUSED: Final = "mend it as it says: a daemon does not start on it, or ends when it comes to the fault"


def service(subject: Subject) -> Iterator[Finding]:
    status = subject.status
    path = subject.config.store_path.resolve()
    if status is None and (pid := holder(path)) is not None:
        yield wrong(
            "daemon",
            f"process {pid} serves {path}, and its status could not be had: {subject.no_status}",
            "see its log; one that hangs ends by itself within two minutes, for its service manager to start it again",
        )
    elif status is None:
        yield warning("daemon", subject.no_status, "start it (systemctl start fliqd), and see its log if it does not")
    elif status.get("status") != "ok":
        yield wrong("daemon", f"it is failing: {status.get('problem') or 'see its log'}", "mend that; see its log")
    elif status.get("version") != __version__:
        yield warning("daemon", f"it is {status.get('version')}, and this program {__version__}", "restart the daemon")
    else:
        yield ok("daemon", f"{__version__} answers, pid {status.get('pid')}")
    served = None if status is None else (status.get("store") or {}).get("path")
    if served is not None and Path(served).resolve() != path:
        yield warning(
            "store",
            f"the daemon serves {served}, and by this configuration it would be {path}",
            "give its configuration with --config, and its state directory with $STATE_DIRECTORY",
        )
    elif not copies.is_there(path):
        yield _no_store(path, subject.config.state_dir / files.MARKER)
    else:
        yield _store(path, subject.config.state_dir / files.MARKER)


def _no_store(path: Path, marker: Path) -> Finding:
    try:
        files.refuse_lost(path, marker)
    except StoreUnusableError as err:
        return wrong("store", str(err), REFUSED)
    return note("store", f"there is none at {path} yet; the daemon makes it")


def _store(path: Path, marker: Path) -> Finding:
    try:
        facts = copies.check(path, lambda *_: None, in_use=True)
        files.refuse_other(path, marker, facts.store_id)
    except StoreUnusableError as err:
        return wrong("store", str(err), REFUSED)
    except FliqdError as err:
        return wrong("store", str(err), "run as the daemon's user, or mend what keeps it from being read")
    if facts.schema > schema.newest():
        return wrong(
            "store",
            f"{path} has schema {facts.schema}, and this fliqd knows {schema.newest()}",
            "install the version again that wrote it, or go back with `fliqd restore`",
        )
    if facts.schema < schema.newest():
        return note("store", f"{path} has schema {facts.schema} and will be upgraded", "see `fliqd upgrade-check`")
    return ok("store", f"{path} is whole: {facts.jobs} jobs, {facts.waiting} wait")
