"""The store's files are damaged while no daemon runs, and one is started on them.

Cut at any length, emptied, removed, with a bit changed, pages blank or exchanged, or noise in their place: in the
file of a store at rest, and in the log of writes of one whose daemon was killed. Then all of the API is read, and
what was due is let go. Each time one of these must be so: the daemon does not start, having changed nothing, or ends
when it comes to the damage or to the end of its check of all of the store, with its documented code and a message
that says the way out; or it serves all the jobs there were, or said of a list or a job that it cannot be read. With
the log harmed it may serve less, but only what had been there at some moment: each part of it vouches for the one
before, so that whatever follows the harm counts for nothing. Where it is gone, the start says so. (A
bit that is changed within a text is nothing that SQLite, or fliqd, could notice; and rows that belong elsewhere may
be such that a loop dies of them: then it ends with 1, and says which.)
"""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.prove.ledgers import PATIENCE_S, a_client
from tests.prove.proof import Proof
from tests.support import FliqdProcess, Target, process, until

JOBS: Final = 120
PAGE: Final = 4096
AT_ONCE: Final = 3
WAYS_OUT: Final = ("fliqd restore", "set store.path", "delete ", "see its permissions")
Harm = Callable[[Path, random.Random], None]


def cut(file: Path, chance: random.Random) -> None:
    os.truncate(file, chance.randrange(1, file.stat().st_size))


def cut_whole_pages(file: Path, chance: random.Random) -> None:
    os.truncate(file, PAGE * chance.randrange(1, file.stat().st_size // PAGE))


def empty(file: Path, chance: random.Random) -> None:
    os.truncate(file, 0)


def remove(file: Path, chance: random.Random) -> None:
    file.unlink()


def flip(file: Path, chance: random.Random) -> None:
    with file.open("r+b") as opened:
        at = chance.randrange(file.stat().st_size)
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ (1 << chance.randrange(8))]))


