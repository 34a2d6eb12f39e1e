"""The power fails, and what was written since the last sync is gone, or half of it.

The program runs on a disk that keeps a diary of every write, sync and change of a name (`disk.c`, preloaded). From the
diary the files are made that a power cut could leave at any point of it: of what was not synced nothing survives, or
everything, or what came first, or any of the writes, or any sectors of them. Such an image must hold all that had been
acknowledged up to that point, and all attempts and webhooks whose requests had reached anybody. With the durability
`normal`, whose commits wait for no sync, that is not so: of a run of seconds most is gone, which also shows that this
disk loses what it may. Some images are lived in: the daemon is started on one, the client goes on, and both ledgers
must agree in the end. Backups and restores are cut off at points of theirs, and right after they said that they are
done.
"""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from fliqd.errors import StoreUnusableError
from fliqd.store.sqlite import files
from tests.prove.disk import SURVIVALS, Disk
from tests.prove.ledgers import Client, a_client
from tests.prove.proof import Proof
from tests.support import process

KEYS = ("admin.token", "token.key", "signing.secret")
SYNC_S = 0.002


async def a_life(disk: Disk, **env: str) -> Client:
    """Use a daemon on that disk from its first start to its stop; return the client with its facts."""
    disk.slow_syncs(SYNC_S)
    async with a_client(disk.under, **disk.env, **env) as client:
        client.now = lambda: disk.position
        await client.start()
        for name in KEYS:
            client.know("file", name)
        await client.use_all("a")
        await client.check()
        assert await client.fliqd.kill(signal.SIGTERM) == 0
        return client


