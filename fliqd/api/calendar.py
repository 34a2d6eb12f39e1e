"""`/cron/preview`: what an expression means, before anything depends on it."""

import asyncio

import msgspec
from aiohttp import web

from fliqd.api.errors import json_response
from fliqd.api.requests import json_body, params
from fliqd.clock import Clock
from fliqd.core.decoding import decode
from fliqd.core.times import format_time, parse_time
from fliqd.errors import InvalidError, Problem
from fliqd.service.calendar import preview

MOST_RUNS = 1000


class PreviewDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of `POST /v1/cron/preview`."""

    cron: str | None = None
    timezone: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    count: int | None = None


def add_routes(router: web.UrlDispatcher, prefix: str, clock: Clock) -> None:
    """Add the routes under `prefix`."""

    async def show(request: web.Request) -> web.Response:
        params(request)
        draft, found = decode(await json_body(request), PreviewDraft)
        problems = list(found)
        at_fault = {problem.field for problem in problems}
        if draft.cron is None and "cron" not in at_fault:
            problems.append(Problem("cron", 'is required, such as "0 8 * * 1-5"'))
        count = 5 if draft.count is None else draft.count
        if not 1 <= count <= MOST_RUNS:
            problems.append(Problem("count", f"got {count}, expected a whole number from 1 to {MOST_RUNS}"))
        from_ms = clock.now_ms()
        try:
            if draft.from_ is not None:
                from_ms = parse_time(draft.from_)
        except ValueError as err:
            problems.append(Problem("from", str(err)))
        if problems or draft.cron is None:
            raise InvalidError(problems)
        # A thousand runs take up to a tenth of a second to find, which the loop has not.
        zone = "UTC" if draft.timezone is None else draft.timezone
        runs, description = await asyncio.to_thread(preview, draft.cron, zone, from_ms=from_ms, count=count)
        return json_response({"runs": [format_time(run) for run in runs], "description": description})

    router.add_post(f"{prefix}/cron/preview", show)
