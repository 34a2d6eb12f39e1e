"""`fliqd alerts` and `fliqd webhooks`: what each command does, prints and exits with."""

import json
import re
import time

import pytest

from .running import PATIENCE_S, Daemon, Target


def channel(daemon: Daemon, name: str, url: str, kind: str = "webhook") -> str:
    made = daemon("alerts", "create", kind, url, "--name", name)
    assert made.code == 0, made
    return made.out.strip()


def test_create_prints_the_id_and_never_the_target(daemon: Daemon) -> None:
    made = daemon("alerts", "create", "slack", "https://hooks.example.com/T/s3cret", "--name", "c1", "--disabled")
    assert made.code == 0, made
    assert re.fullmatch(r"alt_[0-9a-z]{26}\n", made.out)
    assert made.err == "c1 (slack) is disabled, and would be told at https://hooks.example.com/***\n"
    shown = daemon("alerts", "get", "c1", "-o", "json").json
    assert (shown["enabled"], shown["target"]) == (False, "https://hooks.example.com/***")
    assert "c1" in daemon("alerts", "get", made.out.strip()).out
    daemon("alerts", "delete", "c1")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("create", "email", "http://a/"), 2, "'email' is not one of"),
        (("create", "ntfy", "http://a/"), 1, "target: names no topic"),
        (("update", "nobody", "--name", "x"), 4, "no channel 'nobody'"),
        (("update", "nobody"), 2, "say what to change"),
        (("get", "alt_00000000000000000000000000"), 4, "no channel alt_"),
        (("test", "nobody"), 4, "no channel 'nobody'"),
    ],
)
def test_refusals(daemon: Daemon, args: tuple[str, ...], code: int, words: str) -> None:
    refused = daemon("alerts", *args)
    assert (refused.code, refused.out) == (code, "")
    assert words in refused.err


def test_a_name_that_two_have_names_none(daemon: Daemon) -> None:
    first, second = (channel(daemon, "twins", f"http://127.0.0.1:9/{number}") for number in range(2))
    for command in ("delete", "disable", "get", "test"):
        refused = daemon("alerts", command, "twins")
        assert (refused.code, refused.out) == (5, "")
        assert f"2 channels are called 'twins': say which by its id ({second}, {first})" in refused.err
    assert daemon("alerts", "delete", first, "twins").out == f"{first}\n{second}\n"


def test_a_channel_from_its_beginning_to_its_end(daemon: Daemon, sink: Target) -> None:
    channel_id = channel(daemon, "c2", f"{sink.url}/alert-c2")
    tested = daemon("alerts", "test", "c2")
    assert (tested.code, tested.out, tested.err) == (0, f"{channel_id}\n", "it answered 200\n")
    assert json.loads(sink.hit("/alert-c2").body)["event"] == "test"
    assert daemon("alerts", "disable", "c2").err.startswith("c2 (webhook) is disabled")
    assert daemon("alerts", "enable", "c2", "-o", "json").json["enabled"] is True
    changed = daemon("alerts", "update", "c2", "--target", f"{sink.url}/500", "--name", "c3")
    assert (changed.code, changed.out) == (0, f"{channel_id}\n")
    dead = daemon("alerts", "test", "c3")
    assert (dead.code, dead.out) == (1, "")
    assert dead.err == "fliqd: c3 took no test: bad_status: the channel answered 500\n"
    listed = daemon("alerts", "list")
    assert re.search(rf"{channel_id}\s+webhook\s+c3\s+enabled\s+api\s+http://127.0.0.1:\d+/\*\*\*", listed.out)
    assert [one["id"] for one in daemon("alerts", "list", "-o", "jsonl").lines] == [channel_id]
    gone = daemon("alerts", "delete", "c3", "nobody")
    assert (gone.code, gone.out) == (4, f"{channel_id}\n")


def test_webhooks_of_a_job(daemon: Daemon, sink: Target) -> None:
    job_id = daemon.create(
        f"{sink.url}/job-w", "--webhook-url", f"{sink.url}/told-w", "--webhook-header", "X-Mine: yes",
        "--webhook-event", "started", "--webhook-event", "completed", "--callback-url", f"{sink.url}/answer-w",
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while len(daemon("webhooks", "list", "--job", job_id, "--status", "delivered", "-o", "jsonl").lines) < 3:
        assert time.monotonic() < deadline
    told = [hit for hit in sink.hits if hit.path == "/told-w"]
    assert [json.loads(hit.body)["event"] for hit in told] == ["job.started", "job.completed"]
    assert told[0].headers["X-Mine"] == "yes"
    assert json.loads(sink.hit("/answer-w").body)["body"] == "ok"
    listed = daemon("webhooks", "list", "--job", job_id)
    assert re.search(rf"job.completed\s+delivered\s+1/10\s+\S+\s+{job_id}\s+-\s+{sink.url}/told-w", listed.out)
    assert "webhook_events\tstarted, completed" in daemon("jobs", "get", job_id).out
