"""Starting, stopping and refusing to: the real program, its signals and its exit codes."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import stat
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import PATIENCE_S, Api, FliqdProcess, Target, process, until


async def test_sigterm_lets_attempts_finish(tmp_path: Path, target: Target) -> None:
    released = target.hold()
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        assert fliqd.process is not None
        fliqd.process.send_signal(signal.SIGTERM)

        async def draining() -> bool | None:
            return any(event["event"] == "dispatcher.draining" for event in fliqd.log) or None

        await until(draining, "the drain")
        released.set()
        assert await fliqd.ended() == 0
        await fliqd.start()
        done = await fliqd.job(job["id"])
        assert (done["status"], done["executions"]) == ("success", 1)


async def test_what_does_not_finish_within_the_grace_is_handed_back(tmp_path: Path, target: Target) -> None:
    """It costs no retry, and is sent again at the next start."""
    released = target.hold()
    async with process(tmp_path / "state", FLIQD_DISPATCH__SHUTDOWN_GRACE="0.1") as fliqd:
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        assert await fliqd.kill(signal.SIGTERM) == 0
        released.set()
        await fliqd.start()
        done = await fliqd.until(job["id"], "success")
        assert (done["executions"], done["attempts"]) == (2, 1)
        assert (await fliqd.executions(job["id"]))[1]["status"] == "interrupted"


async def test_it_takes_nothing_into_memory_to_draw_with(tmp_path: Path) -> None:
    """Every import is told by the interpreter."""
    async with process(tmp_path / "state", PYTHONPROFILEIMPORTTIME="1") as fliqd:
        await fliqd.start()
        assert await fliqd.kill(signal.SIGTERM) == 0
        assert any(line.endswith(" structlog\n") for line in fliqd.said)
        assert not [line for line in fliqd.said if " rich." in line]


async def test_a_second_signal_means_now(tmp_path: Path, target: Target) -> None:
    released = target.hold()
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        assert fliqd.process is not None
        fliqd.process.send_signal(signal.SIGINT)

        async def draining() -> bool | None:
            return any(event["event"] == "dispatcher.draining" for event in fliqd.log) or None

        await until(draining, "the drain")
        assert await fliqd.kill(signal.SIGINT) == 130
        released.set()


async def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    async with process(tmp_path / "state") as first, process(tmp_path / "state") as second:
        await first.start()
        await second.launch()
        assert await second.ended() == 75
        assert first.process is not None
        assert f"in use by fliqd with pid {first.process.pid}" in second.said[-1]


async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        async with process(tmp_path / "state", FLIQD_SERVER__LISTEN=place) as fliqd:
            await fliqd.launch()
            assert await fliqd.ended() == 1
            assert f"cannot listen on http://{place}" in fliqd.said[-1]


async def test_a_wrong_configuration_is_told_whole(tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text('[server]\nlisen = 1\n[dispatch]\ntimeout = "5 parsecs"\n')
    async with process(tmp_path / "state") as fliqd:
        await fliqd.launch("--config", str(file))
        assert await fliqd.ended() == 78
    assert fliqd.said == [
        'fliqd: server.lisen: unknown key; did you mean "listen"?\n',
        'fliqd: dispatch.timeout: got "5 parsecs", expected a duration such as "90s", "1h30m" or a number of seconds\n',
    ]


async def test_a_damaged_store_is_told(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "fliqd.db").write_bytes(b"not a database" * 1000)
    async with process(state) as fliqd:
        await fliqd.launch()
        assert await fliqd.ended() == 65
        assert "cannot be used as a store" in fliqd.said[-1]


async def test_a_damage_that_no_error_tells_of_is_found_at_the_start_and_a_backup_mends_it(tmp_path: Path) -> None:
    """An index that has lost what is due: whoever asks it what comes next is told that nothing does."""
    store, rescue = tmp_path / "state" / "fliqd.db", tmp_path / "rescue"
    async with process(store.parent) as fliqd:
        await fliqd.start()
        job = await fliqd.create(url="http://127.0.0.1:9/", delay="1h")
        assert await fliqd.kill(signal.SIGTERM) == 0
        with closing(sqlite3.connect(store, isolation_level=None)) as plain:
            (made,) = plain.execute("SELECT sql FROM sqlite_schema WHERE name = 'job_due'").fetchone()
            plain.execute("DROP INDEX job_due")
            plain.execute(f"{made} AND next_attempt_ms < 0")
            plain.execute("PRAGMA writable_schema = ON")
            plain.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'job_due'", (made,))
        await fliqd.launch()
        assert await fliqd.ended() == 65
        assert "damaged: row 1 missing from index job_due" in fliqd.said[-1]
        for command in ("backup", "restore"):
            by_hand = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fliqd", command, rescue, env=os.environ | {"STATE_DIRECTORY": str(store.parent)}
            )
            assert await by_hand.wait() == 0
        await fliqd.start()
        await until(lambda: _checked_at(fliqd), "the end of the check")
        assert (await fliqd.job(job["id"]))["status"] == "scheduled"
        assert (await fliqd("GET", "/v1/status")).body["next_due_at"] == job["scheduled_at"]


async def _checked_at(fliqd: FliqdProcess) -> str | None:
    checked_at: str | None = (await fliqd("GET", "/v1/status")).body["store"]["checked_at"]
    return checked_at


async def test_its_files_are_for_this_user_alone_and_its_secrets_in_no_log(tmp_path: Path, target: Target) -> None:
    state = tmp_path / "state"
    async with process(state, FLIQD_LOG__LEVEL="debug") as fliqd:
        await fliqd.start()
        headers = {"Authorization": "Bearer s3cret-header"}
        job = await fliqd.create(url=target.url + "?key=s3cret-query", delay=0, headers=headers, body="s3cret-body")
        await fliqd.until(job["id"], "success")
        assert await fliqd.kill(signal.SIGTERM) == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}
    secrets = [(state / name).read_text().strip() for name in ("admin.token", "token.key", "signing.secret")]
    said = "".join(fliqd.said)
    assert '"attempt.ended"' in said
    assert not [secret for secret in (*secrets, "s3cret") if secret in said]
    stored = b"".join(file.read_bytes() for file in state.glob("fliqd.db*"))
    assert not [secret for secret in secrets if secret.encode() in stored]


@pytest.mark.parametrize("style", ["json", "logfmt", "console"])
async def test_log_styles(tmp_path: Path, style: str) -> None:
    async with process(tmp_path / "state", FLIQD_LOG__FORMAT=style) as fliqd:
        await fliqd.launch()

        async def ready() -> bool | None:
            return any("daemon.ready" in line for line in fliqd.said) or None

        await until(ready, "the line that says ready")
        assert await fliqd.kill(signal.SIGTERM) == 0


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "fliqd.sock"
    async with process(tmp_path / "state", FLIQD_SERVER__LISTEN=f"unix:{path}") as fliqd:
        for _ in range(2):  # the second time over the socket that a killed predecessor left
            await fliqd.start()
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
            writer.close()
            await writer.wait_closed()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await fliqd.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("mode", "is_let_in"), [("0600", False), ("0660", False), ("0666", True)])
async def test_who_may_connect_to_a_unix_socket(mode: str, *, is_let_in: bool) -> None:
    """As a proxy that runs as another user does."""
    connect = (
        "import os, socket, sys; door = socket.socket(socket.AF_UNIX); "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); door.connect(sys.argv[1])"
    )
    with tempfile.TemporaryDirectory() as folder:  # tmp_path lies below a folder that is closed to others
        Path(folder).chmod(0o755)
        path = Path(folder) / "fliqd.sock"
        env = {"FLIQD_SERVER__LISTEN": f"unix:{path}", "FLIQD_SERVER__LISTEN_MODE": mode}
        async with process(Path(folder) / "state", **env) as fliqd:
            await fliqd.start()
            assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
            stranger = await asyncio.create_subprocess_exec(
                sys.executable, "-c", connect, str(path), stderr=asyncio.subprocess.PIPE
            )
            _, said = await stranger.communicate()
            assert (stranger.returncode == 0) == is_let_in
            assert is_let_in or b"PermissionError" in said


async def test_while_it_stops_it_still_answers_who_reads(tmp_path: Path, target: Target) -> None:
    released = target.hold()
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        assert fliqd.process is not None
        fliqd.process.send_signal(signal.SIGTERM)

        async def not_ready() -> bool | None:
            return (await fliqd("GET", "/readyz")).status == 503 or None

        await until(not_ready, "the word that it stops")
        assert (await fliqd.job(job["id"]))["status"] == "running"
        refused = await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": 0})
        assert (refused.status, refused.code) == (503, "shutting_down")
        assert int(refused.headers["Retry-After"]) > 0
        released.set()
        assert await fliqd.ended() == 0


async def test_a_lost_first_token_can_be_had_anew(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with process(state) as fliqd:
        await fliqd.start()
        lost = fliqd.token
        await fliqd.kill(signal.SIGTERM)
        (state / "admin.token").write_text("")
        await fliqd.start()
        assert fliqd.token != lost
        assert (await fliqd("GET", "/v1/tokens")).status == 200


async def test_a_hangup_without_a_terminal_ends_nothing(tmp_path: Path) -> None:
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        assert fliqd.process is not None
        fliqd.process.send_signal(signal.SIGHUP)

        async def told() -> bool | None:
            return any(event["event"] == "config.applied" for event in fliqd.log) or None

        await until(told, "the word about it")
        assert (await fliqd("GET", "/readyz")).status == 200


async def test_a_hangup_with_a_file_that_nothing_could_take_ends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text("")
    async with process(tmp_path / "state", FLIQD_CONFIG=str(file)) as fliqd:
        await fliqd.start()
        assert fliqd.process is not None
        file.write_text(f"[[schedules]]\njson{'.a' * 5000} = 1\n")
        fliqd.process.send_signal(signal.SIGHUP)

        async def told() -> bool | None:
            return any(event["event"] == "config.refused" for event in fliqd.log) or None

        await until(told, "the word about it")
        assert (await fliqd("GET", "/readyz")).status == 200


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [("signing.secret", "garbage", "signing.secret: expected a secret"), ("token.key", "", "token.key is empty")],
)
async def test_a_spoilt_key_file_is_told(tmp_path: Path, file: str, content: str, says: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / file).write_text(content)
    async with process(state) as fliqd:
        await fliqd.launch()
        assert await fliqd.ended() == 74
        assert says in fliqd.said[-1]


async def test_a_state_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with process(tmp_path / "file" / "state") as fliqd:
        await fliqd.launch()
        assert await fliqd.ended() == 74
        assert "cannot be made" in fliqd.said[-1]


async def test_a_log_that_nobody_takes_stops_no_work(tmp_path: Path, target: Target) -> None:
    """As with `| tee` that has died, or a terminal that was closed: jobs go on, and the stop is clean."""
    state = tmp_path / "state"
    reading, writing = os.pipe()
    daemon = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fliqd",
        "serve",
        env=os.environ
        | {"STATE_DIRECTORY": str(state), "FLIQD_SERVER__LISTEN": "127.0.0.1:0", "FLIQD_LOG__LEVEL": "debug"},
        stderr=writing,
    )
    os.close(writing)
    with os.fdopen(reading) as said:
        lines: list[str] = []
        while not any("daemon.ready" in line for line in lines):
            lines.append(await asyncio.to_thread(said.readline))
    api = Api(json.loads(lines[-1])["listen"][0], (state / "admin.token").read_text().strip())
    target.answers = [500]
    for _ in range(3):
        job = await api.create(url=target.url, delay=0)
        await api.until(job["id"], "success", "failed")
    await api.close()
    daemon.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(daemon.wait(), PATIENCE_S) == 0


async def test_a_first_start_that_cannot_write_its_token_locks_nobody_out(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "admin.token.new").mkdir(parents=True)
    async with process(state) as fliqd:
        await fliqd.launch()
        assert await fliqd.ended() == 74
        (state / "admin.token.new").rmdir()
        await fliqd.start()
        assert (await fliqd("GET", "/v1/status")).status == 200
