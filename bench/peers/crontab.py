"""cron and curl: a line a job, to the minute, in a mount namespace where the machine's own tables are not seen."""

import os
import shlex
import time
from collections.abc import Sequence
from typing import ClassVar

import jobs
from harness import MeasurementError

from peers.system import Enqueued, Peer

HIDE = """
mount --bind "$1" /var/spool/cron/crontabs && mount -t tmpfs none /etc/cron.d && mount -t tmpfs none /run &&
mount --bind /dev/null /etc/crontab && exec "$2" -f
"""
MINUTE_MS = 60_000


class Crontab(Peer):
    """Debian's cron: no queue, no limit, no record, no second try."""

    name = "cron and curl"
    needs: ClassVar[Sequence[str]] = ("cron", "curl")
    client = "none: one edits a file"
    kill_9 = "the table; what was under way or fell due while it was down is lost"
    power_cut = "the same"
    most = 500  # it starts them all at once
    to_the_minute = True

    def launch(self) -> None:
        if os.getuid():
            raise MeasurementError("cron's tables can be replaced by root only")
        tables = self.state / "crontabs"
        tables.mkdir(exist_ok=True)
        unshare = ("unshare", "--mount", "--propagation", "private")
        command = ("sh", "-c", HIDE, "sh", str(tables), self.kit.commands["cron"])
        self.server(*unshare, *command, ready=("true",))

    def enqueue(self, clients: int, seconds: float, url: str, due_ms: int) -> Enqueued:
        raise NotImplementedError

    def fill(self, url: str, name: str, count: int, due_ms: int, step_ms: int) -> list[str]:  # noqa: ARG002
        """Write the table; all its lines are of one minute."""
        due = time.localtime(due_ms / 1000)
        when = f"{due.tm_min} {due.tm_hour} {due.tm_mday} {due.tm_mon} *"
        ids = [f"{name}-{number}" for number in range(count)]
        headers = "-H 'Content-Type: application/json' -H 'X-Tenant: acme' -H 'X-Source: bench'"
        body = shlex.quote(jobs.BODY.decode())
        common = f"{self.kit.commands['curl']} -sS -m 30 --retry 3 -o /dev/null {headers} -d {body} {url}"
        lines = [f"{when} {common} -H 'X-Fliq-Delivery-Id: {delivery_id}'\n" for delivery_id in ids]
        table = self.state / "crontabs/root"
        table.touch(mode=0o600)
        table.write_text("".join(lines), encoding="ascii")
        # It looks at the time of the folder and the file, to the second.
        os.utime(table.parent)
        return ids

    def done(self, total: int) -> bool:  # noqa: ARG002 -- it records nothing
        return True