def missing_from(image: Path, facts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those facts that a store does not know, once it has been found whole."""
    files.prepare(image / "fliqd.db", image / "store.marker")
    with sqlite3.connect(image / "fliqd.db") as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        jobs = {row[0]: row[1:] for row in plain.execute("SELECT id, status, url, executions FROM job")}
        told = dict(plain.execute("SELECT id, attempts FROM outbox"))
        others = {row[0] for name in ("buffer", "schedule", "token") for row in plain.execute(f"SELECT id FROM {name}")}  # noqa: S608
    plain.close()

    def known(what: str, which: str) -> bool:
        which, _, number = which.partition(" ")
        match what:
            case "job":
                return which in jobs
            case "cancelled":
                return which in jobs and str(jobs[which][0]) == "cancelled"
            case "changed":
                return which in jobs and str(jobs[which][1]).endswith("/flaky")
            case "attempt":
                return which in jobs and int(jobs[which][2]) >= int(number)
            case "webhook":
                return int(told.get(which, 0)) >= int(number)
            case "file":
                return (image / which).exists() and (image / which).stat().st_size > 0
            case "secret":
                return which in (image / "signing.secret").read_text()
            case _:
                return which in others

    return [fact for fact in facts if not known(*fact)]


def test_the_disk_loses_what_was_not_synced(proof: Proof, library: Path, tmp_path: Path) -> None:
    """A file, its name and its second content, each with a sync of its own."""
    disk = Disk(library, tmp_path / "disk")
    script = """
import os, sys
def sync(path):
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
path = os.path.join(sys.argv[1], "a")
with open(path, "w") as a: a.write("one")
sync(path); sync(sys.argv[1])
with open(path, "r+") as a: a.write("two")
os.rename(path, path + "b")
"""
    subprocess.run([sys.executable, "-c", script, str(disk.under)], env=os.environ | disk.env, check=True)
    assert (disk.under / "ab").read_text() == "two"
    images = {}
    for survival in SURVIVALS[:2]:
        image = tmp_path / survival
        disk.history().image(disk.position, image, proof.chance, survival)
        images[survival] = {file.name: file.read_text() for file in image.iterdir()}
        proof.saw(images=1)
    assert images == {"nothing": {"a": "one"}, "everything": {"ab": "two"}}


async def test_nothing_acknowledged_is_gone(proof: Proof, library: Path, tmp_path: Path) -> None:
    disk = Disk(library, tmp_path / "state")
    client = await a_life(disk)
    history = disk.history()
    points = [entry.end for entry in history.entries]
    proof.saw(points=len(points), images=0, facts=len(client.facts), facts_checked=0, gone=0)
    tries = [(point, survival) for point in points for survival in SURVIVALS]
    for point, survival in proof.chance.sample(tries, proof.times(short=30, long=2_000)):
        facts = [(what, which) for when, what, which in client.facts if when <= point]
        image = tmp_path / "image"
        history.image(point, image, proof.chance, survival)
        missing = await asyncio.to_thread(missing_from, image, facts)
        assert missing == [], f"gone at {point} of {points[-1]} with {survival} left: {missing}"
        shutil.rmtree(image)
        proof.saw(images=1, facts_checked=len(facts))


async def test_without_full_durability_what_no_sync_has_kept_goes(proof: Proof, library: Path, tmp_path: Path) -> None:
    """Which also shows that this disk does lose what is not synced."""
    disk = Disk(library, tmp_path / "state")
    client = await a_life(disk, FLIQD_STORE__DURABILITY="normal")
    history = disk.history()
    points = [entry.end for entry in history.entries]
    proof.saw(images=0, facts_checked=0, gone=0)
    for point in proof.chance.sample(points, proof.times(short=10, long=400)):
        facts = [(what, which) for when, what, which in client.facts if when <= point]
        image = tmp_path / "image"
        history.image(point, image, proof.chance, "nothing")
        missing = await asyncio.to_thread(missing_from, image, facts)
        assert not {what for what, _ in missing} & {"file", "secret"}
        shutil.rmtree(image)
        proof.saw(images=1, facts_checked=len(facts), gone=len(missing))
    assert int(proof.figures["gone"]) > 0


async def test_life_goes_on_after_a_power_cut(proof: Proof, library: Path, tmp_path: Path) -> None:
    for number in range(proof.times(short=1, long=60)):
        disk = Disk(library, tmp_path / f"{number}" / "state")
        cuts, repeats = await lives_through(disk, proof.chance)
        proof.saw(cuts=cuts, requests_repeated=repeats, lost=0)
        shutil.rmtree(disk.under.parent)


async def lives_through(disk: Disk, chance: random.Random) -> tuple[int, int]:
    """Use a daemon whose power fails once; return how often it did, and how many requests were repeated for it."""
    disk.slow_syncs(SYNC_S)
    async with a_client(disk.under, **disk.env) as client:

        def cut(code: int) -> None:
            assert code == -signal.SIGKILL, client.fliqd.said[-5:]
            disk.cut_at(0)
            disk.power_cut(chance, chance.choice(SURVIVALS))

        client.on_end = cut
        disk.cut_at(chance.randrange(100, 1_200_000))
        await client.start()
        await client.use_all("a")
        disk.cut_at(0)
        return len(client.ends), await client.check()


async def run(disk: Disk, state: Path, *args: str) -> int:
    env = os.environ | disk.env | {"STATE_DIRECTORY": str(state)}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fliqd", *args, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await program.communicate()
    assert program.returncode == 0, said.decode()
    return disk.position


async def a_state(state: Path, *names: str) -> None:
    async with process(state) as fliqd:
        await fliqd.start()
        for name in names:
            await fliqd.create(url="http://127.0.0.1:9/", delay="1h", name=name)
        await fliqd.kill(signal.SIGTERM)


async def test_a_backup_that_was_told_of_is_there(proof: Proof, library: Path, tmp_path: Path) -> None:
    """Cut off before, there is no file of that name, or the old one, or the whole new one."""
    await a_state(tmp_path / "state", "one")
    disk = Disk(library, tmp_path / "backups")
    backup = disk.under / "b"
    done = [await run(disk, tmp_path / "state", "backup", str(backup))]
    first = backup.read_bytes()
    await a_state(tmp_path / "state", "two")
    done.append(await run(disk, tmp_path / "state", "backup", "--force", str(backup)))
    contents = [None, first, backup.read_bytes()]
    history = disk.history()
    points = [entry.end for entry in history.entries]
    for point in [*done, *proof.chance.choices(points, k=proof.times(short=10, long=500))]:
        image = tmp_path / "image"
        history.image(point, image, proof.chance, proof.chance.choice(SURVIVALS))
        found = (image / "b").read_bytes() if (image / "b").exists() else None
        assert found in contents[sum(point >= end for end in done) :], point
        shutil.rmtree(image)
        proof.saw(images=1)


async def test_a_restore_that_was_told_of_is_there(proof: Proof, library: Path, tmp_path: Path) -> None:
    """Cut off before, a start finds the old jobs, or the new ones, or refuses."""
    await a_state(tmp_path / "old", "old")
    await a_state(tmp_path / "new", "new")
    assert await run(Disk(library, tmp_path / "none"), tmp_path / "new", "backup", str(tmp_path / "b")) == 0
    disk = Disk(library, tmp_path / "state")
    shutil.copytree(tmp_path / "old", disk.under, dirs_exist_ok=True)
    disk.begin()
    done = await run(disk, disk.under, "restore", str(tmp_path / "b"))
    history = disk.history()
    points = [entry.end for entry in history.entries if entry.end > disk.began]
    for point in [done, *proof.chance.choices(points, k=proof.times(short=10, long=500))]:
        image = tmp_path / "image"
        history.image(point, image, proof.chance, proof.chance.choice(SURVIVALS))
        found = found_by_a_start(image)
        assert found in ({"new"} if point >= done else {"old", "new", "refused"}), (point, found)
        for name in KEYS:
            assert (image / name).exists() or found == "refused"
        shutil.rmtree(image)
        proof.saw(**{"images": 1, found: 1})


def found_by_a_start(state: Path) -> str:
    """Return the name of the job that a daemon would find, "refused" where it would not start."""
    try:
        files.prepare(state / "fliqd.db", state / "store.marker")
    except StoreUnusableError:
        return "refused"
    with sqlite3.connect(state / "fliqd.db") as plain:
        [[name]] = plain.execute("SELECT name FROM job").fetchall()
    plain.close()
    return str(name)
