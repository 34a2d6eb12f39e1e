"""A daemon that has nothing to do does nothing: it waits by timer, and what waits costs nothing.

On a disk that counts calls (`disk.c`, preloaded), without jobs and with a thousand of them and ten schedules an hour
ahead: not one write and not one sync. How often any thread of it wakes is the kernel's count; a watchdog of its own
looks about once a second, and nothing else may.
"""

import asyncio
from pathlib import Path

import pytest

from tests.prove.disk import Disk
from tests.prove.proof import Proof
from tests.support import process

SETTLED_S = 2.0  # after the last write: its checkpoint, the token's use, the first look of the janitor
PER_S = 2.0


def wakeups(pid: int) -> int:
    """Return how often the threads of a process went to sleep, which is how often they were woken."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text(encoding="utf-8").splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
    return found


@pytest.mark.parametrize("waiting", [0, 1000])
async def test_nothing_to_do(proof: Proof, library: Path, tmp_path: Path, waiting: int) -> None:
    disk = Disk(library, tmp_path / "state")
    seconds = proof.times(short=3, long=120)
    async with process(disk.under, **disk.env) as fliqd:
        await fliqd.start()
        if waiting:
            jobs = [{"url": "http://127.0.0.1:9/", "delay": "1h"}] * waiting
            assert (await fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})).status == 200
            for number in range(10):
                schedule = {
                    "name": f"s{number}",
                    "url": "http://127.0.0.1:9/",
                    "every": "1h",
                    "starts_at": "2099-01-01T00:00:00Z",
                }
                assert (await fliqd("POST", "/v1/schedules", schedule)).status == 201
        await fliqd.close()
        assert fliqd.process is not None
        await asyncio.sleep(SETTLED_S)
        writes, syncs = disk.calls("write"), disk.calls("sync")
        woken = wakeups(fliqd.process.pid)
        await asyncio.sleep(seconds)
        woken = wakeups(fliqd.process.pid) - woken
        writes, syncs = disk.calls("write") - writes, disk.calls("sync") - syncs
        assert (writes, syncs) == (0, 0)
        assert woken <= PER_S * (seconds + 2), woken
    proof.saw(daemons=1, jobs_that_wait=waiting, seconds=seconds, writes=writes, syncs=syncs, **{"times woken": woken})
