"""`fliqd config diff`, `apply`, `show` and `pull`: the file beside what the daemon has."""

import json
import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Daemon, serve

NIGHTLY = '[[schedules]]\nname = "nightly"\ncron = "0 3 * * *"\nurl = "http://127.0.0.1:9/"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "fliqd.toml"
    file.write_text('[server]\nlisten = "127.0.0.1:0"\n')
    return file


@pytest.fixture
def daemon(tmp_path: Path, file: Path) -> Iterator[Daemon]:
    with serve(tmp_path / "state", "--config", str(file)) as running:
        yield running


def test_diff_says_what_would_change_and_apply_does_it(daemon: Daemon, file: Path) -> None:
    ended = daemon("config", "diff")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"nothing would change: 0 entries are as {file} declares them\n"
    head = file.read_text()
    file.write_text(head + NIGHTLY)
    assert daemon("config", "diff").out == "+ schedule nightly\n"
    assert daemon("config", "diff").code == 1
    assert daemon("config", "apply").out == "+ schedule nightly\n"
    file.write_text(head + NIGHTLY + "max_retries = 2\n")
    assert daemon("config", "diff").out == "~ schedule nightly\n    max_retries: 0 -> 2\n"
    file.write_text(head)
    assert daemon("config", "diff", "-o", "json").json["deleted"] == [{"kind": "schedule", "name": "nightly"}]


def test_diff_of_another_file(daemon: Daemon, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(NIGHTLY)
    assert daemon("config", "diff", str(other)).out == "+ schedule nightly\n"
    file.write_text(file.read_text() + NIGHTLY)
    daemon("config", "apply")
    assert f"nothing would change: 1 entry is as {other} declares it\n" in daemon("config", "diff", str(other)).err


def test_a_wrong_file_is_refused_with_every_problem_and_78(daemon: Daemon, file: Path) -> None:
    file.write_text('[[schedules]]\nname = "x"\ncron = "61 * * * *"\nurl = "x"\n')
    for command in ("diff", "apply"):
        ended = daemon("config", command)
        assert ended.code == 78
        assert 'schedules[0].cron: "61 * * * *": minute 61 is outside 0-59' in ended.err
        assert "schedules[0].url: " in ended.err


def test_a_hangup_applies_the_file(daemon: Daemon, file: Path) -> None:
    file.write_text(file.read_text() + NIGHTLY)
    os.kill(daemon("status", "-o", "json").json["pid"], signal.SIGHUP)
    for _ in range(500):
        if daemon("config", "diff").code == 0:
            break
    assert daemon("config", "diff").code == 0


def test_show_says_where_a_value_comes_from_and_no_secret(file: Path, daemon: Daemon) -> None:
    file.write_text('[signing]\nsecret = "whsec_c2VjcmV0"\n[log]\nlevel = "debug"\n')
    ended = daemon("config", "show", str(file), FLIQD_DISPATCH__TIMEOUT="5s")
    rows = {line.split("\t")[0].strip(): line.split("\t")[1:] for line in ended.out.splitlines()}
    assert [cell.strip() for cell in rows["signing.secret"]] == ['"***"', "file"]
    assert [cell.strip() for cell in rows["dispatch.timeout"]] == ['"5s"', "FLIQD_DISPATCH__TIMEOUT"]
    assert [cell.strip() for cell in rows["auth.mode"]] == ['"token"', "default"]
    running = daemon("config", "show", "--running", "-o", "json").json
    assert running["settings"]["server"]["listen"] == {"value": "127.0.0.1:0", "origin": "file"}


def test_json_that_toml_cannot_say_is_pulled_as_a_text(daemon: Daemon, file: Path) -> None:
    deep: Any = []
    for _ in range(150):
        deep = [deep]
    values = {"large": {"n": 1 << 64}, "deep": deep, "null": [None], "plain": {"n": (1 << 63) - 1}}
    for name, value in values.items():
        daemon.call("POST", "/v1/schedules", {"every": "1h", "url": "http://a/", "name": name, "json": value})
    file.write_text(file.read_text() + daemon("config", "pull").out)
    assert daemon("config", "apply").code == 0
    pulled = {entry["name"]: entry for entry in tomllib.loads(file.read_text())["schedules"]}
    assert [json.loads(pulled[name]["body"]) for name in ("large", "deep", "null")] == list(values.values())[:3]
    assert pulled["plain"]["json"] == values["plain"]


def test_what_is_pulled_can_be_pasted(daemon: Daemon, file: Path, tmp_path: Path) -> None:
    """Every field comes through, what looks like a reference is literal, and a reload takes all of it over."""
    asked: dict[str, Any] = {
        "name": "made", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "url": "http://127.0.0.1:9/",
        "headers": {"Authorization": "${env:X}"}, "query": {"a": "b"}, "json": {"n": None, "t": "${file:/y}"},
        "backoff": {"kind": "table", "delays": ["1m", 5]}, "starts_at": "2030-01-01T00:00:00Z", "jitter": "5m",
        "success_statuses": ["2xx", 409], "tags": ["a"], "dst": {"gap": "skip"}, "paused": True, "max_runs": 3,
    }  # fmt: skip
    made = daemon.call("POST", "/v1/schedules", asked)
    ended = daemon("config", "pull")
    assert ended.code == 0, ended.err
    assert tomllib.loads(ended.out)["schedules"][0]["headers"]["Authorization"] == "$${env:X}"
    file.write_text(file.read_text() + ended.out)
    applied = daemon("config", "apply")
    assert applied.out.splitlines()[0] == "~ schedule made", applied.err
    after = daemon.call("GET", f"/v1/schedules/{made['id']}")
    assert after["source"] == "config"
    differ = {key for key in made if made[key] != after[key]} - {"source", "updated_at"}
    assert differ == {"headers", "json", "body"}  # escaped, and the null of the JSON as a text
    assert daemon("config", "diff").code == 0
    assert daemon("config", "pull").out == ""
