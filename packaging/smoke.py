"""Does an artifact work? `smoke.py COMMAND…` starts it, has it deliver a job, reads that back, and stops it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATIENCE_S = float(os.environ.get("SMOKE_PATIENCE", "60"))  # only ends what fails; emulated machines need more


class Target(BaseHTTPRequestHandler):
    """What is called."""

    called = threading.Event()

    def do_POST(self) -> None:
        """Note it."""
        self.send_response(204)
        self.end_headers()
        self.called.set()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- likewise
        """Say nothing."""


def main(command: list[str]) -> None:
    """Try one artifact; end with a message when it fails."""
    with tempfile.TemporaryDirectory(prefix="fliqd-smoke-") as scratch:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLIQD_", "PYTHON"))}
        env = kept | {
            "HOME": scratch,
            "SHIV_ROOT": os.environ.get("SHIV_ROOT", f"{scratch}/shiv"),
            "STATE_DIRECTORY": f"{scratch}/state",
            "FLIQD_SERVER__LISTEN": "127.0.0.1:0",
            "FLIQD_LOG__FORMAT": "json",
        }
        first_s, version = timed([*command, "--version"], env)
        again_s, _ = timed([*command, "--version"], env)
        assert version.startswith("fliqd "), version  # noqa: S101 -- this is a test
        timed([*command, "config", "check"], env)
        timed([*command, "cron", "*/5 * * * *"], env)
        ready_s = serve(command, env, Path(scratch))
    print(f"{version.strip()}: --version {first_s:.2f} s, again {again_s:.2f} s, ready after {ready_s:.2f} s, job done")


def serve(command: list[str], env: dict[str, str], scratch: Path) -> float:
    """Run the daemon and a job through it; return how long it took to be ready."""
    said = scratch / "stderr"
    started = time.monotonic()
    with said.open("wb") as stderr, subprocess.Popen([*command, "serve"], env=env, stderr=stderr) as daemon:
        try:
            ready = wait_for(lambda: event(said, "daemon.ready"), daemon, said)
            ready_s = time.monotonic() - started
            deliver(ready["listen"][0], (scratch / "state/admin.token").read_text().strip())
            _, status = timed([*command, "status", "--output", "json"], env | {"FLIQD_URL": ready["listen"][0]})
            assert json.loads(status)["status"] == "ok", status  # noqa: S101 -- this is a test
        finally:
            daemon.send_signal(signal.SIGTERM)
        code = daemon.wait(PATIENCE_S)
        assert code == 0, f"it ended with {code}\n{said.read_text()}"  # noqa: S101 -- this is a test
    return ready_s


def deliver(url: str, token: str) -> None:
    """Create a job, and wait until it has arrived and is done."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Target) as target:
        threading.Thread(target=target.serve_forever, args=(0.05,), daemon=True).start()
        job = {"url": f"http://127.0.0.1:{target.server_address[1]}/", "delay": 0, "json": {"smoke": True}}
        made = call(f"{url}/v1/jobs", token, job)
        assert Target.called.wait(PATIENCE_S), "the job did not arrive"  # noqa: S101 -- this is a test
        deadline = time.monotonic() + PATIENCE_S
        while call(f"{url}/v1/jobs/{made['id']}", token)["status"] != "success":
            assert time.monotonic() < deadline, "the job is not done"  # noqa: S101 -- this is a test
            time.sleep(0.05)
        target.shutdown()


def call(url: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a call of the API."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 -- http, on this machine
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310 -- likewise
        document: dict[str, Any] = json.load(answer)
        return document


def timed(command: list[str], env: dict[str, str]) -> tuple[float, str]:
    """Run a command that must succeed; return how long it took and what it printed."""
    started = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"  # noqa: S101 -- a test
    return time.monotonic() - started, done.stdout


def event(said: Path, name: str) -> dict[str, Any] | None:
    """Return the first event of a name from the log."""
    for line in said.read_text().splitlines():
        if line.startswith("{") and line.endswith("}") and f'"{name}"' in line:
            found: dict[str, Any] = json.loads(line)
            return found
    return None


def wait_for(ask: Any, daemon: subprocess.Popen[bytes], said: Path) -> dict[str, Any]:
    """Ask until there is an answer."""
    deadline = time.monotonic() + PATIENCE_S
    while daemon.poll() is None and time.monotonic() < deadline:
        found: dict[str, Any] | None = ask()
        if found is not None:
            return found
        time.sleep(0.02)
    raise SystemExit(f"it is not ready:\n{said.read_text()}")


if __name__ == "__main__":
    main(sys.argv[1:])
