"""`fliqd events` and `fliqd jobs watch`: what the daemon tells, also across its restarts."""

import json
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from .running import PATIENCE_S, PROGRAM, Daemon, Target, serve


@contextmanager
def following(daemon: Daemon, *args: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([*PROGRAM, *args], env=daemon.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def until_heard(daemon: Daemon, sink: Target, process: "subprocess.Popen[bytes]", *args: str) -> tuple[str, bytes]:
    """Make jobs until one of them is told of: from then on all is."""
    assert process.stdout is not None
    while True:
        job_id = daemon.create(sink.url, "--delay", "1h", *args)
        if select.select([process.stdout], [], [], 0.2)[0]:
            return job_id, process.stdout.readline()


def test_events_are_told_as_they_happen(daemon: Daemon, sink: Target) -> None:
    with following(daemon, "events", "--queue", "told", "--type", "job.created", "--type", "job.completed") as tail:
        until_heard(daemon, sink, tail, "--queue", "told")
        job_id = daemon.create(sink.url, "--queue", "told")
        assert tail.stdout is not None
        line = next(line.decode() for line in tail.stdout if job_id.encode() in line)
        assert line.split()[1:3] == ["job.created", job_id]
        assert tail.stdout.readline().decode().rstrip().endswith(f"{job_id}  success, 200 after 1 attempt")
        tail.send_signal(signal.SIGINT)
        assert tail.wait(PATIENCE_S) == 130


def test_events_as_json_lines(daemon: Daemon, sink: Target) -> None:
    with following(daemon, "events", "--queue", "lines", "-o", "jsonl") as tail:
        _, line = until_heard(daemon, sink, tail, "--queue", "lines")
        event: Any = json.loads(line)
        assert (event["type"], event["job"]["queue"]) == ("job.created", "lines")


def test_what_is_refused(daemon: Daemon) -> None:
    refused = daemon("events", "--type", "job.done")
    assert refused.code == 1
    assert "expected one or more of job.created" in refused.err
    assert daemon("events", FLIQD_TOKEN="fliq_sk_wrong").code == 77
    assert daemon("events", FLIQD_URL="http://127.0.0.1:9").code == 69


def test_every_step_of_a_job_is_watched(daemon: Daemon, sink: Target) -> None:
    job_id = daemon.create(sink.url + "/500", "--delay", "1h", "--max-retries", "1", "--backoff", "fixed")
    with following(daemon, "jobs", "watch", job_id, "-o", "jsonl") as watch:
        assert watch.stdout is not None
        seen = [json.loads(watch.stdout.readline())]
        hours = 1
        while not select.select([watch.stdout], [], [], 0.2)[0]:  # it has read the job, and may not listen yet
            hours += 1
            assert daemon("jobs", "update", job_id, "--delay", f"{hours}h").code == 0
        assert daemon("jobs", "run", job_id).code == 0
        while seen[-1]["executions"] == 0 or seen[-1]["status"] == "running":
            seen.append(json.loads(watch.stdout.readline()))
        steps = [step for step, _ in groupby((job["status"], job["executions"]) for job in seen)]
        assert steps == [("scheduled", 0), ("running", 1), ("scheduled", 1)]
        assert all(job["url"] == sink.url + "/500" for job in seen)
        assert daemon("jobs", "cancel", job_id).code == 0
        assert json.loads(watch.stdout.readline())["status"] == "cancelled"
        assert watch.wait(PATIENCE_S) == 1


def test_a_watch_outlives_a_restart(tmp_path: Path, sink: Target) -> None:
    state = tmp_path / "state"
    with serve(state) as daemon:
        port = daemon.url.rpartition(":")[2]
        job_id = daemon.create(sink.url, "--delay", "1h")
        watch = subprocess.Popen(
            [*PROGRAM, "jobs", "watch", job_id, "-o", "jsonl"],
            env=daemon.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["status"] == "scheduled"
        moved = daemon("jobs", "update", job_id, "--delay", "2h")
        assert moved.code == 0, moved
        assert json.loads(watch.stdout.readline())["status"] == "scheduled"
    (tmp_path / "fliqd.toml").write_text(f'[server]\nlisten = "127.0.0.1:{port}"\n')
    with serve(state, "--config", str(tmp_path / "fliqd.toml")) as daemon:
        assert daemon("jobs", "run", job_id).code == 0
        assert watch.stderr is not None
        assert [json.loads(line)["status"] for line in watch.stdout][-1:] == ["success"], watch.stderr.read()
        assert watch.wait(PATIENCE_S) == 0
        watch.stderr.close()
        watch.stdout.close()
