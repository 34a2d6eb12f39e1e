"""`fliqd backup` and `fliqd restore`: one file that brings everything back, and what is refused."""

import fcntl
import os
import pty
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fliqd.backup import KEYS, verify
from fliqd.errors import StoreUnusableError

from .running import PROGRAM, Daemon, Ended, environment, run, serve

FAR = ("--delay", "1h")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("stopped") / "state"
    with serve(state) as daemon:
        for number in range(3):
            daemon.create(f"http://127.0.0.1:9/{number}", *FAR)
    (state / "stderr").unlink()
    return state


@pytest.fixture
def state(tmp_path: Path, stopped: Path) -> Path:
    """The state directory of a daemon that has stopped, with three jobs that wait."""
    return shutil.copytree(stopped, tmp_path / "state")


def at(state: Path, *args: str) -> Ended:
    """Run a command over a state directory."""
    return run(*args, env=environment(STATE_DIRECTORY=str(state)))


def backed_up(state: Path, to: Path) -> Path:
    made = at(state, "backup", str(to))
    assert made.code == 0, made
    return to


def ids(state: Path) -> list[str]:
    with sqlite3.connect(state / "fliqd.db") as plain:
        found = [row[0] for row in plain.execute("SELECT id FROM job ORDER BY id")]
    plain.close()
    return found


def test_a_backup_of_a_running_daemon_is_a_daemon_elsewhere(tmp_path: Path) -> None:
    """Its jobs, and its tokens and its signature with them."""
    backup = tmp_path / "fliqd.backup"
    with serve(tmp_path / "here") as daemon:
        kept = daemon.create("http://127.0.0.1:9/kept", *FAR)
        token = daemon("tokens", "create", "app").out.strip()
        assert daemon("signing-secret", "rotate", "--overlap", "24h").code == 0
        made = daemon("backup", str(backup), "-o", "json").json
        later = daemon.create("http://127.0.0.1:9/later", *FAR)
    assert (made["jobs"], made["waiting"]) == (1, 1)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fliqd.backup", "here"]

    restored = at(tmp_path / "there", "restore", str(backup))
    assert restored.code == 0, restored
    assert "1 wait" in restored.out
    assert "Next: start the daemon" in restored.err
    for name in KEYS:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
        assert (tmp_path / "there" / name).stat().st_mode & 0o777 == 0o600
    with serve(tmp_path / "there") as daemon:
        assert daemon("jobs", "get", kept, FLIQD_TOKEN=token).code == 0
        assert daemon("jobs", "get", later).code == 4


