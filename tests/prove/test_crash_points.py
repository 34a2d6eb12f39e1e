"""The program is killed at each place that it passes, and started again.

A run that nobody disturbs finds the places: before and after every statement and commit of SQL, every sync and
rename, and every call of a function of the daemon's, be it of its start, its loops, its store or its connections (the
rules, which do no I/O, and the API's translations are no places). Then, for each place, a fresh daemon is killed
there the first time it passes, and another one some later time, which it may not reach, while a client uses the API:
jobs single and by the batch, retries, idempotency keys, webhooks, cancelling, changing, running and replaying, a
schedule, a buffer, a queue that is paused, tokens, a rotation of the signing secret. It is started again, the client
asks again what it got no answer to, and both ledgers are held against each other: what the client was told, and what
the target and the receiver of the webhooks saw.
"""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path

from tests.prove.ledgers import a_client
from tests.prove.proof import Proof

AT_ONCE = 3


async def lives_through(state: Path, **env: str) -> tuple[int, int]:
    """Use a daemon that may die; return how often it died, and how many requests were repeated for it."""
    async with a_client(state, **env) as client:
        fliqd = client.fliqd
        fliqd.program = ["-m", "tests.prove.dying"]

        def killed(code: int) -> None:
            assert code == -signal.SIGKILL, fliqd.said[-5:]
            fliqd.env.pop("DIE_AT", None)

        client.on_end = killed
        await client.start()
        await client.use_all("a")
        repeats = await client.check()
        if await fliqd.kill(signal.SIGTERM) != 0:  # the place lies in the stop
            await client.revive()
            repeats = await client.check()
        assert not any(event["event"] == "attempt.crashed" for event in fliqd.log)
        return len(client.ends), repeats


async def test_it_may_die_anywhere(proof: Proof, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    assert await lives_through(tmp_path / "undisturbed", DIE_TRACE=str(trace)) == (0, 0)
    places: Counter[str] = Counter(json.loads(trace.read_text()))
    tries = [(place, 1) for place in places]
    tries += [(place, proof.chance.randrange(2, times + 1)) for place, times in places.items() if times > 1]
    proof.chance.shuffle(tries)
    tries = tries[: proof.times(short=3, long=len(tries))]
    proof.saw(places=len(places), tried=len(tries), died=0, not_reached=0, requests_repeated=0, lost=0)
    waiting = iter(enumerate(tries))

    async def one_after_the_other() -> None:
        for number, (place, times) in waiting:
            try:
                deaths, repeats = await lives_through(tmp_path / str(number), DIE_AT=f"{times} {place}")
            except BaseException as err:
                err.add_note(f"it was to die at: {place}, time {times}")
                raise
            assert repeats <= deaths * 16, (place, times)
            proof.saw(died=deaths, not_reached=int(not deaths), requests_repeated=repeats)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())
