"""All examinations, one after the other; one that fails is a finding, and stops no other."""

from collections.abc import Callable, Iterator
from typing import Final

from fliqd.doctor.clock import clock
from fliqd.doctor.disk import disk
from fliqd.doctor.finding import Finding, Subject, wrong
from fliqd.doctor.network import network
from fliqd.doctor.permissions import permissions
from fliqd.doctor.process import process
from fliqd.doctor.service import service
from fliqd.doctor.versions import versions

Examination = Callable[[Subject], Iterator[Finding]]
EXAMINATIONS: Final[tuple[Examination, ...]] = (
    service, versions, clock, disk, permissions, network, process,
)  # fmt: skip


def examine(subject: Subject) -> Iterator[Finding]:
    """Yield all findings."""
    for look in EXAMINATIONS:
        try:
            yield from look(subject)
        except OSError as err:
            yield wrong(look.__name__, f"could not be looked at: {err}", "run as root or as the daemon's user")
