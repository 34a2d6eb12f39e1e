"""Backups while things go on, and when they go wrong: under load, killed half-way, on a disk that fills."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from fliqd import config as configuration
from fliqd.errors import StoreUnusableError
from fliqd.restore import restore
from fliqd.store.sqlite import files
from tests.support import FliqdProcess, Target, process, until

MIB = 1024 * 1024


def command(state: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"STATE_DIRECTORY": str(state)}
    return subprocess.run(
        [sys.executable, "-m", "fliqd", *args], env=env, capture_output=True, check=False, encoding="utf-8"
    )


async def begin(state: Path, *args: str) -> asyncio.subprocess.Process:
    env = os.environ | {"STATE_DIRECTORY": str(state)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fliqd", *args, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


def fatten(state: Path, size: int) -> None:
    """Have a stopped store take so much room."""
    with sqlite3.connect(state / "fliqd.db") as plain:
        noise = random.Random(1).randbytes(MIB)
        for number in range(size // MIB):
            plain.execute("INSERT INTO meta VALUES (?, ?)", (f"fat {number}", noise.hex()[:MIB]))
    plain.close()


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state directory with some 60 MiB of store and a job in it, at rest."""
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        await fliqd.create(url="http://127.0.0.1:9/", delay="1h")
        await fliqd.kill(signal.SIGTERM)
    fatten(tmp_path / "state", 60 * MIB)
    return tmp_path / "state"


async def test_a_backup_under_load_holds_all_that_was_acknowledged(tmp_path: Path, target: Target) -> None:
    """Booted elsewhere it has every job whose 201 came before it began, and sends what was due."""
    acknowledged: list[str] = []
    enough = asyncio.Event()
    stop = asyncio.Event()

    async def create(fliqd: FliqdProcess) -> None:
        while not stop.is_set():
            acknowledged.append((await fliqd.create(url="http://127.0.0.1:9/", delay="1h", body="x" * 2_000))["id"])
            if len(acknowledged) >= 400:
                enough.set()

    async with process(tmp_path / "here") as fliqd:
        await fliqd.start()
        due = await fliqd.create(url=target.url, delay="1h")
        creators = [asyncio.create_task(create(fliqd)) for _ in range(8)]
        await enough.wait()
        before = list(acknowledged)
        backing_up = await begin(tmp_path / "here", "backup", str(tmp_path / "b"))
        _, said = await backing_up.communicate()
        assert backing_up.returncode == 0, said
        meanwhile = len(acknowledged) - len(before)
        stop.set()
        await asyncio.gather(*creators)
    assert meanwhile > 0, "the load stood still"

    assert command(tmp_path / "there", "restore", str(tmp_path / "b")).returncode == 0
    async with process(tmp_path / "there") as fliqd:
        await fliqd.start()
        for job_id in before:
            assert (await fliqd.job(job_id))["status"] == "scheduled"
        await fliqd("POST", f"/v1/jobs/{due['id']}/run")
        await fliqd.until(due["id"], "success")
    # It is a copy of one that a daemon had, and lacks nothing.
    assert not [event for event in fliqd.log if event["event"] == "store.log_missing"]


@pytest.mark.parametrize("stage", ["fliqd.db", "backup.tar"])
async def test_a_backup_that_is_killed_leaves_nothing_under_its_name(state: Path, tmp_path: Path, stage: str) -> None:
    backup = tmp_path / "b"
    part = tmp_path / ".b.part" / stage
    backing_up = await begin(state, "backup", str(backup))

    async def half_done() -> bool | None:
        return (part.exists() and part.stat().st_size > MIB) or None

    await until(half_done, f"a {stage} that grows")
    backing_up.kill()
    await backing_up.communicate()
    assert not backup.exists()
    assert command(state, "backup", str(backup)).returncode == 0
    assert not part.parent.exists()
    assert command(state, "backup", "--verify", str(backup)).returncode == 0


async def test_ctrl_c_cleans_up(state: Path, tmp_path: Path) -> None:
    backup = tmp_path / "b"
    part = tmp_path / ".b.part" / "fliqd.db"
    backing_up = await begin(state, "backup", str(backup))

    async def begun() -> bool | None:
        return (part.exists() and part.stat().st_size > MIB) or None

    await until(begun, "a copy that grows")
    backing_up.send_signal(signal.SIGINT)
    _, said = await backing_up.communicate()
    assert (backing_up.returncode, said) == (130, b"")
    assert not backup.exists()
    assert not part.parent.exists()


async def test_a_restore_that_is_killed_is_not_started_on(state: Path, tmp_path: Path) -> None:
    """Killed while it reads, all is as before; and whatever it came to, restoring again ends well."""
    backup = tmp_path / "b"
    assert command(state, "backup", str(backup)).returncode == 0
    before = (state / "fliqd.db").read_bytes()
    restoring = await begin(state, "restore", str(backup))
    part = state / ".restore.part" / "fliqd.db"

    async def half_done() -> bool | None:
        return (part.exists() and part.stat().st_size > MIB) or None

    await until(half_done, "a store that comes back")
    restoring.kill()
    await restoring.communicate()
    assert (state / "fliqd.db").read_bytes() == before
    (state / "fliqd.db").rename(state / "gone")  # where it would stand a moment later
    assert command(state, "serve").returncode == 65
    assert command(state, "restore", str(backup)).returncode == 0
    async with process(state) as fliqd:
        await fliqd.start()
        assert len((await fliqd("GET", "/v1/jobs")).body["jobs"]) == 1


