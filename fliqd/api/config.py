"""`/config`: what is in effect, what a reload would change, and the reload. For admins."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from fliqd.api.alerts import channel_view
from fliqd.api.auth import require_admin
from fliqd.api.buffers import buffer_view
from fliqd.api.documents import job_view, schedule_view
from fliqd.api.errors import json_response
from fliqd.api.queues import queue_view
from fliqd.api.requests import json_body, params
from fliqd.core.buffers import Buffer
from fliqd.core.channels import Channel, shown
from fliqd.core.decoding import decode
from fliqd.core.headers import masked
from fliqd.core.model import Job
from fliqd.core.queues import Queue
from fliqd.core.reconciling import (
    Changes,
    DeclaredBuffer,
    DeclaredChannel,
    DeclaredJob,
    DeclaredQueue,
    DeclaredSchedule,
)
from fliqd.core.schedule import Schedule
from fliqd.core.times import format_time
from fliqd.errors import ConfigError, InvalidError
from fliqd.store.base import QueueCounts

LIFE: Final = frozenset(
    {
        "id",
        "status",
        "explanation",
        "created_at",
        "updated_at",
        "paused_at",
        "next_run_at",
        "last_run_at",
        "last_status",
        "run_count",
        "error",
        "started_at",
        "finished_at",
        "next_attempt_at",
        "actions",
        "paused",
        "state",
        "approved_at",
        "approved_by",
    }
)  # fmt: skip -- what no file says


class Setting(Protocol):
    """A setting as a person may see it."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> object: ...
    @property
    def origin(self) -> str: ...


class Result(Protocol):
    """What a reload did, or would do."""

    @property
    def file(self) -> str | None: ...
    @property
    def changes(self) -> Changes: ...
    @property
    def restart_needed(self) -> Sequence[str]: ...


class Reloading(Protocol):
    """What reads the configuration anew."""

    @property
    def file(self) -> str | None: ...
    def settings(self) -> Sequence[Setting]: ...
    def restart_needed(self) -> Sequence[str]: ...
    def channels(self) -> Sequence[str]: ...
    async def lanes(self) -> tuple[Sequence[str], Sequence[str]]: ...
    async def declared(self) -> tuple[Sequence[str], Sequence[tuple[DeclaredJob, Job | None]]]: ...
    async def reload(self) -> Result: ...
    async def diff(self, text: str | None) -> Result: ...


class DiffDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of `POST /v1/config/diff`: a file's text, in the place of the daemon's own."""

    config: str | None = None


def add_routes(router: web.UrlDispatcher, prefix: str, reloading: Reloading) -> None:
    """Add the routes under `prefix`."""
    router.add_get(f"{prefix}/config", partial(show, reloading))
    router.add_post(f"{prefix}/config/reload", partial(reload, reloading))
    router.add_post(f"{prefix}/config/diff", partial(diff, reloading))


async def show(reloading: Reloading, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    settings: dict[str, dict[str, Any]] = {}
    for setting in reloading.settings():
        section, _, key = setting.key.partition(".")
        settings.setdefault(section, {})[key] = {"value": setting.value, "origin": setting.origin}
    schedules, jobs = await reloading.declared()
    buffers, queues = await reloading.lanes()
    return json_response(
        {
            "file": reloading.file,
            "settings": settings,
            "restart_needed": reloading.restart_needed(),
            "schedules": schedules,
            "jobs": [_declared_view(memory, job) for memory, job in jobs],
            "alerts": reloading.channels(),
            "buffers": buffers,
            "queues": queues,
        }
    )


async def reload(reloading: Reloading, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    try:
        return json_response(await asyncio.to_thread(_outcome_view, await reloading.reload()))
    except ConfigError as err:
        raise InvalidError(err.problems, err.code) from err


async def diff(reloading: Reloading, request: web.Request) -> web.Response:
    require_admin(request)
    params(request)
    text = None
    if request.can_read_body:
        draft, problems = decode(await json_body(request), DiffDraft)
        if problems:
            raise InvalidError(problems)
        text = draft.config
    try:
        return json_response(await asyncio.to_thread(_outcome_view, await reloading.diff(text)))
    except ConfigError as err:
        raise InvalidError(err.problems, err.code) from err


def _declared_view(memory: DeclaredJob, job: Job | None) -> dict[str, Any]:
    status = "missed" if memory.job_id is None else "gone" if job is None else job.status.value
    return {
        "name": memory.name,
        "status": status,
        "job_id": memory.job_id,
        "scheduled_at": format_time(memory.scheduled_ms),
        "seen_at": format_time(memory.seen_ms),
    }


def _outcome_view(outcome: Result) -> dict[str, Any]:
    changes = outcome.changes
    schedules, channels = changes.schedules, changes.channels
    created = [_entry("schedule", entry.schedule.name) for entry in schedules.create]
    created += [_entry("job", job.name) for job in changes.create_jobs]
    created += [_entry("alert", entry.channel.name) for entry in channels.create]
    created += [_entry("buffer", entry.buffer.name) for entry in changes.buffers.create]
    created += [_entry("queue", entry.queue.name) for entry in changes.queues.create]
    updated = [_entry("schedule", old.name, changes=_schedule_changes(old, entry)) for old, entry in schedules.update]
    updated += [_entry("job", old.name, changes=_differences(_job(old), _job(new))) for old, new in changes.update_jobs]
    updated += [_entry("alert", old.name, changes=_channel_changes(old, entry)) for old, entry in channels.update]
    updated += [_entry("buffer", old.name, changes=_buffer_changes(old, new)) for old, new in changes.buffers.update]
    updated += [_entry("queue", old.name, changes=_queue_changes(old, new)) for old, new in changes.queues.update]
    deleted = [_entry("schedule", old.name) for old in schedules.delete]
    deleted += [_entry("job", job.name) for job in changes.cancel_jobs]
    deleted += [_entry("alert", old.name) for old in channels.delete]
    deleted += [_entry("buffer", old.name) for old in changes.buffers.delete]
    deleted += [_entry("queue", old.name) for old in changes.queues.delete]
    return {
        "file": outcome.file,
        "created": created,
        "updated": updated,
        "deleted": deleted,
        "missed": [_entry("job", job.name) for job in changes.miss_jobs],
        "unchanged": changes.unchanged,
        "notes": changes.notes,
        "restart_needed": outcome.restart_needed,
    }


def _entry(kind: str, name: str | None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, **more}


def _schedule_changes(old: Schedule, entry: DeclaredSchedule) -> dict[str, Any]:
    changes = _differences(schedule_view(old, secrets=False), schedule_view(entry.schedule, secrets=False))
    changes |= _pause_changes(old.paused_ms, entry.paused)
    if old.headers != entry.schedule.headers and "headers" not in changes:
        changes["headers"] = {"from": masked(old.headers), "to": masked(entry.schedule.headers)}
    return changes


def _buffer_changes(old: Buffer, entry: DeclaredBuffer) -> dict[str, Any]:
    changes = _differences(buffer_view(old, secrets=False), buffer_view(entry.buffer, secrets=False))
    return changes | _pause_changes(old.paused_ms, entry.paused)


def _queue_changes(old: Queue, entry: DeclaredQueue) -> dict[str, Any]:
    nothing = QueueCounts(0, 0)
    changes = _differences(queue_view(old, nothing), queue_view(entry.queue, nothing))
    return changes | _pause_changes(old.paused_ms, entry.paused)


def _pause_changes(paused_ms: int | None, wanted: bool | None) -> dict[str, Any]:  # noqa: FBT001 -- internal
    paused = paused_ms is not None
    return {} if wanted in (None, paused) else {"paused": {"from": paused, "to": wanted}}


def _channel_changes(old: Channel, entry: DeclaredChannel) -> dict[str, Any]:
    changes = _differences(channel_view(old), channel_view(entry.channel))
    changes.pop("enabled", None)
    if entry.enabled not in (None, old.enabled):
        changes["enabled"] = {"from": old.enabled, "to": entry.enabled}
    if old.target != entry.channel.target and "target" not in changes:
        changes["target"] = {"from": shown(old), "to": shown(entry.channel)}
    return changes


def _job(job: Job) -> dict[str, Any]:
    return job_view(job, secrets=False)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs, by field: as it is, as it shall be."""
    differ = {name for name in old if name not in LIFE and _plain(old[name]) != _plain(new[name])}
    return {name: {"from": old[name], "to": new[name]} for name in old if name in differ}


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, msgspec.Raw) else value
