"""What a person on a terminal sees, and what can never reach them."""

import os
import pty
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from fliqd.cli import moments, output
from fliqd.core.sizes import format_size

from .running import PROGRAM, Daemon

AT = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?[39][0-7]m")


def on_a_terminal(*args: str, env: dict[str, str], columns: int = 120) -> tuple[int, bytes]:
    """Run a command whose stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *args], env=env | {"COLUMNS": str(columns), "TERM": "xterm"}, stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass  # EIO: the other side is closed
        os.close(ours)
        return run.wait(), shown


def test_a_person_sees_a_table(daemon: Daemon) -> None:
    job_id = daemon.create("http://127.0.0.1:9/", "--delay", "1h", "--name", "nightly")
    code, shown = on_a_terminal("jobs", "list", "--name", "nightly", env=daemon.env)
    assert code == 0
    assert COLOUR.search(shown)
    for part in (job_id, "scheduled", ", in ", "nightly", "POST http://127.0.0.1:9/"):
        assert part.encode() in shown
    assert b"LAST" not in shown  # nothing stands in that column

    _, shown = on_a_terminal("jobs", "list", "--name", "nightly", env=daemon.env | {"NO_COLOR": "1"})
    assert job_id.encode() in shown
    assert not COLOUR.search(shown)

    assert b"Nothing to show." in on_a_terminal("jobs", "list", "--name", "nobody", env=daemon.env)[1]


def test_what_finds_no_room_in_a_line_gets_its_own(daemon: Daemon) -> None:
    """At 80 columns an id and its times take all of them: the request, which tells jobs apart, stands below."""
    url = f"http://127.0.0.1:9/{'very-' * 20}long"
    for which in (url, "http://127.0.0.1:9/"):
        daemon.create(which, "--delay", "1h", "--name", "Grüße " * 40, "--tag", "narrow")
    code, shown = on_a_terminal("jobs", "list", "--tag", "narrow", env=daemon.env | {"NO_COLOR": "1"}, columns=80)
    assert code == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in shown.decode().splitlines()]
    assert [line.split() for line in lines[:1]] == [["ID", "STATUS", "WHEN", "RUNS", "NAME"]]
    assert [line[:4] for line in lines[1::2]] == ["job_", "job_"]
    assert lines[2::2] == ["  POST http://127.0.0.1:9/", f"  POST {url}"]
    assert all(len(line) <= 80 for line in lines[::2][:1] + lines[1::2])
    assert lines[1].endswith("…")

    _, shown = on_a_terminal("jobs", "list", "--tag", "narrow", env=daemon.env | {"NO_COLOR": "1"}, columns=20)
    assert re.search(rb"job_[0-9a-z]{26}  scheduled  in ", shown)  # narrower than it can be: nothing vanishes


def test_a_batch_shows_progress_to_a_person(daemon: Daemon) -> None:
    code, shown = on_a_terminal("jobs", "create", "--batch", "/dev/null", env=daemon.env)
    assert (code, b"created 0" in shown) == (0, True)


def test_no_name_steers_the_terminal(daemon: Daemon) -> None:
    evil = "a\x1b]0;title\x07b\u202ec\x9b"
    daemon.create("http://127.0.0.1:9/", "--delay", "1h", "--name", evil, "--tag", "evil")
    for args in (["jobs", "list", "--tag", "evil"], ["jobs", "list", "--tag", "evil", "-o", "jsonl"]):
        _, shown = on_a_terminal(*args, env=daemon.env)
        assert b"\x1b]" not in shown
        assert b"\x07" not in shown
        assert "\x9b".encode() not in shown
    assert "a\ufffd]0;title\ufffdb\ufffdc\ufffd" in daemon("jobs", "list", "--tag", "evil").out


def test_json_survives_a_narrow_encoding(daemon: Daemon) -> None:
    daemon.create("http://127.0.0.1:9/", "--delay", "1h", "--name", "Grüße", "--tag", "latin")
    listed = daemon("jobs", "list", "--tag", "latin", "-o", "json", PYTHONIOENCODING="latin-1")
    assert listed.json[0]["name"] == "Grüße"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "now"), (-0.4, "now"), (12, "in 12 s"), (-60, "1 min ago"), (3_900, "in 1 h 5 min"),
        (90_000, "in 1 d 1 h"), (-40 * 86_400 - 3_600, "40 d ago"),
    ],
)  # fmt: skip
def test_how_far_it_is(seconds: float, words: str) -> None:
    assert moments.relative((AT + timedelta(seconds=seconds)).isoformat(), AT) == words


def test_a_time_is_as_short_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    here = AT.astimezone()
    assert moments.short(AT.isoformat(), AT) == f"{here:%H:%M:%S}"
    assert moments.short((AT + timedelta(days=30)).isoformat(), AT).startswith("31 Mar")
    assert moments.short((AT + timedelta(days=400)).isoformat(), AT).startswith("2028-04-0")


@pytest.mark.parametrize(("ms", "words"), [(None, ""), (7, "7 ms"), (1_250, "1.2 s"), (61_000, "1 min 1 s")])
def test_measured_times(ms: int | None, words: str) -> None:
    assert moments.milliseconds(ms) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 20, "20 MiB")])
def test_sizes(count: int, words: str) -> None:
    assert format_size(count) == words


def test_clean_keeps_what_is_harmless() -> None:
    assert output.clean("Grüße\tan\nalle\x00") == "Grüße an alle\ufffd"
