"""A store file that cannot be served is refused with the way out, and left as it is."""

import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from fliqd.core.due_heap import DueEntry
from fliqd.errors import ConfigError, FliqdError, StoreIOError, StoreUnusableError, UnavailableError
from fliqd.store.base import JobFilter
from fliqd.store.sqlite import filesystem, schema
from tests.store.conftest import open_sqlite
from tests.store.test_conformance import a_job


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with an earlier life, at rest."""
    path = tmp_path / "fliqd.db"
    store = await open_sqlite(path, [])
    await store.create_jobs([a_job(number, body=b"x" * 5_000) for number in range(50)])
    await store.close()
    return path


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def lose_a_table(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("DROP TABLE token")
    plain.close()


def second_name(path: Path) -> None:
    (path.parent / "other.db").hardlink_to(path)


def cut_the_header(path: Path) -> None:
    os.truncate(path, 50)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def remove(path: Path) -> None:
    path.unlink()


def blank(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def overwrite_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 40_960)


def shopping_list(path: Path) -> None:
    path.write_bytes(b"milk, bread and a new disk\n" * 100)


def other_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE songs (title TEXT)")
    plain.close()


def lose_its_id(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("DELETE FROM meta WHERE key = 'store_id'")
    plain.close()


def garble_the_schema(path: Path) -> None:
    """What SQLite says of it names the table, whose name is no text any more."""
    garbled = path.read_bytes().replace(b"tablemetameta", b"table\xe2\x28\xa1ameta")
    path.write_bytes(garbled.replace(b"CREATE TABLE meta", b"CRATER TABLE meta"))


def newer(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA user_version = 9999")
    plain.close()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (truncate, "is damaged: .*When the store is damaged.*fliqd restore"),
        (cut_a_page, "is damaged: it ends within a page"),
        (lose_its_id, "is damaged: it does not say which one it is any more"),
        (garble_the_schema, "is damaged: "),
        (lose_a_table, "lacks the tables token"),
        (second_name, "has a second name"),
        (cut_the_header, "is damaged: it ends after 50 bytes"),
        (empty, "is empty, although there was one since .*put it back.*delete .*store.marker"),
        (remove, "is not there, although there was one since .*store.marker"),
        (blank, "is damaged: its first page is blank"),
        (overwrite_pages, "is damaged: .*fliqd restore"),
        (shopping_list, "is no SQLite file; set store.path"),
        (other_program, "is a SQLite file of another program; set store.path"),
        (newer, "schema 9999 and this fliqd knows .*newer version.*install that one again"),
    ],
)
async def test_what_is_refused(path: Path, harm: Callable[[Path], None], says: str) -> None:
    harm(path)
    before = path.read_bytes() if path.exists() else None
    for _ in range(2):  # the second try is no different: nothing was repaired, or made anew
        with pytest.raises(StoreUnusableError, match=says):
            await open_sqlite(path, [])
        assert (path.read_bytes() if path.exists() else None) == before


async def test_another_store_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "fliqd.db"
    await (await open_sqlite(other, [])).close()
    other.replace(path)
    with pytest.raises(StoreUnusableError, match="is not the one that this state directory belongs to"):
        await open_sqlite(path, [])
    (tmp_path / "store.marker").unlink()
    await (await open_sqlite(path, [])).close()


async def test_a_store_may_be_moved_and_put_back(path: Path) -> None:
    copy = path.read_bytes()
    path.unlink()
    path.write_bytes(copy)
    store = await open_sqlite(path, [])
    assert len((await store.jobs(JobFilter(), before_pk=None, limit=99)).jobs) == 50
    await store.close()


async def test_a_crash_during_the_first_start_is_no_earlier_life(tmp_path: Path) -> None:
    path = tmp_path / "fliqd.db"
    path.touch()
    await (await open_sqlite(path, [])).close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_read_only_directory_is_told(path: Path) -> None:
    path.chmod(0o400)
    with pytest.raises(StoreIOError, match="permissions"):
        await open_sqlite(path, [])


async def test_an_older_store_is_set_aside_and_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = schema.migrations()
    later = known[-1][0] + 1
    monkeypatch.setattr(schema, "migrations", lambda: [*known, (later, "CREATE TABLE more (x TEXT) STRICT")])
    store = await open_sqlite(path, [])
    assert len((await store.jobs(JobFilter(), before_pk=None, limit=99)).jobs) == 50
    await store.close()
    aside = path.with_name(f"fliqd.db.schema-{known[-1][0]}")
    monkeypatch.undo()
    with pytest.raises(StoreUnusableError, match="newer version"):
        await open_sqlite(path, [])
    aside.replace(path)  # the way back that the message names
    store = await open_sqlite(path, [])
    assert len((await store.jobs(JobFilter(), before_pk=None, limit=99)).jobs) == 50
    await store.close()


async def test_upgraded_and_fresh_are_the_same(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = schema.migrations()
    later = known[-1][0] + 1
    monkeypatch.setattr(schema, "migrations", lambda: [*known, (later, "CREATE TABLE more (x TEXT) STRICT")])
    fresh = tmp_path / "fresh" / "fliqd.db"
    shapes = []
    for store in (path, fresh):
        await (await open_sqlite(store, [])).close()
        with sqlite3.connect(store) as plain:
            shapes.append(plain.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall())
        plain.close()
    assert shapes[0] == shapes[1]


MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:25 / /mnt rw - tmpfs tmpfs rw
31 30 0:30 / /mnt/my\\040nas rw,relatime shared:9 master:2 - nfs4 nas:/export rw,vers=4.2
32 22 0:31 / /srv rw - cifs //nas/srv rw
33 22 254:2 / /srv rw - xfs /dev/vdb rw
not a line of it
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/fliqd", "ext4"),
        ("/mnt/my nas/fliqd", "nfs4"),
        ("/mnt/my nas", "nfs4"),
        ("/mnt/my nasty", "tmpfs"),
        ("/srv/x", "xfs"),
    ],
)
def test_which_file_system_a_path_is_on(path: str, kind: str) -> None:
    assert filesystem.kind_in(MOUNTS, Path(path)) == kind


def test_a_file_system_that_is_there(tmp_path: Path) -> None:
    assert filesystem.kind_of(Path("/proc/self")) == "proc"
    assert filesystem.kind_of(tmp_path) not in {"", *filesystem.NETWORK}


async def test_a_store_over_the_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {tmp_path}/nas rw - nfs4 nas:/ rw\n")
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    with pytest.raises(ConfigError, match=r"store\.path: .*/nas/fliqd\.db is on nfs4.*a disk of this machine"):
        await open_sqlite(tmp_path / "nas" / "fliqd.db", [])
    assert list((tmp_path / "nas").iterdir()) == []
    (tmp_path / "link").symlink_to(tmp_path / "nas")
    with pytest.raises(ConfigError):
        await open_sqlite(tmp_path / "link" / "fliqd.db", [])


async def test_a_copy_set_aside_is_named_with_the_way_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = schema.migrations()
    later = known[-1][0] + 1
    monkeypatch.setattr(schema, "migrations", lambda: [*known, (later, "CREATE TABLE more (x TEXT) STRICT")])
    with structlog.testing.capture_logs() as said:
        await (await open_sqlite(path, [])).close()
    copy = f"{path}.schema-{known[-1][0]}"
    [event] = [event for event in said if event["event"] == "store.set_aside"]
    assert event["copy"] == copy
    assert event["way_back"].endswith(f"fliqd restore {copy}")
    monkeypatch.undo()
    with pytest.raises(StoreUnusableError, match=f"newer version.*`fliqd restore {copy}`.*is not in it"):
        await open_sqlite(path, [])
    Path(copy).unlink()
    with pytest.raises(StoreUnusableError, match="`fliqd restore` and a backup from before the upgrade"):
        await open_sqlite(path, [])


async def test_a_store_that_fails_to_open_leaves_no_thread(path: Path) -> None:
    """A process that has one hangs when it should end."""
    with sqlite3.connect(path) as plain:
        plain.execute("INSERT INTO channel VALUES (1, 'alt_1', NULL, 'smoke', 'http://a/', 0, 1, 'api', 0, 0)")
    plain.close()
    before = set(threading.enumerate())
    with pytest.raises(StoreUnusableError, match=r"a row is no channel"):
        await open_sqlite(path, [])
    assert [thread for thread in threading.enumerate() if thread not in before and not thread.daemon] == []


async def test_a_table_that_lacks_a_column_is_a_damage(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("ALTER TABLE token RENAME COLUMN last_used_ms TO mast_used_ms")
    plain.close()
    store = await open_sqlite(path, [])
    with pytest.raises(StoreUnusableError, match=r"is damaged: no such column.*fliqd restore"):
        await store.tokens.all()
    await store.close()


def gone(path: Path) -> None:
    path.unlink()


def without_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def without_index(path: Path) -> None:
    path.with_name(f"{path.name}-shm").unlink()


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


@pytest.mark.parametrize("harm", [gone, replaced, without_log, without_index])
async def test_a_store_that_is_not_in_its_place_any_more_is_ended(path: Path, harm: Callable[[Path], None]) -> None:
    """What is written to it is on disk, and nobody will find it."""
    failed: list[FliqdError] = []
    store = await open_sqlite(path, failed)
    await store.ping()
    assert failed == []
    made = a_job(7_008)
    await store.create_jobs([made])
    harm(path)
    await store.ping()
    [error] = failed
    assert isinstance(error, StoreIOError)
    assert "was moved, deleted or replaced while fliqd had it" in str(error)
    with pytest.raises(StoreIOError):
        await store.create_jobs([a_job(7_009)])
    await store.close()
    if harm is without_log:  # the last to close it has written what stood there into the file
        with sqlite3.connect(path) as plain:
            assert plain.execute("SELECT id FROM job WHERE id = ?", (made.id,)).fetchall() == [(made.id,)]
        plain.close()


async def test_a_check_that_finds_no_file_descriptor_is_no_damage(path: Path) -> None:
    failed: list[FliqdError] = []
    store = await open_sqlite(path, failed)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0) for _ in range(64)]  # whatever is free below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, limits[1]))
    try:
        with pytest.raises(UnavailableError, match="no room for one more connection"):
            await store.check()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in taken:
            os.close(one)
    assert failed == []
    await store.check()
    await store.close()


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE job SET backoff = '{'",
        "UPDATE job SET name = CAST(x'ff' AS TEXT)",
        "PRAGMA ignore_check_constraints = ON; UPDATE job SET on_interrupt = 'sigh'",
    ],
)
async def test_a_row_that_cannot_be_read_is_a_damage(path: Path, spoil: str) -> None:
    """Whoever reads it is told; a write that comes to it ends the store."""
    with sqlite3.connect(path) as plain:
        plain.executescript(spoil)
    plain.close()
    failed: list[FliqdError] = []
    store = await open_sqlite(path, failed)
    with pytest.raises(StoreUnusableError, match=r"is damaged: .*fliqd restore"):
        await store.job("job_" + "1".zfill(26))
    with pytest.raises(StoreUnusableError, match=r"is damaged: .*fliqd restore"):
        await store.attempts.claim([DueEntry(0, 1, "a:80")], owner="run_x", now_ms=1 << 42, until_ms=1 << 42)
    assert [type(error) for error in failed] == [StoreUnusableError]
    await store.close()
