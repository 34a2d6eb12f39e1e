"""The libraries that keep their jobs in an SQLite file: huey and APScheduler."""

from collections.abc import Sequence
from typing import ClassVar

from peers.system import PROGRAMS, Peer


class Huey(Peer):
    """Its consumer with 32 threads, and `fsync` on."""

    name = "huey, SQLite"
    needs: ClassVar[Sequence[str]] = ("python",)
    client = "`task.schedule` from threads of one process"
    kill_9 = "what waits; what was under way is lost, since a task leaves the file before it runs"
    power_cut = "the same (`fsync=True`)"
    settle_s = 80.0  # its threads look less and less often, down to every ten seconds

    def launch(self) -> None:
        program = (self.kit.python, PROGRAMS / "huey_host.py")
        file = self.state / "huey.db"
        self.part(*program, "worker", file)
        self.connect(*program, "client", file)


class APScheduler(Peer):
    """A background scheduler with 32 threads; whoever adds jobs has to be in its process."""

    name = "APScheduler, SQLite"
    in_process = True
    needs: ClassVar[Sequence[str]] = ("python",)
    client = "`scheduler.add_job` from threads of the scheduler's own process"
    kill_9 = "what waits; all that was due and not yet run is lost, since a job leaves the file when it is queued"
    power_cut = "the same (WAL, `synchronous=FULL`)"

    def launch(self) -> None:
        self.connect(self.kit.python, PROGRAMS / "apscheduler_host.py", self.state / "jobs.db")
        self._roots.append(self.driver.pid)
