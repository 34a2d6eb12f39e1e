"""`fliqd export` and `fliqd import`: jobs as lines, made again elsewhere once and not twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fliqd.cli import exporting, importing, records
from fliqd.cli.client import Answer, Client
from fliqd.cli.errors import MissingError
from fliqd.cli.places import parse_place
from fliqd.cli.records import Choices, Kind

from .running import Daemon, Target, serve

# Each field away from its default, and what only looks like a default.
JOBS: list[dict[str, Any]] = [
    {"url": "http://127.0.0.1:9/plain", "delay": 3600},
    {
        "url": "http://127.0.0.1:9/all", "http_method": "PUT", "scheduled_at": "2030-01-02T03:04:05.678Z",
        "headers": {"Authorization": "Bearer secret"},
        "query": {"a": "1"}, "body": "text\nwith \u2028 lines", "max_retries": 3,
        "backoff": {"kind": "table", "delays": ["1s", 90]}, "timeout_seconds": 1.5,
        "expires_at": "2031-01-01T00:00:00Z", "idempotency_key": "mine", "queue": "mail", "name": "n",
        "description": "d", "tags": ["a", "b"], "on_interrupt": "fail", "success_statuses": ["2xx", 409],
    },
    {"url": "http://127.0.0.1:9/fix", "delay": "2h", "backoff": {"kind": "fixed", "initial": "5s"}, "json": [1, None]},
]  # fmt: skip
RAW_JSON = '{"url": "http://127.0.0.1:9/raw", "delay": 3600, "json": {"n": 1e400,\n  "z": 1.10, "deep": [ ]}}'


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, sink: Target) -> Iterator[Daemon]:
    """A daemon with jobs in every state."""
    with serve(tmp_path_factory.mktemp("here")) as daemon:
        lines = "\n".join(json.dumps(job) for job in JOBS)
        assert daemon("jobs", "create", "--batch", "-", stdin=lines).code == 0
        assert daemon("jobs", "create", "--batch", "-", stdin=f"[{RAW_JSON}]").code == 0
        done = daemon.create(f"{sink.url}/ok", "--delay", "0")
        failed = daemon.create(f"{sink.url}/500", "--delay", "0")
        retries = daemon.create(f"{sink.url}/500/again", "--delay", "0", "--max-retries", "3", "--backoff", "fixed")
        for job_id in (done, failed):
            assert daemon("jobs", "watch", job_id).code in (0, 1)
        while not daemon("jobs", "get", retries, "-o", "json").json["attempts"]:
            pass  # each look is a process of its own
        gone = daemon.create("http://127.0.0.1:9/cancelled", "--delay", "1h")
        assert daemon("jobs", "cancel", gone).code == 0
        yield daemon


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Daemon]:
    with serve(tmp_path / "there") as daemon:
        yield daemon


def waiting(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon("jobs", "list", "--all", "--status", "scheduled", "-o", "json").json
    return found


ASKED = (
    "url", "http_method", "scheduled_at", "headers", "query", "body", "json", "backoff", "timeout_seconds",
    "expires_at", "queue", "name", "description", "tags", "on_interrupt", "success_statuses",
)  # fmt: skip


def test_jobs_that_wait_are_made_again_as_they_were(here: Daemon, there: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "jobs.jsonl"
    exported = here("export", str(file))
    assert (exported.code, exported.out, exported.err) == (0, "", "exported 0 queues, 0 buffers, 8 jobs\n")
    assert file.stat().st_mode & 0o777 == 0o600

    would = there("import", str(file), "--dry-run")
    assert would.out == "would create 5, already there 0, refused 0, left out 3 (1 cancelled, 1 failed, 1 success)\n"
    assert waiting(there) == []
    made = there("import", str(file), "-o", "json")
    assert made.code == 0, made
    assert (made.json["created"], made.json["whole"], made.json["problems"]) == (5, True, [])
    assert there("import", str(file)).out.startswith("created 0, already there 5, refused 0")

    before = {job["url"]: job for job in waiting(here)}
    after = {job["url"]: job for job in waiting(there)}
    assert before.keys() == after.keys()
    for url, old in before.items():
        new = after[url]
        if not url.endswith("/again"):
            assert [new[name] for name in ASKED] == [old[name] for name in ASKED]
            assert new["max_retries"] == old["max_retries"]
        assert new["idempotency_key"] == (old["idempotency_key"] or f"import:{old['id']}")
    retry = next(url for url in before if url.endswith("/again"))
    assert after[retry]["max_retries"] == 3 - before[retry]["attempts"]
    assert after[retry]["scheduled_at"] == before[retry]["next_attempt_at"]


def test_queues_and_buffers_with_what_waits_in_them_are_made_again(there: Daemon, tmp_path: Path, sink: Target) -> None:
    """In the order in which they were pushed, over more than a page; and not twice."""
    with serve(tmp_path / "from") as before:
        assert before("queues", "update", "mail", "--concurrency", "2", "--rate", "0.5").code == 0
        assert before("queues", "pause", "mail").code == 0
        made = ("buffers", "create", "erp", f"{sink.url}/erp", "--rate", "500", "-H", "X-A: 1", "-H", "X-B: 1")
        assert before(*made).code == 0
        assert before("push", "erp", "-d", "gone").code == 0
        while before("buffers", "stats", "erp", "-o", "json").json["completed"] != 1:
            pass  # each look is a process of its own
        assert before("buffers", "pause", "erp").code == 0
        bodies = [f"number {number}" for number in range(230)]
        assert before("push", "erp", "--lines", stdin="\n".join(bodies[:-1])).code == 0
        assert before("push", "erp", "-d", bodies[-1], "-H", "X-B: 2").code == 0
        file = tmp_path / "all.jsonl"
        assert before("export", str(file)).err == "exported 1 queues, 1 buffers, 230 items, 0 jobs\n"
        assert before("import", str(file)).out.startswith("created 0, already there 232, refused 0")
    would = there("import", str(file), "--dry-run")
    assert would.out == "would create 232, already there 0, refused 0, left out 0\n", would
    assert there("import", str(file)).out == "created 232, already there 0, refused 0, left out 0\n"
    assert there("import", str(file)).out == "created 0, already there 232, refused 0, left out 0\n"
    queue = there("queues", "get", "mail", "-o", "json").json
    assert (queue["concurrency"], queue["rate"], queue["paused"]) == (2, 0.5, True)
    buffer = there("buffers", "get", "erp", "-o", "json").json
    assert (buffer["rate_limit"], buffer["paused"], buffer["headers"]) == (500, True, {"X-A": "1", "X-B": "1"})
    items = there("buffers", "items", "erp", "--all", "-o", "json").json
    assert [item["body"] for item in reversed(items)] == bodies
    assert [item["headers"]["X-B"] for item in items] == ["2", *["1"] * 229]


def test_what_the_file_declares_is_left_to_the_file_there(there: Daemon) -> None:
    """Its items are not: they go into the buffer of that name."""
    buffer = {
        "id": "buf_1",
        "name": "erp",
        "source": "config",
        "url": "http://127.0.0.1:9/",
        "headers": {"A": "${env:X}"},
    }
    item = {
        "id": "item_1",
        "buffer_id": "buf_1",
        "status": "pending",
        "headers": {"A": "${env:X}", "B": "1"},
        "body": "b",
    }
    queue = {"name": "mail", "source": "config", "concurrency": 2, "rate": None, "paused": False}
    lines = [
        HEAD,
        *(json.dumps({"kind": k, k: v}) for k, v in (("queue", queue), ("buffer", buffer), ("item", item))),
        END,
    ]
    ended = there("import", "-", stdin="\n".join(lines))
    assert (ended.code, ended.out) == (
        1, "created 0, already there 0, refused 1, left out 2 (2 of a configuration file)\n",
    )  # fmt: skip
    assert ended.err == "fliqd: line 4: its buffer is not there\n"
    assert there("buffers", "create", "erp", "http://127.0.0.1:9/", "-H", "A: here").code == 0
    assert there("buffers", "pause", "erp").code == 0
    assert there("import", "-", stdin="\n".join(lines)).out.startswith("created 1,")
    [made] = there("buffers", "items", "erp", "-o", "json").json
    assert (made["headers"], made["body"], made["idempotency_key"]) == ({"A": "here", "B": "1"}, "b", "import:item_1")


def test_a_body_keeps_its_bytes(here: Daemon, there: Daemon, tmp_path: Path) -> None:
    """Also numbers that no program of ours can hold; only line breaks between tokens become spaces."""
    text = here("export").out
    [line] = [line for line in text.splitlines() if "/raw" in line]
    assert '"json":{"n": 1e400,   "z": 1.10, "deep": [ ]}' in line
    assert there("import", "-", stdin=text).code == 0
    assert '"json":{"n": 1e400,   "z": 1.10, "deep": [ ]}' in there("export").out


def test_where_it_came_from_nothing_is_made_twice(here: Daemon, tmp_path: Path) -> None:
    text = here("export").out
    count = len(waiting(here))
    again = here("import", "-", stdin=text)
    assert again.out.startswith(f"created 0, already there {count}, refused 0")
    assert len(waiting(here)) == count


def test_an_export_is_lines_that_say_what_they_are(here: Daemon) -> None:
    lines = here("export", "--status", "failed", "--executions").lines
    assert [line["kind"] for line in lines] == ["export", "job", "execution", "end"]
    assert lines[1]["job"]["status"] == "failed"
    assert lines[2]["execution"]["job_id"] == lines[1]["job"]["id"]
    assert lines[2]["execution"]["status_code"] == 500
    assert lines[3] == {"kind": "end", "jobs": 1, "executions": 1}


def test_failed_jobs_may_be_made_again_at_once(here: Daemon, there: Daemon, sink: Target) -> None:
    text = here("export", "--status", "failed").out
    assert there("import", "-", "--status", "failed", stdin=text).out.startswith("created 1,")
    [job] = there("jobs", "list", "-o", "json").json
    assert job["url"] == f"{sink.url}/500"


def a_line(**changes: Any) -> str:
    job = {"id": "job_01" + "0" * 24, "status": "scheduled", "url": "http://127.0.0.1:9/", "attempts": 0}
    return json.dumps({"kind": "job", "job": {**job, "scheduled_at": "2030-01-01T00:00:00Z", **changes}})


HEAD, END = '{"kind":"export","format":1}', '{"kind":"end","jobs":1}'


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        ([HEAD, a_line()], 1, "was cut off: its last line is missing"),
        ([HEAD, a_line(), '{"kind": "jo'], 1, "line 3: is not JSON"),
        (["", *[a_line()]], 1, "is not the first line of an export"),
        (['{"url": "http://x"}'], 1, "jobs create --batch"),
        (['{"kind":"export","format":2}', END], 1, "import it with a newer one"),
        (
            [HEAD, '{"kind":"item","item":{"status":"pending","buffer_id":7}}', END],
            1,
            "line 2: is no record of an export",
        ),
        (
            [HEAD, '{"kind":"item","item":{"status":"pending","headers":[]}}', END],
            1,
            "line 2: is no record of an export",
        ),
        ([HEAD, a_line(url="ftp://x"), END], 1, "line 2: url: "),
        ([HEAD, a_line(status=7), END], 1, "line 2: is no record of an export"),
        ([HEAD, '{"kind":"job","job":[]}', END], 1, "line 2: is no line of an export"),
        ([HEAD, '{"kind":"song","song":{}}', END], 1, "line 2: has the kind 'song'"),
        ([HEAD, a_line(headers={"Authorization": "***"}), END], 1, "line 2: headers.Authorization: was masked"),
        ([HEAD, a_line(webhook_headers={"X-Token": "***"}), END], 1, "line 2: webhook_headers.X-Token: was masked"),
        ([HEAD, a_line(scheduled_at="yesterday"), END], 1, "line 2: expected an RFC 3339 time"),
        ([], 1, "was cut off"),
    ],
)
def test_what_is_not_imported(daemon: Daemon, lines: list[str], code: int, says: str) -> None:
    ended = daemon("import", "-", "--dry-run" if "cut" in says else "-ojson", stdin="\n".join(lines))
    assert ended.code == code, ended
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_jobs_whose_time_has_passed_run_at_once_or_are_left_out(there: Daemon, sink: Target) -> None:
    late = a_line(url=f"{sink.url}/late", scheduled_at="2020-01-01T00:00:00Z")
    expired = a_line(scheduled_at="2020-01-01T00:00:00Z", expires_at="2020-01-02T00:00:00Z")
    text = f"{HEAD}\n{late}\n{expired}\n{END}"
    assert there("import", "-", "--skip-late", stdin=text).out.endswith("left out 2 (2 late)\n")
    assert there("import", "-", stdin=text).out == ("created 1, already there 0, refused 0, left out 1 (1 expired)\n")
    [job] = there("jobs", "list", "-o", "json").json
    assert there("jobs", "watch", job["id"]).code == 0


def test_a_job_that_awaits_approval_does_so_elsewhere(there: Daemon, tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/held"
    there.create(url, "--requires-approval")
    approved_id = there.create(url, "--requires-approval", "--delay", "1h", "--dedupe-key", "k")
    assert there("jobs", "approve", approved_id).code == 0
    exported = there("export").out
    with serve(tmp_path / "new") as new:
        assert new("import", "-", stdin=exported).out.startswith("created 2,")
        made = {job["status"]: job for job in new("jobs", "list", "-o", "json").json}
        assert made["awaiting_approval"]["requires_approval"] is True
        assert (made["scheduled"]["dedupe_key"], made["scheduled"]["requires_approval"]) == ("k", False)


def test_a_token_that_sees_no_secrets_exports_none_unless_told(here: Daemon) -> None:
    token = here("tokens", "create", "reader", "--scope", "read").out.strip()
    refused = here("export", FLIQD_TOKEN=token)
    assert refused.code == 77
    assert "--masked" in refused.err
    assert here("export", "--masked", FLIQD_TOKEN=token).code == 0
    assert "secret" not in here("export", "--masked", FLIQD_TOKEN=token).out


def test_an_export_that_breaks_off_leaves_no_file(here: Daemon, tmp_path: Path) -> None:
    token = here("tokens", "create", "another", "--scope", "read").out.strip()
    file = tmp_path / "jobs.jsonl"
    file.write_text("the one of yesterday")
    assert here("export", str(file)).code == 1
    assert here("export", str(file), "--force", FLIQD_TOKEN=token).code == 77
    assert [file.name for file in tmp_path.iterdir()] == ["jobs.jsonl"]
    assert file.read_text() == "the one of yesterday"
    assert here("export", str(tmp_path / "nowhere" / "x")).code == 1


def test_more_than_a_page_and_a_call(there: Daemon, tmp_path: Path) -> None:
    jobs = "\n".join(json.dumps({"url": f"http://127.0.0.1:9/{number}", "delay": 3600}) for number in range(1_250))
    assert there("jobs", "create", "--batch", "-", stdin=jobs).code == 0
    text = there("export").out
    assert len(text.splitlines()) == 1_252
    with serve(tmp_path / "another") as another:
        assert another("import", "-", stdin=text).out.startswith("created 1250, already there 0")
        assert another("import", "-", stdin=text).out.startswith("created 0, already there 1250")
    assert there("import", "-", stdin=text).out.startswith("created 0, already there 1250")


class TokenClient(Client):
    """The list of tokens has no pages, and none can be asked for by its id."""

    def call(self, method: str, path: str, body: bytes | None = None, *, expects: str = "") -> Answer:
        if method == "GET" and path.startswith("/tokens/"):
            raise MissingError(path)
        return super().call(method, path.removesuffix("?limit=100"), body, expects=expects)


def test_another_kind_is_a_line_in_the_table(
    here: Daemon, there: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tokens would be, which are made one by one."""
    kinds = {"token": Kind("tokens", ("name", "scopes"), as_it_is, in_batches=False)}
    monkeypatch.setattr(records, "KINDS", kinds)
    monkeypatch.setattr(exporting, "KINDS", kinds)
    monkeypatch.setattr(importing, "KINDS", kinds)

    def client(daemon: Daemon) -> Client:
        return TokenClient(parse_place(daemon.url), (daemon.state_dir / "admin.token").read_text().strip())

    file = tmp_path / "all.jsonl"
    with file.open("wb") as stream:
        exporting.Export(client(here), stream.write, details=False, masked=False).run(())
    work = importing.Import(client(there), "table", Choices(), dry_run=False)
    with file.open("rb") as lines:
        work.run(lines)
    assert (work.whole, work.created, work.refused) == (True, len(file.read_text().splitlines()) - 2, 0)
    names = [one["name"] for one in there("tokens", "list", "-o", "json").json]
    assert names.count("admin") == 2


def as_it_is(_record: records.Record, _choices: Choices, _now_ms: int) -> dict[str, Any]:
    return {}
