"""Chance uses the API and harms the daemon, and a model says what must be true of it.

Hypothesis draws the steps: jobs of all kinds (now, later, retried, expiring, with keys, with webhooks, many at once),
changing, cancelling, running and replaying them, schedules that are paused, resumed, run and deleted, buffers and
queues; between them a target that answers 500, 429 or 489, resets, closes or stalls, `kill -9`, also amid creates,
SIGTERM, and a clock that is set by seconds to days, forwards and backwards, while the daemon runs and while it does
not. The real program is used, on a disk, over sockets; only its wall clock can be set. After each step, and once
everything has come to its end: each acknowledged job is there, in a state that its attempts explain; nothing that has
ended changes; the target saw each attempt once at most, none before its time and none after a success; each due time
of a schedule has one job or is in `/missed`; nothing leaves a queue that is paused, or goes beyond what may be under
way in it; items come in order; each end is told by one webhook. What fails is shrunk to the shortest story, and
printed.
"""

import asyncio
import functools
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.prove.proof import Proof
from tests.prove.world import HOUR_MS, LATER, MOODS, SOON, Known, World, a_world

T = TypeVar("T")
WHICH = st.integers(0, 1000)
PATHS = st.sampled_from(["/a", "/b"])
TIMINGS = st.sampled_from([0, 0, 0, 0.2, 600, 3 * 3600, 2 * 24 * 3600])
STEPS_MS = st.sampled_from(
    [1_000, 60_000, 11 * 60_000, HOUR_MS, 5 * HOUR_MS, 3 * 24 * HOUR_MS, -1_000, -HOUR_MS, -24 * HOUR_MS]
)
MORE = st.fixed_dictionaries(
    {},
    optional={
        "max_retries": st.integers(1, 3),
        "backoff": st.sampled_from([SOON, LATER]),
        "on_interrupt": st.just("fail"),
        "lives": st.sampled_from([5 * 60_000, 24 * HOUR_MS]),
        "idempotency_key": st.sampled_from(["k1", "k2", "k3"]),
        "hook": st.just(True),
        "queue": st.sampled_from(["q1", "q2"]),
    },
)


class Machine(RuleBasedStateMachine):
    """The rules; each runs in a loop of its own machine, which stands still between them."""

    def __init__(self, proof: Proof) -> None:
        super().__init__()
        self.proof = proof
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.broken = False
        self.storms = 0
        self.world: World

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.runner.run(work)
        except BaseException:
            self.broken = True
            raise

    @initialize()
    def begin(self) -> None:
        self.world = self.do(self.stack.enter_async_context(a_world(Path(self.folder.name) / "world")))

    def a_job(self, which: int) -> Known:
        jobs = list(self.world.jobs.values())
        return jobs[which % len(jobs)]

    def has_jobs(self) -> bool:
        return bool(self.world.jobs)

    @rule(path=PATHS, timing=TIMINGS, more=MORE)
    def create(self, path: str, timing: float, more: dict[str, Any]) -> None:
        self.do(self.world.create(self.world.job(path, timing, **more)))

    @rule(timings=st.lists(TIMINGS, min_size=2, max_size=8), more=MORE)
    def create_amid_a_kill(self, timings: list[float], more: dict[str, Any]) -> None:
        self.storms += 1
        more = {name: value for name, value in more.items() if name not in ("lives", "idempotency_key")}
        keys = (f"storm {self.storms} {number}" for number in range(len(timings)))
        jobs = [
            self.world.job("/storm", timing, idempotency_key=key, **more)
            for key, timing in zip(keys, timings, strict=False)
        ]
        self.do(self.world.storm(jobs))
        self.proof.saw(kills=1)

    @precondition(has_jobs)
    @rule(which=WHICH, path=PATHS, timing=TIMINGS, queue=st.sampled_from(["default", "q1", "q2"]))
    def change(self, which: int, path: str, timing: float, queue: str) -> None:
        self.do(self.world.change(self.a_job(which), path, timing, queue))

    @precondition(has_jobs)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        self.do(self.world.cancel(self.a_job(which)))

    @precondition(has_jobs)
    @rule(which=WHICH)
    def run_now(self, which: int) -> None:
        self.do(self.world.run(self.a_job(which)))

    @precondition(has_jobs)
    @rule(which=WHICH)
    def replay(self, which: int) -> None:
        self.do(self.world.replay(self.a_job(which)))

    @rule(misfire=st.sampled_from(["latest", "all", "skip"]), overlap=st.sampled_from(["queue", "allow", "skip"]))
    def schedule(self, misfire: str, overlap: str) -> None:
        self.do(self.world.schedule(misfire=misfire, overlap=overlap))

    @precondition(lambda self: self.world.schedules)
    @rule(which=WHICH, what=st.sampled_from(["pause", "resume", "run", "delete"]))
    def change_schedule(self, which: int, what: str) -> None:
        schedules = list(self.world.schedules)
        self.do(self.world.change_schedule(schedules[which % len(schedules)], what))

    @rule(name=st.sampled_from(["b1", "b2"]))
    def buffer(self, name: str) -> None:
        self.do(self.world.buffer(name))

    @precondition(lambda self: self.world.items)
    @rule(which=WHICH, count=st.integers(1, 5))
    def push(self, which: int, count: int) -> None:
        buffers = list(self.world.items)
        self.do(self.world.push(buffers[which % len(buffers)], count))

    @precondition(lambda self: self.world.items)
    @rule(which=WHICH, what=st.sampled_from(["pause", "resume"]))
    def change_buffer(self, which: int, what: str) -> None:
        buffers = list(self.world.items)
        self.do(self.world.ask("POST", f"/buffers/{buffers[which % len(buffers)]}/{what}", ok=(200,)))

    @rule(name=st.sampled_from(["q1", "q2"]), paused=st.booleans())
    def queue(self, name: str, *, paused: bool) -> None:
        self.do(self.world.limit(name, paused=paused))

    @rule(moods=st.lists(st.sampled_from(MOODS), min_size=1, max_size=4))
    def misbehave(self, moods: list[str]) -> None:
        self.world.target.moods += moods

    @rule()
    def release(self) -> None:
        self.do(self.world.release())

    @rule()
    def kill(self) -> None:
        self.do(self.world.kill())
        self.proof.saw(kills=1)

    @rule()
    def stop(self) -> None:
        self.do(self.world.stop())
        self.proof.saw(stops=1)

    @rule(by_ms=STEPS_MS, while_down=st.booleans())
    def set_the_clock(self, by_ms: int, *, while_down: bool) -> None:
        self.do(self.world.step(by_ms, while_down=while_down))
        self.proof.saw(clock_steps=1)

    @rule()
    def wait_until_idle(self) -> None:
        """Let what is due come to its end, unless something holds it."""
        self.do(self.world.rest())

    @invariant()
    def what_is_always_true(self) -> None:
        if hasattr(self, "world"):
            self.do(self.world.look())
            self.proof.saw(steps=1)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world") and not self.broken:
                repeats = self.do(self.world.finish())
                self.proof.saw(
                    stories=1,
                    jobs=len(self.world.jobs),
                    items=sum(map(len, self.world.items.values())),
                    schedules=len(self.world.schedules),
                    requests=len(self.world.target.hits),
                    requests_repeated=repeats,
                )
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()


def test_any_story_ends_well(proof: Proof) -> None:
    run_state_machine_as_test(
        functools.partial(Machine, proof),  # type: ignore[arg-type]
        settings=settings(
            max_examples=proof.times(short=2, long=60),
            stateful_step_count=40 if proof.long else 8,
            deadline=None,
            derandomize=not proof.long,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
