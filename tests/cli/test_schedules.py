"""`fliqd schedules`: what each command does, prints and exits with."""

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fliqd.cli.main import cli

from .running import PATIENCE_S, Daemon, Target, serve
from .test_output import on_a_terminal

URL = "http://127.0.0.1:9/"


def schedule(daemon: Daemon, name: str, *args: str, url: str = URL) -> str:
    """Create a schedule that must be accepted; return its id."""
    made = daemon("schedules", "create", url, "--name", name, *args)
    assert made.code == 0, made
    return made.out.strip()


def until(look: Callable[[], Any]) -> Any:
    """Run a command until it finds something."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
    raise AssertionError("it did not happen")


def cells(out: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("\t")] for line in out.splitlines()]


def test_create_prints_the_id_and_tells_what_it_means(daemon: Daemon) -> None:
    made = daemon(
        "schedules", "create", URL, "--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--name", "nightly",
        "--dst", "gap=skip",
    )  # fmt: skip
    assert made.code == 0, made
    assert re.fullmatch(r"sched_[0-9a-z]{26}\n", made.out)
    first, second, *notes = made.err.splitlines()
    assert first == "nightly: At 02:30 (Europe/Berlin)"
    assert re.fullmatch(
        r"runs next at \w{3} [-0-9]{10} 0[23]:[03]0 \(in [^)]+\)(, \w{3} [-0-9]{10} 0[23]:[03]0){2}", second
    )
    assert {note.partition("; ")[2] for note in notes} == {"no run", "runs the first time only"}
    assert all(re.match(r"note: \d{4}-(03|10)-\d\d 02:30 ", note) for note in notes)


def test_create_sends_what_was_asked_for(daemon: Daemon) -> None:
    made = daemon(
        "schedules", "create", URL, "--every", "900", "--starts-at", "2030-01-01T00:00:00Z",
        "--ends-at", "2031-01-01T00:00:00Z", "--max-runs", "7", "--jitter", "1m", "--misfire", "all",
        "--misfire-grace", "5m", "--overlap", "skip", "--paused", "--method", "get", "-H", "X-One: 1", "--query", "a=b",
        "--max-retries", "2", "--timeout", "5", "--queue", "q", "--description", "d", "--tag", "x",
        "--success-status", "409", "--json", "[1.10]", "-o", "json",
    )  # fmt: skip
    assert made.code == 0, made
    assert made.err == ""
    expected = {
        "every": "15m", "cron": None, "starts_at": "2030-01-01T00:00:00.000Z", "ends_at": "2031-01-01T00:00:00.000Z",
        "max_runs": 7, "jitter": "1m", "misfire": "all", "misfire_grace": "5m", "overlap": "skip", "status": "paused",
        "http_method": "GET", "headers": {"X-One": "1"}, "query": {"a": "b"}, "max_retries": 2, "timeout_seconds": 5,
        "queue": "q", "description": "d", "tags": ["x"], "success_statuses": [409], "json": [1.1],
    }  # fmt: skip
    assert {name: made.json[name] for name in expected} == expected


def test_an_interval_has_no_zone_and_a_paused_one_no_next_run(daemon: Daemon) -> None:
    made = daemon("schedules", "create", URL, "--every", "15m", "--name", "quarterly")
    assert made.err.splitlines()[0] == "quarterly: Every 15m"
    paused = daemon("schedules", "create", URL, "--every", "15m", "--paused")
    assert paused.err.splitlines()[1] == "paused: what comes due until it is resumed is missed"


def test_every_problem_is_a_line_and_names_the_option(daemon: Daemon) -> None:
    refused = daemon("schedules", "create", "ftp://x", "--cron", "61 * * * *", "--tz", "Europe/Berln", "-H", "Host: x")
    assert (refused.code, refused.out) == (1, "")
    assert [line.split(": ")[1] for line in refused.err.splitlines()] == ["--cron", "--tz", "url", "--header.Host"]
    assert "did you mean Europe/Berlin?" in refused.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["create"], "Missing argument 'URL'"),
        (["create", "http://x", "--max-runs", "many"], "--max-runs"),
        (["create", "http://x", "--dst", "skip"], "--dst"),
        (["create", "http://x", "--overlap", "never"], "--overlap"),
        (["update", "x"], "say what to change"),
        (["list", "--status", "failed"], "--status"),
        (["next", "x", "--count", "1001"], "--count"),
        (["pause"], "Missing argument 'ID|NAME…'"),
    ],
)
def test_slips_that_never_reach_the_daemon(args: list[str], told: str) -> None:
    ended = CliRunner().invoke(cli, ["schedules", *args, "--url", "http://127.0.0.1:1", "--token", "t"])
    assert ended.exit_code == 2
    assert told in ended.stderr


def test_one_is_known_by_its_id_and_by_its_name(daemon: Daemon) -> None:
    schedule_id = schedule(daemon, "Grüße & more", "--cron", "0 8 * * 1-5", "--tz", "Europe/Berlin")
    by_id, by_name = (daemon("schedules", "get", given) for given in (schedule_id, "Grüße & more"))
    assert by_id.code == 0
    assert by_id.out == by_name.out
    shown = cells(by_id.out)
    for side in (
        ["id", schedule_id], ["explanation", "At 08:00, Monday through Friday"], ["timezone", "Europe/Berlin"],
        ["dst", "gap=after"], ["dst", "overlap=first"], ["misfire", "latest"], ["url", URL],
    ):  # fmt: skip
        assert side in shown
    assert daemon("schedules", "get", "Grüße & more", "-o", "json").json["id"] == schedule_id

    assert daemon("schedules", "create", URL, "--every", "1h", "--name", "Grüße & more").code == 5
    for args in (["get", "nobody"], ["next", ""], ["get", f"sched_{'0' * 26}"], ["missed", f"sched_{'0' * 26}"]):
        missing = daemon("schedules", *args)
        assert missing.code == 4, missing
        assert missing.err.startswith("fliqd: there is no schedule ")


def test_list(daemon: Daemon) -> None:
    schedule(daemon, "listed-cron", "--cron", "0 3 * * *", "--tz", "America/New_York")
    schedule(daemon, "listed-every", "--every", "15m", "--paused")
    names, *rows = cells(daemon("schedules", "list", "--all").out)
    assert names == ["NAME", "STATUS", "NEXT", "LAST RUN", "RESULT", "SOURCE", "RULE"]
    by_name = {row[0]: row for row in rows}
    assert by_name["listed-every"][1:] == ["paused", "-", "-", "-", "api", "every 15m"]
    assert by_name["listed-cron"][1] == "active"
    assert by_name["listed-cron"][2].endswith(":00:00.000Z")
    assert by_name["listed-cron"][3:] == ["-", "-", "api", "0 3 * * * America/New_York"]

    assert [one["name"] for one in daemon("schedules", "list", "--name", "listed-cron", "-o", "jsonl").lines] == [
        "listed-cron"
    ]
    paused = daemon("schedules", "list", "--status", "paused", "--all", "-o", "json").json
    assert {one["status"] for one in paused} == {"paused"}
    assert daemon("schedules", "list", "--source", "config", "-o", "json").json == []


def test_a_person_sees_how_far_the_next_run_is_and_the_rule_at_80_columns(daemon: Daemon) -> None:
    schedule(daemon, f"a-{'long-' * 8}name", "--cron", "0 3 * * *", "--tz", "America/Argentina/Buenos_Aires")
    env = daemon.env | {"NO_COLOR": "1"}
    _, shown = on_a_terminal("schedules", "list", "--name", f"a-{'long-' * 8}name", env=env, columns=80)
    assert re.search(rb" active +in [^ ]+ (h|min|s)", shown)
    assert b"0 3 * * * America/Argentina/Buenos_Aires" in shown


def test_next_in_its_zone_and_in_utc(daemon: Daemon) -> None:
    schedule(daemon, "next", "--cron", "30 12 * * *", "--tz", "Asia/Kolkata")
    shown = daemon("schedules", "next", "next", "--count", "2")
    assert shown.code == 0
    assert shown.out.startswith("next: At 12:30 (Asia/Kolkata)\n\n")
    names, *rows = cells(shown.out)[2:]
    assert names == ["ASIA/KOLKATA", "UTC"]
    assert [(local[10:], utc[10:]) for local, utc in rows] == [("T12:30:00+05:30", "T07:00:00.000Z")] * 2
    document = daemon("schedules", "next", "next", "-o", "json").json
    assert len(document["runs"]) == 5
    assert document["warnings"] == []

    assert daemon("schedules", "pause", "next").code == 0
    assert daemon("schedules", "next", "next").err == "It is paused; this is how it would go on now.\n"


def test_update_and_what_takes_a_field_back(daemon: Daemon) -> None:
    schedule_id = schedule(daemon, "old", "--cron", "0 3 * * *", "--ends-at", "2090-01-01T00:00:00Z", "--max-runs", "9")
    changed = daemon(
        "schedules", "update", "old", f"{URL}new", "--name", "new", "--ends-at", "", "--max-runs", "", "--every", "1h"
    )
    assert (changed.code, changed.out) == (0, f"{schedule_id}\n")
    assert changed.err.splitlines()[0] == "new: Every 1h"
    now = daemon("schedules", "get", schedule_id, "-o", "json").json
    assert [now[name] for name in ("url", "name", "cron", "every", "ends_at", "max_runs")] == [
        f"{URL}new", "new", None, "1h", None, None,
    ]  # fmt: skip
    assert daemon("schedules", "update", "new", "--cron", "").err.startswith("fliqd: --cron: ")
    assert daemon("schedules", "update", "new", "--misfire", "all", "--overlap", "skip").code == 0
    again = daemon("schedules", "update", "new", "--misfire", "", "--overlap", "", "-o", "json").json
    assert (again["misfire"], again["overlap"]) == (now["misfire"], now["overlap"])


def test_pause_resume_and_what_was_missed(daemon: Daemon) -> None:
    first, second = (schedule(daemon, f"stop-{which}", "--every", "1s", "--paused") for which in "ab")
    rows = until(lambda: cells(daemon("schedules", "missed", "stop-a").out)[1:])
    assert rows[0][3] == "paused"

    resumed = daemon("schedules", "resume", "stop-a", "nobody", second)
    assert resumed.code == 4
    assert resumed.out.split() == [first, second]
    assert resumed.err.splitlines()[0].startswith("active, runs next at ")
    assert resumed.err.splitlines()[-1] == "fliqd: there is no schedule 'nobody'; see `fliqd schedules list`"

    paused = daemon("schedules", "pause", "stop-a", "stop-b", "-o", "json")
    assert [one["status"] for one in paused.json] == ["paused", "paused"]
    [missed] = [
        one
        for one in daemon("schedules", "missed", first, "--all", "-o", "jsonl").lines
        if one["first_at"] == rows[0][0]
    ]
    assert missed["reason"] == "paused"
    assert missed["count"] >= int(rows[0][2])


def test_run_and_its_jobs(daemon: Daemon, sink: Target) -> None:
    schedule_id = schedule(daemon, "by-hand", "--cron", "0 0 1 1 *", url=f"{sink.url}/by-hand")
    run = daemon("schedules", "run", "by-hand")
    assert run.code == 0
    assert run.err == "a run of by-hand, due now\n"
    job_id = run.out.strip()
    assert daemon("jobs", "watch", job_id).code == 0
    assert sink.hit("/by-hand").headers["X-Fliq-Schedule-Id"] == schedule_id

    for args in (
        ["jobs", "list", "--schedule", "by-hand"],
        ["jobs", "list", "--schedule", schedule_id],
        ["schedules", "jobs", "by-hand"],
    ):
        assert [job["id"] for job in daemon(*args, "-o", "jsonl").lines] == [job_id]
        assert daemon(*args, "--status", "failed", "-o", "jsonl").lines == []
    assert daemon("schedules", "get", "by-hand", "-o", "json").json["last_status"] == "success"
    assert daemon("jobs", "list", "--schedule", "nobody").code == 4
    refused = daemon("schedules", "jobs", "by-hand", "--created-after", "yesterday")
    assert refused.err.startswith("fliqd: --created-after: expected an RFC 3339 time")


def test_delete_tells_what_went_with_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, serve(tmp_path, FLIQD_DISPATCH__MAX_IN_FLIGHT="1") as daemon:
        schedule_id = schedule(daemon, "doomed", "--every", "1d", url=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        jobs = set(daemon("schedules", "run", "doomed", "doomed").out.split())
        [running] = until(lambda: daemon("schedules", "jobs", "doomed", "--status", "running", "-o", "jsonl").lines)
        [waiting] = jobs - {running["id"]}

        deleted = daemon("schedules", "delete", "doomed")
        assert (deleted.code, deleted.out) == (0, f"{schedule_id}\n")
        assert deleted.err == f"deleted; cancelled {waiting}; {running['id']} had started and goes on\n"
        assert daemon("schedules", "delete", "doomed").code == 4
        assert daemon("schedules", "get", schedule_id).code == 4
        assert daemon("jobs", "get", waiting, "-o", "json").json["status"] == "cancelled"
        assert len(daemon("jobs", "list", "--schedule", schedule_id, "-o", "jsonl").lines) == 2
        assert daemon("schedules", "missed", schedule_id, "-o", "json").json == []
        silent.close()


def test_what_the_file_declares_is_read_paused_and_run_but_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text(f"""
        server.listen = "127.0.0.1:0"
        [[schedules]]
        name = "declared"
        cron = "0 0 1 1 *"
        url = "{URL}"
    """)
    with serve(tmp_path / "state", "--config", str(file)) as daemon:
        assert [one["name"] for one in daemon("schedules", "list", "--source", "config", "-o", "json").json] == [
            "declared"
        ]
        for args in (["update", "declared", "--every", "1h"], ["delete", "declared"]):
            refused = daemon("schedules", *args)
            assert (refused.code, refused.out) == (5, "")
            assert "declared in the configuration file" in refused.err
        assert daemon("schedules", "pause", "declared").code == 0
        assert daemon("schedules", "run", "declared").code == 0


def test_a_token_that_may_only_write_is_enough_to_make_and_delete(daemon: Daemon) -> None:
    writer = daemon("tokens", "create", "writer", "--scope", "write", "-o", "json").json
    token = writer["token"]
    made = daemon("schedules", "create", URL, "--every", "1h", "--name", "unread", FLIQD_TOKEN=token)
    assert made.code == 0
    assert re.fullmatch(r"runs next at [^,]+", made.err.splitlines()[1])
    deleted = daemon("schedules", "delete", made.out.strip(), "-o", "json", FLIQD_TOKEN=token)
    assert deleted.json == {"id": made.out.strip(), "status": "deleted", "cancelled_jobs": [], "jobs_under_way": []}
    assert daemon("tokens", "revoke", writer["id"]).code == 0
