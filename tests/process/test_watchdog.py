"""Never half alive: a daemon that cannot do its work says so and ends."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support import PATIENCE_S

HARMS = {
    "the loop hangs": "time.sleep(1000)",
    "a thread of the store hangs": "daemon._store._connection._tx.put_nowait((None, lambda: time.sleep(1000)))",
    "the store's writer dies": "daemon._store._writer._waiting.append(None); daemon._store._writer._go.set()",
    "the scheduler dies": "daemon._scheduler._heap = None; daemon._scheduler._changed.set()",
}
PROGRAM = """
import asyncio, functools, os, sys, time
from fliqd import config, daemon as module, logs, loop, watchdog
logs.configure("info", "json")
module.watch = functools.partial(watchdog.watch, beat_s=0.05, patience_s=1.0)
start = module.Daemon.start
async def start_and_harm(*args):
    daemon = await start(*args)
    def harm():
        {harm}
    asyncio.get_running_loop().call_later(0.2, harm)
    return daemon
module.Daemon.start = start_and_harm
with asyncio.Runner(loop_factory=loop.factory()) as runner:
    error = runner.run(module.serve(config.load(None, os.environ)))
os._exit(error.exit_code if error else 0)
"""


@pytest.mark.parametrize("what", HARMS)
async def test_the_process_ends(tmp_path: Path, what: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM.format(harm=HARMS[what]),
        env={"STATE_DIRECTORY": str(tmp_path), "FLIQD_SERVER__LISTEN": "127.0.0.1:0"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S * 2)
    assert process.returncode not in (0, None), said.decode()
    assert b"Timeout" in said or b"died" in said, said.decode()
