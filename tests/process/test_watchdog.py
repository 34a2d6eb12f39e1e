"""Never half alive: a daemon that cannot do its work says so and ends."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support import PATIENCE_S, Api, Target

HARMS = {
    "the loop hangs": ("time.sleep(1000)", "in harm"),
    "a thread of the store hangs": (
        "daemon._store._connection._tx.put_nowait((None, lambda: time.sleep(1000)))",
        "in <lambda>",
    ),
    "nobody else gets the interpreter's lock": ("re.match('(a+)+$', 'a' * 100 + 'b')", "in harm"),
    "the store's writer dies": (
        "daemon._store._writer._waiting.append(None); daemon._store._writer._go.set()",
        "writer died",
    ),
    "the scheduler dies": ("daemon._scheduler._heap = None; daemon._scheduler._changed.set()", "scheduler died"),
}
PROGRAM = """
import asyncio, functools, os, re, sys, time
from fliqd import config, daemon as module, logs, loop, watchdog
logs.configure("info", "json")
watchdog.SAYING_S = 1
module.watch = functools.partial(watchdog.watch, beat_s=0.05, patience_s=1.0)
start = module.Daemon.start
async def start_and_harm(*args):
    daemon = await start(*args)
    def harm():
        {harm}
    asyncio.get_running_loop().call_later(0.02, harm)
    return daemon
module.Daemon.start = start_and_harm
with asyncio.Runner(loop_factory=loop.factory()) as runner:
    error = runner.run(module.serve(config.load(None, os.environ)))
os._exit(error.exit_code if error else 0)
"""


@asynccontextmanager
async def with_a_second_of_patience(
    state: Path, harm: str = "pass", stderr: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM.format(harm=harm),
        env={"STATE_DIRECTORY": str(state), "FLIQD_SERVER__LISTEN": "127.0.0.1:0"},
        stderr=stderr,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("what", HARMS)
async def test_the_process_ends(tmp_path: Path, what: str) -> None:
    harm, says = HARMS[what]
    async with with_a_second_of_patience(tmp_path, harm) as process:
        _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S * 2)
        assert process.returncode not in (0, None), said.decode()
        assert says in said.decode()


async def test_it_ends_though_nobody_takes_what_it_says(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing):
        harm = "[os.write(2, b'x' * 4096) for _ in range(1000)]"
        async with with_a_second_of_patience(tmp_path, harm, writing) as process:
            assert await asyncio.wait_for(process.wait(), PATIENCE_S * 2) != 0


async def test_a_process_that_was_frozen_goes_on(tmp_path: Path, target: Target) -> None:
    """As by SIGSTOP, in a paused container or a paused virtual machine: what was due meanwhile runs late."""
    async with with_a_second_of_patience(tmp_path) as process:
        assert process.stderr is not None
        ready = b""
        while b"daemon.ready" not in ready:
            ready = await process.stderr.readline()
        api = Api(json.loads(ready)["listen"][0], (tmp_path / "admin.token").read_text().strip())
        job = await api.create(url=target.url, delay=0.5)

        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.5)  # no event tells of it: the freeze itself is what has to last
        process.send_signal(signal.SIGCONT)

        await target.received(1)
        await api.until(job["id"], "success")
        await api.close()
        process.terminate()
        assert await process.wait() == 0
