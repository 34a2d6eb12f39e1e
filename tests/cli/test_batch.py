"""`fliqd jobs create --batch`: many jobs, some of them wrong, and a daemon that may go away."""

import io
import json
from typing import Any

import pytest

from fliqd.cli.batch_file import Entry, entries
from fliqd.cli.job_batch import MOST_BYTES, calls

from .running import Daemon, Target, environment, run

WRONG = r"""{"url": "http://127.0.0.1:9/", "delay": 3600, "idempotency_key": "b1"}
{"url": "http://127.0.0.1:9/", "delay": 3600, "idempotency_key": "b1"}
{"url": "ftp://x", "dely": 3600}
not JSON

[1]
{"url": "http://127.0.0.1:9/", "delay": 3600}, {"url": "http://127.0.0.1:9/", "delay": 3600}
{"url": "http://127.0.0.1:9/", "delay": 3600, "body": "\u0000"}
{"url": "http://127.0.0.1:9/", "delay": 3600, "body": "\ud800"}
{"url": "http://127.0.0.1:9/", "delay": NaN}
{"url": "http://127.0.0.1:9/", "delay": 3600}
"""


def read(text: str) -> list[Entry]:
    return list(entries(io.BytesIO(text.encode())))


def test_wrong_lines_are_told_and_the_others_created(daemon: Daemon) -> None:
    ended = daemon("jobs", "create", "--batch", "-", stdin=WRONG)
    assert ended.code == 1
    ids = ended.out.split()
    assert (len(ids), len(set(ids))) == (3, 2), "that of a key twice"
    *told, end = ended.err.splitlines()
    assert [line.split(":")[1] for line in told] == [f" line {n}" for n in (3, 4, 6, 7, 8, 9, 10)]
    assert end == "created 2, replayed 1, refused 7"
    assert 'dely: unknown field; did you mean "delay"?' in ended.err.splitlines()[0]


def test_a_line_of_json_for_each(daemon: Daemon) -> None:
    ended = daemon("jobs", "create", "--batch", "-", "-o", "jsonl", "--skip", "1", stdin=WRONG)
    assert [line["line"] for line in ended.lines] == [2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert [line["status"] for line in ended.lines[1:]] == [400] * 7 + [201]
    assert ended.lines[0]["id"].startswith("job_")
    assert ended.lines[1]["error"]["code"] == "invalid_url"


def test_an_array_in_several_calls_with_one_too_large(daemon: Daemon) -> None:
    job: dict[str, Any] = {"url": "http://127.0.0.1:9/", "delay": 3600, "tags": ["array"]}
    jobs = [job | {"body": "x" * (i % 3000)} for i in range(1200)]
    jobs.insert(7, job | {"body": "x" * (1024 * 1024)})
    ended = daemon("jobs", "create", "--batch", "-", "-o", "json", stdin=json.dumps(jobs, indent=1))
    assert ended.code == 1
    assert (ended.json["created"], ended.json["refused"]) == (1200, 1)
    assert [problem["status"] for problem in ended.json["problems"]] == [413]


def test_going_on_after_the_daemon_went_away(stranger: Target) -> None:
    stranger.answer = b"HTTP/1.0 502 Bad Gateway\r\n\r\n"
    lines = '{"url": "http://x"}\n' * 3
    ended = run(
        "jobs",
        "create",
        "--batch",
        "-",
        "--skip",
        "1",
        stdin=lines,
        env=environment(FLIQD_URL=stranger.url, FLIQD_TOKEN="t"),
    )
    assert ended.code == 69
    assert "1 jobs of - are done" in ended.err
    assert "--skip 1" in ended.err
    assert len(stranger.hits) == 1


def test_nothing_is_fine(daemon: Daemon) -> None:
    for nothing in ("", "\n\n", "[]", " [ ] "):
        assert read(nothing) == []
    ended = daemon("jobs", "create", "--batch", "-")
    assert (ended.out, ended.err) == ("", "created 0, replayed 0, refused 0\n")


def test_where_each_entry_stands() -> None:
    assert read('\ufeff{"a": 1}\r\n\n {"b": "ü"} ') == [Entry(1, b'{"a": 1}'), Entry(3, '{"b": "ü"}'.encode())]
    assert read('\n[\n {"a":\n 1}, 5,\n\n{"b": 1e400}]') == [
        Entry(3, b'{"a":\n 1}'),
        Entry(4, b"5", "is not a JSON object"),
        Entry(6, b'{"b": 1e400}'),
    ]


@pytest.mark.parametrize("broken", ["[", "[{}", "[{},", "[{}, {", "[{} {}]", '[{"a": NaN}]', "[[[", "[" * 100_000])
def test_a_broken_array_ends_in_a_problem(broken: str) -> None:
    *_, last = read(broken)
    assert last.problem is not None


def test_an_element_longer_than_a_read() -> None:
    long = '{"a": "' + "ü" * 1_000_000 + '"}'
    assert [entry.problem for entry in read(f"[{long}, {long}]")] == [None, None]


def test_calls_are_limited_in_number_and_size() -> None:
    assert [len(call) for call in calls(Entry(i, b"{}") for i in range(2001))] == [1000, 1000, 1]
    assert [len(call) for call in calls(Entry(i, b"x" * (MOST_BYTES // 2)) for i in range(3))] == [1, 1, 1]
