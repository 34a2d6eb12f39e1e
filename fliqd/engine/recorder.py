"""Sees the outcomes of attempts onto the disk, those that come together in one transaction."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from fliqd.core.model import Job
from fliqd.engine.tally import Tally
from fliqd.errors import FliqdError, UnavailableError
from fliqd.store.base import Finish, Recorded, Store

log = structlog.get_logger()

LINGER_S: Final = 0.010  # outcomes wait this long for company; nobody waits for them
SHORT_S: Final = 0.002  # but for their slots somebody does: with one busy host, 10 ms halved what it got in a second
ENOUGH: Final = 64  # as many do not wait: what is sent next waits for their slots
BACK_OFF_S: Final = 1.0  # after the store could not write, before it is asked again


class Recorder:
    """Takes outcomes one by one and tells `on_recorded` once they are on disk, or can never be.

    It is told of items too, by the pk of the one before, that were claimed when that one's end was written.
    While there is no room on the disk they are kept and tried again; the slots that they hold bound how many.
    """

    def __init__(
        self,
        store: Store,
        *,
        tally: Tally,
        on_recorded: Callable[[Sequence[Finish], Mapping[int, Job]], None],
        on_crash: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._tally = tally
        self._on_recorded = on_recorded
        self._on_crash = on_crash
        self._waiting: list[Finish] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurried = False

    def add(self, end: Finish, *, wanted: bool) -> None:
        """Record an outcome, soon; sooner where its slot is `wanted`."""
        self._waiting.append(end)
        if self._hurried or len(self._waiting) >= ENOUGH or end.job.buffer_id is not None:
            self._flush()  # the next item of a buffer waits for this one
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SHORT_S if wanted else LINGER_S, self._flush)

    def hurry(self) -> None:
        """Linger no more: somebody waits now."""
        self._hurried = True
        self._flush()

    async def stop(self) -> None:
        """Give up what could not be recorded."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        ends, self._waiting = self._waiting, []
        task = asyncio.create_task(self._record(ends), name="record")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(err := task.exception(), Exception):
            self._on_crash(err)

    async def _record(self, ends: Sequence[Finish]) -> None:
        rest, told = ends, False
        followers: dict[int, Job] = {}
        while rest:
            try:
                results = await self._store.attempts.finish_all(rest)
                for end, result in zip(rest, results, strict=True):
                    if isinstance(result, Recorded) and result.next is not None:
                        followers[end.job.pk] = result.next
                rest = _look_at(rest, results)
            except UnavailableError as err:
                if not told:
                    log.warning("attempt.record_waits", attempts=len(rest), error=str(err))
                told = True
                rest = [
                    msgspec.structs.replace(end, next_by_ms=None) for end in rest
                ]  # nothing new until there is room
                await asyncio.sleep(BACK_OFF_S)
            except FliqdError as err:
                log.error("attempt.record_failed", attempts=len(rest), error=str(err))  # noqa: TRY400 -- the store ends the process
                break
        else:
            self._tally.add(ends)
        self._on_recorded(ends, followers)


def _look_at(ends: Sequence[Finish], results: Sequence[Recorded | Exception]) -> list[Finish]:
    """Return what has to be recorded again, changed; raise what nobody foresaw."""
    again = []
    for end, result in zip(ends, results, strict=True):
        if isinstance(result, Recorded) and not result.ours:
            log.error("attempt.not_ours", job_id=end.job.id, attempt=end.job.executions)
        elif isinstance(result, FliqdError):
            log.error("attempt.record_failed", job_id=end.job.id, attempt=end.job.executions, error=str(result))
        elif isinstance(result, Exception):
            if not end.response_headers and end.response_body is None:
                raise result
            # Something in the answer cannot be kept: the outcome must be, and one job may not stop the rest.
            log.error("attempt.answer_unkept", job_id=end.job.id, exc_info=result)
            again.append(msgspec.structs.replace(end, response_headers=(), response_body=None))
    return again
