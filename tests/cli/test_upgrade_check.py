"""`fliqd upgrade-check`: what a new version would do is said before it does it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fliqd.store.sqlite import schema

from .running import Ended, environment, run, serve

NEXT = schema.newest() + 1
# The version after this one, as far as its schema is concerned.
NEW_VERSION = f"""
import sys
from fliqd.store.sqlite import schema
known = schema.migrations()
schema.migrations = lambda: [*known, ({NEXT}, "-- Songs, to be sung.\\nCREATE TABLE song (x TEXT) STRICT")]
from fliqd.__main__ import main
main()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with serve(tmp_path / "state") as daemon:
        daemon.create("http://127.0.0.1:9/", "--delay", "1h")
    return tmp_path / "state"


def check(state: Path, *args: str, **env: str) -> Ended:
    return run("upgrade-check", *args, env=environment(STATE_DIRECTORY=str(state), **env))


def new_version(state: Path, *args: str) -> Ended:
    done = subprocess.run(
        [sys.executable, "-c", NEW_VERSION, *args],
        env=environment(STATE_DIRECTORY=str(state)), capture_output=True, check=False, encoding="utf-8",
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def test_nothing_to_do(state: Path, tmp_path: Path) -> None:
    ended = check(state)
    assert ended.code == 0
    assert "nothing to do" in ended.out
    ended = check(tmp_path / "empty")
    assert ended.code == 0
    assert "one will be made" in ended.out


def test_a_store_that_is_gone_is_not_made_anew(state: Path) -> None:
    (state / "fliqd.db").rename(state / "elsewhere.db")
    ended = check(state)
    assert ended.code == 65
    assert "is not there, although there was one since" in ended.err


def test_steps_copy_and_room_are_told_while_the_old_version_runs(tmp_path: Path) -> None:
    with serve(tmp_path / "state"):
        before = sorted(file.name for file in (tmp_path / "state").iterdir())
        ended = new_version(tmp_path / "state", "upgrade-check", "-o", "json")
        assert sorted(file.name for file in (tmp_path / "state").iterdir()) == before
    assert ended.code == 0, ended
    assert ended.json["schema"] == {"has": NEXT - 1, "knows": NEXT}
    assert ended.json["steps"] == [{"number": NEXT, "about": "Songs, to be sung."}]
    assert ended.json["copy"].endswith(f"/fliqd.db.schema-{NEXT - 1}")
    assert 0 < ended.json["copy_bytes"] < ended.json["needs_bytes"] < ended.json["free_bytes"]
    told = new_version(tmp_path / "state", "upgrade-check").out
    assert "Songs, to be sung." in told
    assert f"fliqd restore {ended.json['copy']}" in told


def test_the_way_back_that_is_told_is_one(state: Path) -> None:
    """Upgraded, refused by the version before, put back by the command that the refusal names."""
    begun = subprocess.Popen(
        [sys.executable, "-c", NEW_VERSION, "serve"], stderr=subprocess.PIPE, encoding="utf-8",
        env=environment(STATE_DIRECTORY=str(state), FLIQD_SERVER__LISTEN="127.0.0.1:0"),
    )  # fmt: skip
    with begun:
        assert begun.stderr is not None
        assert any("daemon.ready" in line for line in begun.stderr)
        begun.terminate()
    assert check(state).code == 65
    refused = run("serve", env=environment(STATE_DIRECTORY=str(state)))
    assert refused.code == 65
    command = refused.err.partition("`")[2].partition("`")[0]
    assert command == f"fliqd restore {state}/fliqd.db.schema-{NEXT - 1}"
    assert run(*command.split()[1:], env=environment(STATE_DIRECTORY=str(state))).code == 0
    with serve(state) as daemon:
        assert len(daemon("jobs", "list", "-o", "json").json) == 1


def test_keys_that_it_does_not_know(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text("[dispatch]\nmax_inflight = 3\n")
    ended = check(state, "--config", str(file))
    assert ended.code == 78
    assert 'configuration: dispatch.max_inflight: unknown key; did you mean "max_in_flight"?' in ended.err
    assert "schema" in ended.out


def test_no_room(tmp_path: Path) -> None:
    mounting = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mounting, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        with serve(tmp_path / "state"):
            pass
        ended = new_version(tmp_path / "state", "upgrade-check")
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # noqa: S607 -- wherever it is
    assert ended.code == 1
    assert "free some space first" in ended.err
