"""`fliqd stats`, as an operator uses it."""

import pytest

from fliqd.cli.bars import bars

from .running import Daemon, Target


@pytest.fixture
def ran(daemon: Daemon, sink: Target) -> Daemon:
    """A daemon that has executed a job that succeeds and one that fails, in the queue `numbers`."""
    for path in ("/", "/500"):
        job = daemon.create(sink.url + path, "--queue", "numbers")
        daemon("jobs", "watch", job)
    return daemon


def test_jobs(ran: Daemon) -> None:
    told = ran("stats", "jobs", "--queue", "numbers", "--days", "7")
    assert told.code == 0, told
    sides = dict(line.split("\t") for line in told.out.splitlines())
    assert {name.strip() for name in sides} == {
        "days", "executions", "succeeded", "failed", "interrupted", "took", "late",
    }  # fmt: skip
    body = ran("stats", "jobs", "--queue", "numbers", "-o", "json").json
    assert body["total_executions"] == body["succeeded"] + body["failed"] >= 2
    assert body["since_days"] == 30
    assert ran("stats", "jobs", "--host", "nowhere.lan", "-o", "json").json["total_executions"] == 0


def test_usage_and_timeline(ran: Daemon) -> None:
    usage = ran("stats", "usage", "--queue", "numbers").out.splitlines()
    assert usage[0].split() == ["DATE", "JOBS", "BUFFERS"]
    assert int(usage[-1].split("\t")[1]) >= 2
    hours = ran("stats", "timeline", "--queue", "numbers").out.splitlines()
    assert len(hours) == 26
    assert hours[0].split("\t")[0].strip() == "HOUR"
    days = ran("stats", "timeline", "--days", "30", "-o", "jsonl").lines
    assert len(days) == 31


def test_what_is_refused(daemon: Daemon) -> None:
    assert daemon("stats", "jobs", "--days", "0").code == 2
    assert daemon("stats", "jobs", "--schedule", "no-such").code == 4
    refused = daemon("stats", "jobs", "--queue", "a", "--host", "b")
    assert (refused.code, "goes without" in refused.err) == (1, True)


def test_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", type("Stdout", (), {"encoding": "utf-8"}))
    assert bars([0, 1, 8, 800], 10) == ["", "▏", "▏", "█" * 10]
    assert bars([1, 2, 3], 2) == ["▋", "█▍", "██"]
    assert bars([]) == []
    assert bars([0]) == [""]
