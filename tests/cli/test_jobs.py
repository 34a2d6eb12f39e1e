"""`fliqd jobs`: what each command does, prints and exits with."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fliqd.cli.main import cli

from .running import Daemon, Target

FAST = '{"kind": "fixed", "initial": 0.05, "jitter": 0}'


def test_create_sends_what_was_asked_for(daemon: Daemon, sink: Target, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"big": 123456789012345678901234567890}')
    made = daemon(
        "jobs", "create", f"{sink.url}/all", "--method", "put", "-H", "X-One: 1: 2", "--query", "a=b=c",
        "--json", f"@{tmp_path}/body.json", "--tag", "x", "--tag", "y", "--name", "Grüße", "--success-status", "2xx",
        "--success-status", "409", "--timeout", "5", "--max-retries", "2", "--backoff", FAST, "--wait", "-o", "json",
    )  # fmt: skip
    assert made.code == 0, made
    job = made.json
    assert (job["status"], job["name"], job["tags"]) == ("success", "Grüße", ["x", "y"])
    assert (job["timeout_seconds"], job["max_retries"], job["success_statuses"]) == (5, 2, ["2xx", 409])
    hit = sink.hit("/all?a=b%3Dc")
    assert (hit.method, hit.headers["X-One"]) == ("PUT", "1: 2")
    assert hit.body == b'{"big": 123456789012345678901234567890}'


def test_create_prints_the_id_alone_and_reads_a_body_from_stdin(daemon: Daemon, sink: Target) -> None:
    made = daemon("jobs", "create", f"{sink.url}/in", "-d", "@-", "--wait", stdin="from stdin")
    assert made.code == 0
    assert made.out.startswith("job_")
    assert made.out.count("\n") == 1
    assert made.err.splitlines()[-1] == "success, 200 after 1 attempt"
    assert sink.hit("/in").body == b"from stdin"


def test_waiting_for_a_job_that_fails_is_1(daemon: Daemon, sink: Target) -> None:
    made = daemon("jobs", "create", f"{sink.url}/500", "--max-retries", "1", "--backoff", FAST, "--wait")
    assert made.code == 1
    job_id = made.out.strip()
    assert made.err.splitlines()[-1].startswith(f"fliqd: {job_id}: failed after 2 attempts: ")

    executions = daemon("jobs", "executions", job_id)
    names, *rows = [[cell.strip() for cell in line.split("\t")] for line in executions.out.splitlines()]
    assert names == ["#", "STATUS", "CODE", "WHEN", "LATE", "TOOK", "ERROR"]
    assert [row[:3] for row in rows] == [["2", "failed", "500"], ["1", "failed", "500"]]
    assert [one["response_body"] for one in daemon("jobs", "executions", job_id, "-o", "jsonl").lines] == ["ok", "ok"]

    again = daemon("jobs", "replay", job_id)
    assert again.code == 0
    watched = daemon("jobs", "watch", again.out.strip(), "-o", "jsonl")
    assert watched.code == 1
    assert watched.lines[-1]["status"] == "failed"
    assert watched.lines[-1]["replay_of"] == job_id


def test_every_problem_is_a_line_and_names_the_option(daemon: Daemon) -> None:
    refused = daemon("jobs", "create", "ftp://x", "--delay", "soon", "-H", "Host: x", "--timeout", "9h")
    assert (refused.code, refused.out) == (1, "")
    assert [line.split(": ")[1] for line in refused.err.splitlines()] == [
        "url",
        "--delay",
        "--header.Host",
        "--timeout",
    ]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["http://x", "-H", "nothing"], "--header"),
        (["http://x", "-H", "A: 1", "-H", "A: 2"], "comes twice"),
        (["http://x", "--query", "nothing"], "--query"),
        (["http://x", "--json", "{"], "is not JSON"),
        (["http://x", "--json", "[NaN]"], "is not JSON"),
        (["http://x", "--backoff", "{"], "is not JSON"),
        (["http://x", "-d", "@/nonexistent"], "/nonexistent cannot be read"),
        ([], "Missing argument 'URL'"),
        (["http://x", "--skip", "1"], "--skip"),
        (["http://x", "--batch", "-"], "--batch"),
        (["--batch", "/nonexistent"], "/nonexistent cannot be read"),
    ],
)
def test_slips_that_never_reach_the_daemon(args: list[str], told: str) -> None:
    ended = CliRunner().invoke(cli, ["jobs", "create", "--url", "http://127.0.0.1:1", "--token", "t", *args])
    assert ended.exit_code == 2
    assert told in ended.stderr


def test_an_idempotency_key_makes_one_job(daemon: Daemon, sink: Target) -> None:
    first, second = (
        daemon("jobs", "create", sink.url, "--delay", "1h", "--idempotency-key", "only once") for _ in range(2)
    )
    assert first.out == second.out
    assert "nothing new was made" in second.err


def test_a_waiting_job_is_looked_at_changed_and_run(daemon: Daemon, sink: Target) -> None:
    job_id = daemon.create(f"{sink.url}/later", "--delay", "1h", "--name", "later", "--tag", "t")
    why = daemon("jobs", "why", job_id)
    assert "not_due" in why.out

    changed = daemon("jobs", "update", job_id, f"{sink.url}/changed", "--name", "", "--delay", "2h", "-o", "json")
    assert changed.code == 0
    assert (changed.json["url"], changed.json["name"], changed.json["tags"]) == (f"{sink.url}/changed", None, ["t"])

    shown = daemon("jobs", "get", job_id)
    assert ["status", "scheduled"] in [line.split("\t") for line in shown.out.splitlines()]
    assert "name\t" not in shown.out

    assert daemon("jobs", "run", job_id).out == f"{job_id}\n"
    watched = daemon("jobs", "watch", job_id)
    assert watched.code == 0
    assert watched.out.splitlines()[-1].endswith(f"{job_id}  success, 200 after 1 attempt")
    assert daemon("jobs", "why", job_id).out == "success: it waits for nothing\n"
    assert sink.hit("/changed").method == "POST"


def test_an_empty_time_is_not_now(daemon: Daemon) -> None:
    job_id = daemon.create("http://127.0.0.1:9/", "--delay", "1h")
    assert daemon("jobs", "create", "http://127.0.0.1:9/", "--at", "").code == 1
    assert daemon("jobs", "update", job_id, "--at", "").code == 1


def test_refusals_speak_of_options_and_show_what_was_given(daemon: Daemon) -> None:
    create = ("jobs", "create", "http://127.0.0.1:9/")
    assert "--json: and --data exclude each other" in daemon(*create, "--delay", "1h", "--json", "1", "--data", "2").err
    assert "--delay: and --at exclude" in daemon(*create, "--delay", "1h", "--at", "2030-01-01T00:00:00Z").err
    assert '--queue: got "max_retries x", expected' in daemon(*create, "--queue", "max_retries x").err
    assert "[retry|fail]" in daemon("jobs", "update", "--help").out


def test_an_empty_text_takes_any_field_back_to_its_default(daemon: Daemon) -> None:
    job_id = daemon.create("http://127.0.0.1:9/", "--delay", "1h", "--webhook-url", "http://127.0.0.1:9/")
    given = ("--max-retries", "7", "--on-interrupt", "fail", "--method", "PUT", "--timeout", "9s", "--queue", "q")
    assert daemon("jobs", "update", job_id, *given, "--webhook-event", "failed").code == 0
    emptied = [part for option in (*given[::2], "--webhook-event") for part in (option, "")]
    again = daemon("jobs", "update", job_id, *emptied, "-o", "json")
    assert again.code == 0, again
    told = [again.json[name] for name in ("max_retries", "on_interrupt", "http_method", "queue", "webhook_events")]
    assert told == [0, "retry", "POST", "default", ["completed", "failed", "cancelled"]]


def test_one_refusal_does_not_keep_the_others(daemon: Daemon) -> None:
    first, second = (daemon.create("http://127.0.0.1:9/", "--delay", "1h") for _ in range(2))
    ended = daemon("jobs", "cancel", first, "job_none", second)
    assert ended.code == 4
    assert ended.out.split() == [first, second]
    assert ended.err.splitlines()[-1] == "fliqd: there is no job 'job_none'; see `fliqd jobs list`"

    conflict = daemon("jobs", "cancel", first)
    assert conflict.code == 5
    assert first in conflict.err


def test_list_filters_and_pages(daemon: Daemon) -> None:
    jobs = [
        json.dumps({"url": "http://127.0.0.1:9/", "delay": 3600, "tags": ["many"], "name": f"n{i}"}) for i in range(120)
    ]
    assert daemon("jobs", "create", "--batch", "-", stdin="\n".join(jobs)).code == 0

    everything = daemon("jobs", "list", "--tag", "many", "--all", "-o", "jsonl").lines
    assert [job["name"] for job in everything] == [f"n{i}" for i in reversed(range(120))]
    assert len(daemon("jobs", "list", "--tag", "many", "--limit", "110", "-o", "json").json) == 110
    assert len(daemon("jobs", "list", "--tag", "many").out.splitlines()) == 21
    assert daemon("jobs", "list", "--queue", "nobody", "-o", "json").json == []

    refused = daemon("jobs", "list", "--created-after", "yesterday")
    assert refused.code == 1
    assert refused.err.startswith("fliqd: --created-after: expected an RFC 3339 time")


def test_status(daemon: Daemon) -> None:
    status = daemon("status")
    assert status.code == 0
    assert f"at {daemon.url}\n" in status.out
    assert daemon("status", "-o", "jsonl").lines[0]["status"] == "ok"


def test_a_job_is_approved(daemon: Daemon, sink: Target) -> None:
    job_id = daemon.create(f"{sink.url}/held", "--requires-approval")
    assert daemon("jobs", "get", job_id, "-o", "json").json["status"] == "awaiting_approval"
    assert job_id in daemon("jobs", "list", "--status", "awaiting_approval", "-o", "jsonl").out
    approved = daemon("jobs", "approve", job_id)
    assert (approved.code, approved.out.strip()) == (0, job_id)
    assert daemon("jobs", "watch", job_id).code == 0
    assert daemon("jobs", "approve", job_id).code == 5


def test_the_same_work_is_made_once(daemon: Daemon, sink: Target) -> None:
    first, again = [
        daemon.create(f"{sink.url}/same", "--dedupe-key", "k", "--dedupe-window", "1h", "--dynamic-fields", "inject")
        for _ in range(2)
    ]
    assert first == again
