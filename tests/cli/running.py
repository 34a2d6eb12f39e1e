"""What these tests run: the real program as a process, against a real daemon and a real target."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

PATIENCE_S: Final = 20.0  # only ends tests that fail
PROGRAM: Final = (sys.executable, "-m", "fliqd")


@dataclass(frozen=True)
class Ended:
    """What a run of the program came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLIQD_", "XDG_"))}
    return kept | {"HOME": "/nonexistent", "TZ": "UTC", "PYTHONWARNINGS": "error", **changes}


def run(*args: str, env: Mapping[str, str], stdin: str = "") -> Ended:
    """Run the program to its end."""
    done = subprocess.run(
        [*PROGRAM, *args], env=env, input=stdin, capture_output=True, timeout=PATIENCE_S, check=False, encoding="utf-8"
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Daemon:
    """A running daemon, as the commands of a person on the same machine find it."""

    url: str
    state_dir: Path
    env: dict[str, str]

    def __call__(self, *args: str, stdin: str = "", **env: str) -> Ended:
        """Run a command against it."""
        return run(*args, env=self.env | env, stdin=stdin)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make a call to the API that must be accepted."""
        token = (self.state_dir / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, data, headers, method=method)) as answer:  # noqa: S310 -- our own daemon
            return json.load(answer)

    def create(self, url: str, *args: str) -> str:
        """Create a job that must be accepted; return its id."""
        made = self("jobs", "create", url, *args)
        assert made.code == 0, made
        return made.out.strip()


@contextmanager
def serve(state_dir: Path, *args: str, **env: str) -> Iterator[Daemon]:
    """Run `fliqd serve` on a free port."""
    state_dir.mkdir(exist_ok=True)
    said = state_dir / "stderr"
    its_env = environment(STATE_DIRECTORY=str(state_dir), FLIQD_SERVER__LISTEN="127.0.0.1:0", **env)
    if args:
        del its_env["FLIQD_SERVER__LISTEN"]
    with said.open("wb") as stderr, subprocess.Popen([*PROGRAM, "serve", *args], env=its_env, stderr=stderr) as process:
        try:
            url = _url(process, said)
            yield Daemon(url, state_dir, environment(STATE_DIRECTORY=str(state_dir), FLIQD_URL=url))
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _url(process: subprocess.Popen[bytes], said: Path) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in said.read_text().splitlines(keepends=True):
            if line.endswith("\n") and '"daemon.ready"' in line:
                url: str = json.loads(line)["listen"][0]
                return url
        time.sleep(0.01)
    raise AssertionError(said.read_text())


@dataclass
class Hit:
    """One request as the target saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Target:
    """A server that notes what it gets; `/500` answers 500, anything else 200. `answer` overrides that."""

    url: str
    hits: list[Hit] = field(default_factory=list)
    answer: bytes | None = None  # sent as it is

    def hit(self, path: str) -> Hit:
        """Return the one request for a path."""
        [hit] = [hit for hit in self.hits if hit.path == path]
        return hit


@contextmanager
def serve_target() -> Iterator[Target]:
    target = Target("")

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            target.hits.append(Hit(self.command, self.path, dict(self.headers), body))
            if target.answer is not None:
                self.wfile.write(target.answer)
                return
            self.send_response(500 if self.path.startswith("/500") else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 -- http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        target.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield target
        server.shutdown()
        thread.join()
