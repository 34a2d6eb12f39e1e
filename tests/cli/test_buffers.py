"""`fliqd buffers`, `push` and `queues` against a real daemon and a real target."""

import time

from tests.cli.running import Daemon, Target


def received(sink: Target, path: str, number: int) -> list[bytes]:
    for _ in range(1000):
        bodies = [hit.body for hit in sink.hits if hit.path == path]
        if len(bodies) >= number:
            return bodies
        time.sleep(0.01)
    raise AssertionError(sink.hits)


def test_a_buffer_from_its_making_to_its_end(daemon: Daemon, sink: Target) -> None:
    made = daemon("buffers", "create", "erp", f"{sink.url}/erp", "--rate", "500", "-H", "X-A: 1")
    assert made.code == 0, made.err
    assert made.err == f"erp sends to {sink.url}/erp at 500 a second\n"
    buffer_id = made.out.strip()
    assert daemon("push", "erp", "--json", '{"n": 1}', "--key", "k").out.startswith("item_")
    again = daemon("push", "erp", "-d", "x", "--key", "k")
    assert "made it before" in again.err
    pushed = daemon("push", buffer_id, "--lines", stdin="a\nb\nc\n")
    assert (len(pushed.out.splitlines()), pushed.err) == (3, "3 pushed\n")
    assert received(sink, "/erp", 4) == [b'{"n": 1}', b"a", b"b", b"c"]
    assert daemon("buffers", "pause", "erp").err == f"erp sends to {sink.url}/erp at 500 a second, paused\n"
    assert daemon("buffers", "update", "erp", "--rate", "5", "-o", "json").json["rate_limit"] == 5
    assert daemon("buffers", "update", "erp", "--rate", "", "-o", "json").json["rate_limit"] == 10
    assert daemon("buffers", "list", "-o", "jsonl").lines[0]["paused"] is True
    assert daemon("buffers", "get", "erp", "-o", "json").json["headers"] == {"X-A": "1"}
    items = daemon("buffers", "items", "erp", "-o", "jsonl").lines
    assert len(items) == 4
    assert daemon("buffers", "item", "erp", items[0]["id"], "-o", "json").json["body"] == "c"
    assert daemon("buffers", "replay", "erp", items[0]["id"]).code == 5
    assert daemon("buffers", "stats", "erp", "-o", "json").json["total"] == 4
    assert daemon("buffers", "resume", "erp").code == 0
    assert daemon("buffers", "delete", "erp").out == f"{buffer_id}\n"
    assert daemon("buffers", "get", "erp").code == 4
    assert daemon("push", "erp", "-d", "x").code == 4


def test_what_is_refused_speaks_of_the_options(daemon: Daemon, sink: Target) -> None:
    refused = daemon("buffers", "create", "x", sink.url, "--rate", "0")
    assert (refused.code, refused.err.partition(":")[0]) == (1, "fliqd")
    assert "--rate: got 0" in refused.err


def test_queues_are_limited_and_paused(daemon: Daemon, sink: Target) -> None:
    assert daemon("queues", "update", "mail", "--concurrency", "2").err == "mail has 2 at once; 0 wait\n"
    assert daemon("queues", "pause", "mail").out == "mail\n"
    daemon.create(f"{sink.url}/mail", "--queue", "mail")
    shown = daemon("queues", "get", "mail", "-o", "json").json
    assert (shown["paused"], shown["waiting"]) == (True, 1)
    assert {queue["name"] for queue in daemon("queues", "list", "-o", "jsonl").lines} >= {"default", "mail"}
    assert daemon("queues", "resume", "mail").code == 0
    received(sink, "/mail", 1)
    assert daemon("queues", "update", "mail", "--rate", "x").code == 2
    assert "say which limit" in daemon("queues", "update", "mail").err
    assert daemon("queues", "update", "mail", "--rate", "5").err == "mail has 2 at once and 5 a second; 0 wait\n"
    assert daemon("queues", "update", "mail", "--concurrency", "").err == "mail has 5 a second; 0 wait\n"
    assert daemon("queues", "update", "mail", "--rate", "0").err.startswith("fliqd: --rate: got 0, expected")
    assert "'nan' is not a number" in daemon("queues", "update", "mail", "--rate", "nan").err
    assert daemon("queues", "update", "", "--rate", "1").code == 4
    assert daemon("queues", "delete", "mail").err == "mail has no limits of its own; 0 wait\n"
    assert daemon("queues", "delete", "mail").code == 4
