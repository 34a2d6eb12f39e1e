"""`/api/jobs` and `/api/logs`: create, list, read and cancel, and what was done."""

import re
import uuid
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from fliqd.api.auth import CALLER
from fliqd.api.errors import json_response
from fliqd.api.requests import json_body
from fliqd.clock import Clock
from fliqd.core.model import Job, JobStatus
from fliqd.core.stand_ins import BOOPER
from fliqd.dialects.booper import log
from fliqd.dialects.booper.documents import Wanted, read
from fliqd.dialects.booper.params import FEW, MOST, number, order, word
from fliqd.dialects.booper.views import record
from fliqd.errors import ConflictError, NotFoundError
from fliqd.ids import encode_ulid, id_pattern
from fliqd.service.jobs import Asked, Jobs
from fliqd.service.schedules import ScheduleService
from fliqd.store.base import Created, JobFilter, JobOrder, OrderedBy

FARTHEST: Final = 1_000_000_000  # offset of a list
FARTHEST_LOG: Final = 10_000  # of a log, whose entries are counted one by one
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_OURS: Final = id_pattern("job")
S = JobStatus
# Booper's page has the states scheduled, completed and cancelled.
STATES: Final = {
    "scheduled": JobFilter(waiting=True),
    "available": JobFilter(waiting=True),
    "retryable": JobFilter(retrying=True),
    "executing": JobFilter(status=S.RUNNING),
    "completed": JobFilter(status=S.SUCCESS),
    "discarded": JobFilter(status=S.FAILED),
    "cancelled": JobFilter(status=S.CANCELLED),
}
ORDERS: Final[dict[str, OrderedBy]] = {
    "inserted_at": "created",
    "id": "created",
    "job_id": "created",
    "scheduled_at": "scheduled",
    "attempted_at": "started",
    "completed_at": "finished",
    "cancelled_at": "finished",
    "discarded_at": "finished",
}
LOG_ORDERS: Final = dict.fromkeys(("inserted_at", "job_id"))


class Routes:
    """Requests to operations, and their results to answers."""

    def __init__(
        self, *, jobs: Jobs, schedules: ScheduleService, clock: Clock, user_id: str, dynamic_fields: bool
    ) -> None:
        self._jobs = jobs
        self._schedules = schedules
        self._clock = clock
        self._user_id = user_id
        self._dynamic_fields = dynamic_fields

    def add(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the routes under `prefix`."""
        router.add_post(f"{prefix}/api/jobs", self.create)
        router.add_get(f"{prefix}/api/jobs", self.list)
        router.add_get(f"{prefix}/api/jobs/{{id}}", self.get)
        router.add_post(f"{prefix}/api/jobs/{{id}}/cancel", self.cancel)
        router.add_get(f"{prefix}/api/logs", self.log)

    async def create(self, request: web.Request) -> web.Response:
        now_ms = self._clock.now_ms()
        wanted = read(await json_body(request), now_ms=now_ms, dynamic_fields=self._dynamic_fields)
        created = await self._create(wanted, now_ms=now_ms, token_id=request[CALLER].token_id)
        shown = self._record(request, created.job, fresh=True, conflict=created.replayed)
        return json_response({"data": shown}, status=200 if created.replayed else 201)

    async def list(self, request: web.Request) -> web.Response:
        query = request.query
        where = word(query, "state", STATES) or JobFilter()
        by, newest_first = order(query, ORDERS, "created")
        offset, limit = number(query, "offset", 0, 0, FARTHEST), number(query, "limit", FEW, 1, MOST)
        found = await self._jobs.page(where, JobOrder(by, newest_first), offset=offset, limit=limit)
        return json_response({"data": [self._record(request, job) for job in found]})

    async def get(self, request: web.Request) -> web.Response:
        return json_response({"data": self._record(request, await self._find(request.match_info["id"]))})

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel a job that waits, and its recurrence in any case; what runs or has ended is shown as it is."""
        job = await self._find(request.match_info["id"])
        if job.schedule_id is not None and job.dialect == BOOPER:
            await self._end(job.schedule_id)
            job = await self._jobs.get(job.id)
        if job.status in (S.SCHEDULED, S.AWAITING_APPROVAL):
            try:
                job = await self._jobs.cancel(job.id)
            except ConflictError as err:
                if err.code != "not_cancellable":
                    raise
                job = await self._jobs.get(job.id)  # it has just begun
        return json_response({"data": self._record(request, job)})

    async def log(self, request: web.Request) -> web.Response:
        query = request.query
        _, newest_first = order(query, LOG_ORDERS, None)
        offset, limit = number(query, "offset", 0, 0, FARTHEST_LOG), number(query, "limit", FEW, 1, MOST)
        job = await self._find(query["job_id"]) if "job_id" in query else None
        found = await log.page(
            self._jobs,
            job,
            newest_first=newest_first,
            offset=offset,
            limit=limit,
            user_id=self._user_id,
            secrets=request[CALLER].sees_secrets,
        )
        return json_response({"data": found})

    async def _create(self, wanted: Wanted, *, now_ms: int, token_id: str | None) -> Created:
        asked, key, raw = wanted
        if isinstance(asked, Asked):
            return await self._jobs.create(asked, dialect=BOOPER, token_id=token_id, raw=raw)
        while True:
            try:
                return await self._schedules.create_with_job(
                    asked, now_ms=now_ms, dialect=BOOPER, token_id=token_id, raw=raw, idempotency_key=key
                )
            except ConflictError as err:
                if err.code != "name_taken" or asked.draft.name is None:
                    raise
                asked.draft.name = None  # names of schedules are unique, Booper's are not: it is given one

    async def _find(self, text: str) -> Job:
        """Return a job by its number, its UUID or the id that `/v1` knows it by; raise NotFoundError."""
        try:
            if _NUMBER.fullmatch(text):
                return await self._jobs.get_numbered(int(text))
            if _UUID.fullmatch(text):
                return await self._jobs.get(f"job_{encode_ulid(uuid.UUID(text).int)}")
            if _OURS.fullmatch(text):
                return await self._jobs.get(text)
        except NotFoundError:
            pass  # told in the words that were asked in
        raise NotFoundError("job", repr(text[:40]))

    async def _end(self, schedule_id: str) -> None:
        with suppress(NotFoundError):  # it has ended before
            await self._schedules.delete(schedule_id)

    def _record(self, request: web.Request, job: Job, *, fresh: bool = False, conflict: bool = False) -> dict[str, Any]:
        return record(
            job,
            user_id=self._user_id,
            now_ms=self._clock.now_ms(),
            secrets=request[CALLER].sees_secrets,
            fresh=fresh,
            conflict=conflict,
        )
