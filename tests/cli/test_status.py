"""`fliqd status` as a health check: its exit code says how the daemon is."""

import json
import socket

import pytest

from .running import Daemon, Target, environment, run

STATUS = {"version": "0.1.0", "uptime_seconds": 5, "in_flight": 0, "backlog": 0, "store": {"path": "/x", "bytes": 1}}


@pytest.mark.parametrize(
    ("status", "problem", "code"), [("ok", None, 0), ("failing", "the disk is full", 1), ("dancing", None, 1)]
)
def test_what_it_answers(stranger: Target, status: str, problem: str | None, code: int) -> None:
    body = json.dumps({**STATUS, "status": status, "problem": problem}).encode()
    stranger.answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body
    ended = run("status", "--url", stranger.url, env=environment(FLIQD_TOKEN="t"))
    assert ended.code == code, ended
    assert ended.out
    assert (problem or "") in ended.err


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert run("status", "--url", url, env=environment(FLIQD_TOKEN="t")).code == 69


def test_the_check_itself_is_wrong(daemon: Daemon) -> None:
    assert daemon("status", FLIQD_TOKEN="fliq_sk_0").code == 77
    assert daemon("status", FLIQD_URL="", FLIQD_SERVER__LISTEN="nowhere").code == 78