def test_tar_alone_brings_it_back_too(state: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    with tarfile.open(backed_up(state, tmp_path / "b")) as tar:
        for name in tar.getnames():
            content = tar.extractfile(name)
            assert content is not None
            (there / name).write_bytes(content.read())
    with serve(there) as daemon:
        assert len(daemon("jobs", "list", "-o", "json").json) == 3


def test_the_key_files_are_all_that_a_daemon_makes_beside_its_store(state: Path) -> None:
    known = {"fliqd.db", "fliqd.db.lock", "store.marker", *KEYS} - {"signing.former"}  # that comes with a rotation
    assert {file.name for file in state.iterdir()} == known


def test_a_backup_is_not_overwritten_unless_told(state: Path, tmp_path: Path) -> None:
    backup = tmp_path / "b"
    backup.write_text("precious")
    refused = at(state, "backup", str(backup))
    assert refused.code == 1
    assert "exists: name another file, or replace it with --force" in refused.err
    assert backup.read_text() == "precious"
    assert at(state, "backup", "--force", str(backup)).code == 0
    assert at(state, "backup", "--verify", str(backup)).code == 0


def test_a_symlink_in_its_place_is_replaced_not_followed(state: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    backup = tmp_path / "b"
    backup.symlink_to(precious)
    assert at(state, "backup", str(backup)).code == 1
    assert at(state, "backup", "--force", str(backup)).code == 0
    assert precious.read_text() == "precious"
    assert not backup.is_symlink()


def no_folder(tmp_path: Path) -> Path:
    return tmp_path / "nowhere" / "b"


def a_folder(tmp_path: Path) -> Path:
    return tmp_path


def a_pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def in_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "b"


def a_link_to_elsewhere(tmp_path: Path) -> Path:
    (tmp_path / ".b.part").symlink_to("/etc")
    return tmp_path / "b"


def a_system_folder(tmp_path: Path) -> Path:
    return Path("/proc/fliqd.backup")


@pytest.mark.parametrize(
    ("place", "code", "says"),
    [
        (no_folder, 1, "there is no directory"),
        (a_folder, 1, "is a directory: name a file in it"),
        (a_pipe, 1, "is no regular file"),
        (in_a_file, 1, "there is no directory"),
        (a_link_to_elsewhere, 74, "cannot be made"),
        (a_system_folder, 74, "cannot be made"),
    ],
)
def test_where_a_backup_cannot_go(
    state: Path, tmp_path: Path, place: Callable[[Path], Path], code: int, says: str
) -> None:
    refused = at(state, "backup", "--force", str(place(tmp_path)))
    assert (refused.code, refused.out) == (code, "")
    assert says in refused.err
    assert len(refused.err.splitlines()) == 1


def test_two_backups_to_one_file_do_not_meet(state: Path, tmp_path: Path) -> None:
    folder = tmp_path / ".b.part"
    folder.mkdir(0o700)
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert "another backup to" in at(state, "backup", str(tmp_path / "b")).err
    os.close(fd)
    (folder / "fliqd.db").write_text("left by one that was killed")
    backed_up(state, tmp_path / "b")
    assert not folder.exists()


def test_nothing_to_back_up(tmp_path: Path) -> None:
    refused = at(tmp_path / "empty", "backup", str(tmp_path / "b"))
    assert refused.code == 1
    assert "there is no store at" in refused.err
    assert "$STATE_DIRECTORY" in refused.err


def test_a_damaged_store_makes_no_backup(state: Path, tmp_path: Path) -> None:
    with (state / "fliqd.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 20_000)
    refused = at(state, "backup", str(tmp_path / "b"))
    assert refused.code == 65
    assert "is damaged" in refused.err
    assert not (tmp_path / "b").exists()


def test_what_was_written_is_told_from_what_was_not(state: Path, tmp_path: Path) -> None:
    """Wherever a backup is cut or changed, it is found out, unless what it brings back is the same."""
    backup = backed_up(state, tmp_path / "b")
    whole = backup.read_bytes()

    def refused(changed: bytes) -> bool:
        backup.write_bytes(changed)
        try:
            verify(backup, lambda *_: None)
        except StoreUnusableError:
            return True
        return False

    with tarfile.open(backup) as tar:
        parts = tar.getmembers()
    for part in parts:
        step = max(1, part.size // 50)
        for place in range(part.offset_data, part.offset_data + part.size, step):
            assert refused(flipped(whole, place)), place
        for place in range(part.offset, part.offset_data, 7):
            refused(flipped(whole, place))  # one of tar's own fields: refused, or the digests are right all the same
    end = parts[-1].offset_data + parts[-1].size
    for size in (0, 1, 511, 512, 600, *range(1024, end, 9_973), end - 1):
        assert refused(whole[:size]), size
    assert not refused(whole)


def flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda whole: whole[: len(whole) // 2], "cut or changed"),
        (lambda whole: whole[:40_000] + b"\xff" + whole[40_001:], "is not what was written"),
        (lambda _whole: b"", "is no"),
        (lambda _whole: b"milk and bread\n" * 1000, "is damaged: file is not a database"),
    ],
)
def test_a_broken_backup_changes_nothing(
    state: Path, tmp_path: Path, change: Callable[[bytes], bytes], says: str
) -> None:
    backup = backed_up(state, tmp_path / "b")
    backup.write_bytes(change(backup.read_bytes()))
    before = {file.name: file.read_bytes() for file in state.iterdir() if file.name != "fliqd.db.lock"}
    verified = at(state, "backup", "--verify", str(backup))
    assert verified.code == 65, verified
    refused = at(state, "restore", str(backup))
    assert refused.code == 65, refused
    assert says in refused.err
    assert {file.name: file.read_bytes() for file in state.iterdir() if file.name != "fliqd.db.lock"} == before


def test_a_strange_tar_is_no_backup(state: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    with tarfile.open(evil, "w") as tar:
        info = tarfile.TarInfo("../../escaped")
        info.size = 0
        tar.addfile(info)
    for args in (("backup", "--verify", str(evil)), ("restore", str(evil))):
        refused = at(state, *args)
        assert refused.code == 65
        assert "which no backup does" in refused.err
    link = tmp_path / "link"
    with tarfile.open(link, "w") as tar:
        info = tarfile.TarInfo("token.key")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    assert at(state, "restore", str(link)).code == 65


def test_a_live_store_is_not_restored_over(daemon: Daemon, tmp_path: Path) -> None:
    backup = tmp_path / "b"
    assert daemon("backup", str(backup)).code == 0
    before = sorted(file.name for file in daemon.state_dir.iterdir())
    refused = daemon("restore", str(backup))
    assert refused.code == 75
    assert "is in use by fliqd with pid" in refused.err
    assert sorted(file.name for file in daemon.state_dir.iterdir()) == before
    assert daemon("status").code == 0


def test_what_was_there_is_set_aside(state: Path, tmp_path: Path) -> None:
    """Also the log of writes that a crash left, and all of it can be put back."""
    backup = backed_up(state, tmp_path / "b")
    old = ids(state)
    with sqlite3.connect(state / "fliqd.db") as plain:
        plain.execute("PRAGMA journal_mode = WAL")
        plain.execute("PRAGMA wal_autocheckpoint = 0")
        plain.execute("DELETE FROM job WHERE id = ?", (old[0],))
        plain.commit()
        for name in ("fliqd.db", "fliqd.db-wal"):
            shutil.copy(state / name, tmp_path / name)  # as a crash would leave them
    plain.close()
    for name in ("fliqd.db", "fliqd.db-wal"):
        shutil.move(tmp_path / name, state / name)
    (state / "token.key").write_text("another key\n")

    restored = at(state, "restore", str(backup), "-o", "json")
    assert restored.code == 0, restored
    [aside] = [Path(folder) for folder in restored.json["set_aside"]]
    assert aside.stat().st_mode & 0o777 == 0o700
    assert (aside / "token.key").read_text() == "another key\n"
    assert not (state / "fliqd.db-wal").exists()
    assert ids(state) == old

    back = at(state, "restore", str(aside / "fliqd.db"), "-o", "json")
    assert back.code == 0, back
    assert back.json["keys"] == []
    assert ids(state) == old[1:]


def test_a_backup_takes_the_place_of_another_store(state: Path, tmp_path: Path) -> None:
    """The marker comes to name the restored one, so that a daemon starts on it."""
    backup = backed_up(state, tmp_path / "b")
    with serve(tmp_path / "other"):
        pass
    assert at(tmp_path / "other", "restore", str(backup)).code == 0
    with serve(tmp_path / "other") as daemon:
        assert len(daemon("jobs", "list", "-o", "json").json) == 3


def test_a_lost_store_is_restored_as_its_refusal_says(state: Path, tmp_path: Path) -> None:
    backup = backed_up(state, tmp_path / "b")
    (state / "fliqd.db").unlink()
    refused = at(state, "serve")
    assert refused.code == 65
    assert "`fliqd restore FILE`" in refused.err
    assert at(state, "restore", str(backup)).code == 0
    with serve(state) as daemon:
        assert len(daemon("jobs", "list", "-o", "json").json) == 3


def test_a_newer_backup_is_refused(state: Path, tmp_path: Path) -> None:
    with sqlite3.connect(state / "fliqd.db") as plain:
        plain.execute("PRAGMA user_version = 99")
    plain.close()
    backup = backed_up(state, tmp_path / "b")
    refused = at(tmp_path / "there", "restore", str(backup))
    assert refused.code == 65
    assert "made by a newer version; install that one, then restore" in refused.err
    assert not (tmp_path / "there" / "fliqd.db").exists()


def test_the_store_may_be_elsewhere_than_the_keys(state: Path, tmp_path: Path) -> None:
    backup = backed_up(state, tmp_path / "b")
    store = tmp_path / "big disk" / "jobs.db"
    env = environment(STATE_DIRECTORY=str(tmp_path / "there"), FLIQD_STORE__PATH=str(store))
    assert run("restore", str(backup), env=env).code == 0
    assert store.exists()
    assert (tmp_path / "there" / "token.key").exists()
    assert run("restore", str(backup), env=env).code == 0
    assert run("backup", str(tmp_path / "again"), env=env).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_restores_belongs_to_the_daemon(state: Path, tmp_path: Path) -> None:
    backup = backed_up(state, tmp_path / "b")
    there = tmp_path / "there"
    there.mkdir()
    os.chown(there, 1234, 1234)
    for _ in range(2):
        assert at(there, "restore", str(backup)).code == 0
    assert {file.stat().st_uid for file in there.rglob("*")} == {1234}


def test_a_terminal_is_told_how_far_it_is(state: Path, tmp_path: Path) -> None:
    """On a line that is gone at the end; a pipe is told nothing of it."""
    main, terminal = pty.openpty()
    done = subprocess.run(
        [*PROGRAM, "backup", str(tmp_path / "b")], env=environment(STATE_DIRECTORY=str(state)), check=True,
        stdout=subprocess.DEVNULL, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    said = os.read(main, 4096).decode()
    os.close(main)
    assert done.returncode == 0
    assert "copying 0 %" in said
    assert "checking …" in said
    assert said.endswith("\r\x1b[K")
    assert at(state, "backup", str(tmp_path / "c")).err == ""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root takes privileges away")
@pytest.mark.parametrize("args", [["backup", "b"], ["restore", "backup"], ["upgrade-check"], ["doctor"], ["status"]])
def test_who_may_not_is_told_whom_to_be(state: Path, tmp_path: Path, args: list[str]) -> None:
    backed_up(state, tmp_path / "backup")
    for file in (state, *state.iterdir()):
        os.chown(file, 1234, 1234)
    powerless = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]
    ended = subprocess.run(
        [*powerless, *PROGRAM, *args], env=environment(STATE_DIRECTORY=str(state)), cwd=tmp_path, capture_output=True,
        check=False, encoding="utf-8",
    )  # fmt: skip
    assert ended.returncode in (1, 74, 77)
    assert "Traceback" not in ended.stderr
    assert "permission" in (ended.stdout + ended.stderr).lower()
    assert not (tmp_path / "b").exists()