# A restore that is killed before the one of its renames that the first argument numbers.
KILLED_AT = """
import os, signal, sys
from pathlib import Path
from fliqd import config, restore
left = int(sys.argv[1])
def until_killed(change):
    def wrapper(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*args, **kwargs)
    return wrapper
Path.replace, Path.mkdir = until_killed(Path.replace), until_killed(Path.mkdir)
restore.restore(config.defaults(os.environ), Path(sys.argv[2]), lambda *_: None)
"""


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


async def test_a_restore_may_die_at_any_step(tmp_path: Path) -> None:
    """Then there are the old jobs, or the new ones, or a daemon does not start; and restoring again ends well."""
    for name in ("old", "new"):
        async with process(tmp_path / name) as fliqd:
            await fliqd.start()
            await fliqd.create(url="http://127.0.0.1:9/", delay="1h", name=name)
    backup = tmp_path / "b"
    assert command(tmp_path / "new", "backup", str(backup)).returncode == 0
    ends: list[str] = []
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        state = shutil.copytree(tmp_path / "old", tmp_path / f"died-{len(ends)}")  # killed: its log of writes is there
        env = os.environ | {"STATE_DIRECTORY": str(state)}
        killed = [sys.executable, "-c", KILLED_AT, str(len(ends) + 1), str(backup)]
        code = subprocess.run(killed, env=env, check=False).returncode  # noqa: ASYNC221 -- nothing else goes on
        ends.append(found_by_a_start(state))
        restore(configuration.defaults(env), backup, lambda *_: None)
        assert found_by_a_start(state) == "new"
    assert code == 0
    # In this order, whatever the number of steps is.
    assert [end for end, _ in groupby(ends)] == ["old", "refused", "new"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MiB: room for the store, not for twice of it."""
    mount = tmp_path / "disk"
    mount.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=100m,mode=700", "tmpfs", str(mount)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mounting, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)  # noqa: S607 -- wherever it is


async def test_a_disk_without_room_is_told_before(state: Path, small_disk: Path) -> None:
    refused = command(state, "backup", str(small_disk / "b"))
    assert refused.returncode == 74
    assert "there is no room" in refused.stderr
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("stage", ["fliqd.db", "backup.tar"])
async def test_a_disk_that_fills_meanwhile_leaves_the_old_backup(tmp_path: Path, small_disk: Path, stage: str) -> None:
    """What was there stays, and the room is given back."""
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        await fliqd.kill(signal.SIGTERM)
    fatten(tmp_path / "state", 30 * MIB)
    backup = small_disk / "b"
    backup.write_text("the one of yesterday")
    backing_up = await begin(tmp_path / "state", "backup", "--force", str(backup))
    part = small_disk / ".b.part" / stage

    async def begun() -> bool | None:
        return (part.exists() and part.stat().st_size > 0) or None

    await until(begun, f"a {stage} that grows")
    backing_up.send_signal(signal.SIGSTOP)
    try:
        with (small_disk / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(MIB))
                ballast.flush()
    except OSError:
        backing_up.send_signal(signal.SIGCONT)
    _, said = await backing_up.communicate()
    assert backing_up.returncode == 74, said
    assert len(said.splitlines()) == 1
    assert backup.read_text() == "the one of yesterday"
    assert sorted(file.name for file in small_disk.iterdir()) == ["b", "ballast"]


async def test_a_store_is_not_upgraded_without_room_for_its_copy(small_disk: Path) -> None:
    """It stays as it was, and so does the room."""
    state = small_disk / "state"
    async with process(state) as fliqd:
        await fliqd.start()
        await fliqd.kill(signal.SIGTERM)
    fatten(state, 60 * MIB)
    before = sorted(file.name for file in state.iterdir())
    upgrade = (
        "from fliqd.store.sqlite import schema; known = schema.migrations();"
        "schema.migrations = lambda: [*known, (known[-1][0] + 1, 'CREATE TABLE more (x TEXT) STRICT')];"
        "import sys; sys.argv = ['fliqd', 'serve']; from fliqd.__main__ import main; main()"
    )
    env = os.environ | {"STATE_DIRECTORY": str(state), "FLIQD_SERVER__LISTEN": "127.0.0.1:0"}
    ended = subprocess.run(  # noqa: ASYNC221 -- nothing else goes on
        [sys.executable, "-c", upgrade], env=env, capture_output=True, check=False, encoding="utf-8"
    )
    assert ended.returncode == 74
    assert "was not upgraded, and is as it was" in ended.stderr
    assert "fliqd upgrade-check" in ended.stderr
    assert sorted(file.name for file in state.iterdir()) == before
    async with process(state) as fliqd:
        await fliqd.start()
