"""The disk is full, read-only, slow, or fails, from any call on, and then it is well again.

A run that nobody disturbs counts the writes, syncs and reads (`disk.c`, preloaded). Then fresh daemons meet a fault at
one of them: no room from there on, at each in turn; and where chance picks, no permission to write, one write, sync or
read that fails, or all writes or syncs from there on. Full, the daemon answers 503 and goes on once there is room;
where it cannot even start, it ends with 74 and says why. A failure ends it with 74 (a read that fails is a damage to
SQLite: 65), and after a sync that failed the power is cut as well: what that sync was for is not on disk, so nothing of
it may have been acknowledged, then or after a second try. Each is used, mended, started again and asked on, as the
crash points are, and both ledgers must agree.
"""

import asyncio
import errno
from pathlib import Path

import pytest

from tests.prove.disk import NEVER, Disk
from tests.prove.ledgers import a_client
from tests.prove.proof import Proof
from tests.support import process

AT_ONCE = 3
FAULTS = {
    "no room": ("write", errno.ENOSPC, NEVER),
    "read-only": ("write", errno.EROFS, NEVER),
    "a write fails": ("write", errno.EIO, 1),
    "writes fail": ("write", errno.EIO, NEVER),
    "a sync fails": ("sync", errno.EIO, 1),
    "syncs fail": ("sync", errno.EIO, NEVER),
    "a read fails": ("read", errno.EIO, 1),
}


async def lives_with(disk: Disk, proof: Proof, fault: str, number: int) -> None:
    """Use a daemon whose disk has that fault from its nth call on."""
    kind, why, times = FAULTS[fault]
    disk.fail(kind, why, first=number, until=number + times)
    async with a_client(disk.under, **disk.env) as client:
        ready = False

        def ended(code: int) -> None:
            # To SQLite a read that fails is a damage.
            assert code == 74 or (code, kind) == (65, "read"), (code, client.fliqd.said[-5:])
            said = client.fliqd.said[-1]
            assert said.startswith("fliqd: "), said
            assert not (ready and why == errno.ENOSPC), f"a full disk ended it: {said}"
            if kind == "sync":
                disk.power_cut(proof.chance, "nothing")
            disk.mend()

        client.on_end = ended
        client.on_refused = lambda _answer: disk.mend() if len(client.refused) >= 3 else None
        await client.start()
        ready = True
        await client.use_all("a")
        disk.mend()
        repeats = await client.check()
        assert {answer.code for answer in client.refused} <= {
            "disk_full", "store_io", "store_unusable", "shutting_down"
        }  # fmt: skip
        proof.saw(faults=1, not_met=int(not disk.failed), calls_failed=disk.failed, answers_503=len(client.refused))
        for code in client.ends:
            proof.saw(**{f"ended_with_{code}": 1})
        proof.saw(requests_repeated=repeats, lost=0)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_at_any_call(proof: Proof, library: Path, tmp_path: Path, fault: str) -> None:
    well = Disk(library, tmp_path / "well" / "state")
    async with a_client(well.under, **well.env) as client:
        await client.start()
        await client.use_all("a")
        await client.check()
    calls = well.calls(FAULTS[fault][0])
    proof.saw(calls_that_may_fail=calls)
    tries = list(range(1, calls + 1))
    if (few := proof.times(short=1, long=calls if fault == "no room" else 25)) < len(tries):
        tries = proof.chance.sample(tries, few)
    waiting = iter(tries)

    async def one_after_the_other() -> None:
        for number in waiting:
            disk = Disk(library, tmp_path / str(number) / "state")
            try:
                await lives_with(disk, proof, fault, number)
            except BaseException as err:
                err.add_note(f"{fault}: call {number} of {calls}")
                raise

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())


async def test_an_acknowledgement_waits_for_a_slow_disk(proof: Proof, library: Path, tmp_path: Path) -> None:
    """Each create is answered after a sync that began after it, however long that takes; reads go on meanwhile."""
    disk = Disk(library, tmp_path / "state")
    async with process(disk.under, **disk.env) as fliqd:
        await fliqd.start()
        disk.slow_syncs(0.1)
        for number in range(proof.times(short=5, long=100)):
            synced = disk.calls("sync")
            creating = asyncio.create_task(fliqd.create(url="http://127.0.0.1:9/", delay="1h"))
            while not creating.done():
                assert (await fliqd("GET", "/v1/jobs?limit=1")).status == 200
                proof.saw(reads_meanwhile=1)
            assert disk.calls("sync") > synced, number
            await creating
            proof.saw(creates=1)
