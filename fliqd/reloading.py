"""Reads the configuration anew while the daemon runs: its entries take effect, most settings wait for a restart."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import structlog

from fliqd.config import Config, Shown
from fliqd.core.model import Job
from fliqd.core.reconciling import Changes, DeclaredJob
from fliqd.errors import ConfigError, FliqdError
from fliqd.service.reconcile import Reconciler
from fliqd.settings import Settings

log = structlog.get_logger()

LIVE: Final = ("defaults.",)  # settings that take effect at once


class Outcome(NamedTuple):
    """What a reload did, or would do; `restart_needed` are settings that differ from those in effect."""

    file: str | None
    changes: Changes
    restart_needed: Sequence[str]


class Reloading:
    """Holds the configuration that is in effect. One reload at a time; a wrong file changes nothing."""

    def __init__(self, *, config: Config, reconciler: Reconciler, use: Callable[[Settings], None]) -> None:
        self._config = config
        self._started_with = config
        self._reconciler = reconciler
        self._use = use
        self._one = asyncio.Lock()

    async def begin(self) -> None:
        """Bring the store in line with the file, once, at the start."""
        if self._config.file is not None:
            _tell(await self._reconciler.apply(self._config.declared))
        elif names := [*await self._reconciler.declared_schedules(), *self._reconciler.declared_channels()]:
            # No file is not an empty file: nobody has said that they shall go.
            log.warning("config.no_file", entries=len(names), hint="they stay as they were declared; --config FILE")

    async def reload(self) -> Outcome:
        """Read the file again and make it so, all or nothing; raise ConfigError with every problem."""
        async with self._one:
            try:
                config = await asyncio.to_thread(self._config.again)
                changes = await self._reconciler.apply(config.declared) if config.file else Changes()
            except ConfigError as err:
                log.error("config.refused", problems=[str(problem) for problem in err.problems])  # noqa: TRY400 -- all of it
                raise
            except FliqdError as err:
                log.error("config.not_reloaded", error=str(err))  # noqa: TRY400 -- it says enough
                raise
            self._config = config
            self._use(config.settings)
            outcome = Outcome(config.where, changes, self._restart_needed(config))
            _tell(changes, restart_needed=outcome.restart_needed)
            return outcome

    async def diff(self, text: str | None) -> Outcome:
        """Return what a reload would do, of the file or of `text` in its place; raise ConfigError."""
        config = await asyncio.to_thread(self._config.again, text)
        changes = await self._reconciler.changes(config.declared) if config.file or text is not None else Changes()
        return Outcome(config.where, changes, self._restart_needed(config))

    @property
    def file(self) -> str | None:
        """The file in effect."""
        return self._config.where

    def settings(self) -> Sequence[Shown]:
        """Return the settings in effect: those of the start, but for what a reload changes."""
        now = {shown.key: shown for shown in self._config.shown}
        return [now[shown.key] if shown.key.startswith(LIVE) else shown for shown in self._started_with.shown]

    def restart_needed(self) -> Sequence[str]:
        """Return the settings that the file has other than they are in effect."""
        return self._restart_needed(self._config)

    def channels(self) -> Sequence[str]:
        """Return the names of the channels that a file has declared."""
        return self._reconciler.declared_channels()

    async def lanes(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names of the buffers and the queues that a file has declared."""
        return await self._reconciler.declared_lanes()

    async def declared(self) -> tuple[Sequence[str], Sequence[tuple[DeclaredJob, Job | None]]]:
        """Return the names of the schedules that a file has declared, and what is remembered of its jobs."""
        return await self._reconciler.declared_schedules(), await self._reconciler.declared_jobs()

    def _restart_needed(self, config: Config) -> Sequence[str]:
        old, new = self._started_with.settings, config.settings
        return [
            f"{section}.{key}"
            for section in old.__dataclass_fields__
            for key in getattr(old, section).__dataclass_fields__
            if getattr(getattr(old, section), key) != getattr(getattr(new, section), key)
            and not f"{section}.{key}".startswith(LIVE)
        ]


def _tell(changes: Changes, **more: Any) -> None:
    named = changes.named
    log.info(
        "config.applied",
        created=sum(len(kind.create) for kind in named) + len(changes.create_jobs),
        updated=sum(len(kind.update) for kind in named) + len(changes.update_jobs),
        deleted=sum(len(kind.delete) for kind in named) + len(changes.cancel_jobs),
        unchanged=changes.unchanged,
        **more,
    )
    for job in changes.miss_jobs:
        log.warning("config.job_missed", name=job.name, scheduled_ms=job.scheduled_ms, hint="its time was past already")
    for note in changes.notes:
        log.warning("config.note", note=note)
