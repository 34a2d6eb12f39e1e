"""BullMQ on a Redis of its own, reached over a Unix socket."""

from collections.abc import Sequence
from typing import ClassVar

from peers.system import PROGRAMS, Peer


class BullMQ(Peer):
    """A worker process and Redis with its append-only file, as its documentation recommends: synced each second."""

    name = "BullMQ, Redis everysec"
    needs: ClassVar[Sequence[str]] = ("python", "node", "redis-server")
    client = "`queue.add` of one Node.js process"
    kill_9 = "all that was acknowledged; what was under way after its lock has run out, 30 to 60 s"
    power_cut = "all but about the last second (`appendfsync everysec`)"
    fsync: ClassVar[str] = "everysec"

    def launch(self) -> None:
        socket = self.state / "redis.sock"
        self.server(
            self.kit.commands["redis-server"], "--port", "0", "--unixsocket", socket, "--dir", self.state,
            "--appendonly", "yes", "--appendfsync", self.fsync, "--save", "", "--maxmemory-policy", "noeviction",
            ready=("test", "-S", str(socket)),
        )  # fmt: skip
        env = {"PEERS_NODE_MODULES": str(self.kit.node_modules)}
        host = PROGRAMS / "bullmq_host.mjs"
        self.part(self.kit.node, host, "worker", socket, env=env)
        self.connect(self.kit.node, host, "client", socket, env=env)


class BullMQAlways(BullMQ):
    """The same, synced before each answer: what an acknowledged job means elsewhere."""

    name = "BullMQ, Redis always"
    power_cut = "all that was acknowledged (`appendfsync always`)"
    fsync = "always"
