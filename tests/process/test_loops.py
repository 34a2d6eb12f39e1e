"""The real program on either event loop: uvloop where it is installed, asyncio's own where it is not."""

import signal
from pathlib import Path

import aiohttp
import pytest

from tests.support import FliqdProcess, Target, process, until

LOOPS = ("uvloop", "asyncio")


@pytest.fixture(params=LOOPS)
def wanted(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def loop_env(wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes of a test find uvloop, or find none."""
    if wanted == "uvloop":
        pytest.importorskip("uvloop")
        return
    hidden = tmp_path / "without"
    hidden.mkdir()
    (hidden / "uvloop.py").write_text("raise ImportError('as if it were not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden))


@pytest.mark.usefixtures("loop_env")
async def test_it_says_which_loop_it_runs_on_and_delivers(tmp_path: Path, target: Target, wanted: str) -> None:
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        assert [event["loop"] for event in fliqd.log if event["event"] == "daemon.ready"] == [wanted]
        assert (await fliqd("GET", "/v1/status")).body["loop"] == wanted
        job = await fliqd.create(url=target.url, delay=0.1, json={"a": 1})
        assert (await fliqd.until(job["id"], "success"))["executions"] == 1
        assert [hit.body for hit in target.hits] == [b'{"a": 1}']


@pytest.mark.usefixtures("loop_env")
async def test_sigterm_waits_for_the_answer(tmp_path: Path, target: Target) -> None:
    released = target.hold()
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        assert fliqd.process is not None
        fliqd.process.send_signal(signal.SIGTERM)
        await until(lambda: _said(fliqd, "dispatcher.draining"), "the drain")
        released.set()
        assert await fliqd.ended() == 0
        await fliqd.start()
        assert (await fliqd.job(job["id"]))["status"] == "success"


@pytest.mark.usefixtures("loop_env")
async def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(tmp_path: Path, target: Target) -> None:
    released = target.hold()
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        assert fliqd.process is not None
        fliqd.process.send_signal(signal.SIGINT)
        await until(lambda: _said(fliqd, "dispatcher.draining"), "the drain")
        assert await fliqd.kill(signal.SIGINT) == 130
        released.set()
        await fliqd.start()
        assert (await fliqd.until(job["id"], "success"))["executions"] == 2


@pytest.mark.usefixtures("loop_env")
async def test_a_unix_socket_is_served_and_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "fliqd.sock"
    async with process(tmp_path / "state", FLIQD_SERVER__LISTEN=f"unix:{path}") as fliqd:
        for ending in (signal.SIGKILL, signal.SIGTERM):
            await fliqd.start()
            assert path.stat().st_mode & 0o077 == 0
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http:
                answer = await http.get("http://localhost/healthz")
                assert answer.status == 200
            await fliqd.kill(ending)


async def _said(fliqd: FliqdProcess, event: str) -> bool | None:
    return any(line["event"] == event for line in fliqd.log) or None