def flip_in_the_first_page(file: Path, chance: random.Random) -> None:
    at = chance.randrange(PAGE)
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def blank_a_page(file: Path, chance: random.Random) -> None:
    with file.open("r+b") as opened:
        opened.seek(PAGE * chance.randrange(file.stat().st_size // PAGE))
        opened.write(bytes(PAGE))


def exchange_pages(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    one, other = (PAGE * number for number in chance.sample(range(len(content) // PAGE), 2))
    content[one : one + PAGE], content[other : other + PAGE] = (
        content[other : other + PAGE],
        content[one : one + PAGE],
    )
    file.write_bytes(content)


def noise(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = chance.randrange(len(content))
    size = min(len(content) - at, chance.randrange(1, 3 * PAGE))
    content[at : at + size] = chance.randbytes(size)
    file.write_bytes(content)


HARMS: Final[dict[str, Harm]] = {
    harm.__name__: harm
    for harm in (
        cut, cut_whole_pages, empty, remove, flip, flip_in_the_first_page, blank_a_page, exchange_pages, noise
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """State directories with a lived-in store: at rest, and killed, with most of it in the log of writes."""
    folder = tmp_path_factory.mktemp("stores")

    async def live() -> None:
        async with a_client(folder / "killed") as client:
            await client.start()
            await client.use_all("a")
            await client.check()
            await client.fliqd("PUT", "/v1/queues/due", {"paused": True})
            jobs = [
                {"url": "http://127.0.0.1:9/", "body": f"{number} " * 300, "tags": [f"{number}"]}
                | ({"delay": "1h"} if number % 2 else {"delay": 0, "queue": "due"})
                for number in range(JOBS)
            ]
            await client.fliqd("POST", "/v1/jobs/batch", {"jobs": jobs})
            await client.fliqd.kill()
        shutil.copytree(folder / "killed", folder / "at rest")
        async with process(folder / "at rest") as fliqd:
            await fliqd.start()
            await fliqd.kill(signal.SIGTERM)

    asyncio.run(live())
    return {name: folder / name for name in ("killed", "at rest")}


async def read_all(state: Path) -> tuple[str, int]:
    """Start a daemon, read all there is; return how that went, and how many jobs there were."""
    async with process(state) as fliqd:
        await fliqd.launch()
        jobs, served = 0, "served"
        if await fliqd.is_ready():
            try:
                cursor = ""
                while cursor is not None:
                    page = await fliqd("GET", f"/v1/jobs?limit=100{cursor and '&cursor=' + cursor}")
                    assert page.status in (200, 503), page.body
                    if page.status == 503:
                        served = "served but for a list"
                        break
                    jobs += len(page.body["jobs"])
                    for job in page.body["jobs"]:
                        # Of a job whose id was changed nobody can tell.
                        assert (await fliqd("GET", f"/v1/jobs/{job['id']}/executions")).status in (200, 404, 503)
                    cursor = page.body["next_cursor"]
                for path in ("schedules", "buffers", "queues", "alerts", "tokens", "webhooks/deliveries", "stats/jobs"):
                    assert (await fliqd("GET", f"/v1/{path}")).status in (200, 503), path
                await fliqd("POST", "/v1/queues/due/resume")
                await until(lambda: all_left(fliqd), "the end of what was due", PATIENCE_S)
                await until(lambda: all_checked(fliqd), "the end of the check", PATIENCE_S)
            except (aiohttp.ClientError, OSError):
                pass
            if await fliqd.kill(signal.SIGTERM) == 0:
                return served, jobs
        code = await fliqd.ended()
        said = fliqd.said[-1]
        if code == 1 and "died: " in said:  # a page that belongs elsewhere can hold anything
            return "a loop of it died", jobs
        assert code in (65, 74), (code, fliqd.said[-5:])
        assert said.startswith("fliqd: "), fliqd.said[-5:]
        assert any(way in said for way in WAYS_OUT), said
        # Met at work, be it the work of the start: by then it has marked the store as its own.
        at_work = any("daemon.ready" in line for line in fliqd.said) or said.startswith("fliqd: the store is damaged")
        return ("ended" if at_work else "refused"), jobs


async def all_left(fliqd: FliqdProcess) -> bool | None:
    """Tell whether no job of the queue waits or runs any more, as far as the list can be read."""
    answers = [await fliqd("GET", f"/v1/jobs?queue=due&status={status}") for status in ("scheduled", "running")]
    return all(answer.status != 200 or not answer.body["jobs"] for answer in answers) or None


async def all_checked(fliqd: FliqdProcess) -> bool | None:
    """Tell whether all of the store has been read, and was whole."""
    return (await fliqd("GET", "/v1/status")).body["store"]["checked_at"] is not None or None


def ids_in(store: Path) -> list[str]:
    with sqlite3.connect(store) as plain:
        ids = plain.execute("SELECT id FROM job WHERE buffer_id IS NULL ORDER BY pk").fetchall()
    plain.close()
    return [row[0] for row in ids]


@pytest.mark.parametrize("harm", HARMS)
async def test_a_harmed_store_is_refused_or_served_whole(
    proof: Proof, stores: dict[str, Path], tmp_path: Path, harm: str
) -> None:
    whole = len(ids_in(shutil.copytree(stores["at rest"], tmp_path / "whole") / "fliqd.db"))

    async def one() -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            store = shutil.copytree(stores["at rest"], Path(folder) / "state") / "fliqd.db"
            HARMS[harm](store, proof.chance)
            before = store.read_bytes() if store.exists() else None
            how, jobs = await read_all(store.parent)
            assert how != "served" or jobs == whole, f"{jobs} of {whole} jobs were served"
            if how == "refused":
                assert (store.read_bytes() if store.exists() else None) == before
            proof.saw(**{"stores": 1, how: 1})

    await several(one, proof.times(short=1, long=40))


@pytest.mark.parametrize("harm", [name for name in HARMS if name != "remove"])
async def test_a_harmed_log_of_writes_leaves_what_was_there_at_some_moment(
    proof: Proof, stores: dict[str, Path], tmp_path: Path, harm: str
) -> None:
    """As after a power cut: jobs are missing from the newest on, and none but those."""
    state = shutil.copytree(stores["killed"], tmp_path / "whole")
    whole = ids_in(state / "fliqd.db")

    async def one() -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            state = shutil.copytree(stores["killed"], Path(folder) / "state")
            HARMS[harm](state / "fliqd.db-wal", proof.chance)
            kept = ids_in(shutil.copytree(state, Path(folder) / "look") / "fliqd.db")
            assert kept == whole[: len(kept)]
            how, jobs = await read_all(state)
            # Back then the schedule may not have made its job yet.
            assert how != "served" or len(kept) <= jobs <= len(kept) + 1, (jobs, len(kept), len(whole))
            proof.saw(**{"stores": 1, how: 1, "with fewer jobs": int(len(kept) < len(whole))})

    await several(one, proof.times(short=1, long=20))


async def test_a_log_of_writes_that_is_gone_is_told_of(proof: Proof, stores: dict[str, Path], tmp_path: Path) -> None:
    """Of a store whose daemon was killed, and of a copy of one that runs; of no other, and once."""

    async def told(state: Path) -> bool:
        async with process(state) as fliqd:
            await fliqd.start()
            await fliqd.kill(signal.SIGTERM)
        return any(event["event"] == "store.log_missing" for event in fliqd.log)

    async def one() -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            killed = shutil.copytree(stores["killed"], Path(folder) / "killed")
            assert not await told(shutil.copytree(killed, Path(folder) / "whole"))
            (killed / "fliqd.db-wal").unlink()
            assert await told(killed)
            assert not await told(killed)
            assert not await told(shutil.copytree(stores["at rest"], Path(folder) / "rest"))
            bare = Path(shutil.copy(stores["killed"] / "fliqd.db", Path(folder) / "bare.db"))
            assert await told(restored(bare, Path(folder) / "restored bare"))
            assert not await told(restored(stores["killed"] / "fliqd.db", Path(folder) / "restored pair"))
            proof.saw(stores=6, without_their_log=2, told_of=2)

    await several(one, proof.times(short=1, long=10))


def foreign(store: Path) -> None:
    store.unlink()
    with closing(sqlite3.connect(store)) as other:
        other.execute("CREATE TABLE songs (title TEXT)")


def newer(store: Path) -> None:
    with closing(sqlite3.connect(store)) as other:
        other.execute("PRAGMA user_version = 9999")


def no_database(store: Path) -> None:
    store.write_bytes(b"milk, bread and a new disk\n" * 100)


@pytest.mark.parametrize(
    ("become", "says"),
    [
        (foreign, "a SQLite file of another program"),
        (newer, "written by a newer version"),
        (no_database, "no SQLite file"),
        (Path.unlink, "is not there, although there was one"),
    ],
    ids=["foreign", "newer", "no database", "gone"],
)
async def test_what_is_not_its_store_is_refused(
    proof: Proof, stores: dict[str, Path], tmp_path: Path, become: Callable[[Path], None], says: str
) -> None:
    state = shutil.copytree(stores["at rest"], tmp_path / "state")
    store = state / "fliqd.db"
    become(store)
    before = store.read_bytes() if store.exists() else None
    async with process(state) as fliqd:
        await fliqd.launch()
        assert await fliqd.ended() == 65
        assert says in fliqd.said[-1]
    assert (store.read_bytes() if store.exists() else None) == before
    proof.saw(stores=1, refused=1)


async def test_a_store_that_another_program_locks_goes_on_when_it_is_free(
    proof: Proof, stores: dict[str, Path], target: Target, tmp_path: Path
) -> None:
    """While it starts (in the long form), while an outcome waits to be written and a create asks: nothing is lost."""
    state = shutil.copytree(stores["at rest"], tmp_path / "state")
    with closing(sqlite3.connect(state / "fliqd.db", isolation_level=None)) as other:
        if proof.long:
            other.execute("BEGIN IMMEDIATE")
            async with process(state) as fliqd:
                await fliqd.launch()
                assert not await fliqd.is_ready()
                assert await fliqd.ended() == 75
                assert "another program keeps the store locked" in fliqd.said[-1]
            other.execute("ROLLBACK")
            proof.saw(starts_refused=1)
        async with process(state) as fliqd:
            await fliqd.start()
            for number in range(proof.times(short=1, long=10)):
                answers = target.hold()
                job_id = (await fliqd.create(url=target.url, delay=0))["id"]
                await target.received(2 * number + 1)
                other.execute("BEGIN IMMEDIATE")
                answers.set()
                refused = await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": 0})
                assert (refused.status, refused.body["error"]["code"]) == (503, "store_locked")
                assert (await fliqd.job(job_id))["status"] == "running", "its outcome is not on disk"
                other.execute("ROLLBACK")
                await fliqd.until(job_id, "success")
                later = await fliqd.create(url=target.url, delay=0)
                await fliqd.until(later["id"], "success")
                assert len(target.hits) == 2 * number + 2, "each job is sent once"
                proof.saw(locked=1, creates_refused=1, outcomes_that_waited=1)


def restored(store: Path, state: Path) -> Path:
    """Return a state directory that a store file was restored to."""
    state.mkdir()
    command = [sys.executable, "-m", "fliqd", "restore", str(store)]
    subprocess.run(command, env=os.environ | {"STATE_DIRECTORY": str(state)}, check=True, capture_output=True)
    (state / "admin.token").write_text("of another state directory")
    return state


async def several(one: Callable[[], Awaitable[None]], times: int) -> None:
    """Do it so often, a few at a time."""
    left = iter(range(times))

    async def one_after_the_other() -> None:
        for _ in left:
            await one()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())
