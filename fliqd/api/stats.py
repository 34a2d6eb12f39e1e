"""`/stats`: what executions came to."""

import re
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web

from fliqd.api.documents import Params
from fliqd.api.errors import json_response
from fliqd.api.requests import params
from fliqd.core.rollups import DAY_HOURS, HOUR_MS, Scope, Summary
from fliqd.core.times import format_time
from fliqd.errors import InvalidError, Problem
from fliqd.service.stats import EVERYONE, MOST_DAYS, MOST_DAYS_BY_HOUR, Of, Stats, Usage

DAYS: Final = 30
OF: Final = {"schedule_id": Scope.SCHEDULE, "queue": Scope.QUEUE, "host": Scope.HOST}
BUCKETS: Final = {"hour": 1, "day": DAY_HOURS}
MOST_TEXT_DAYS: Final = 999_999_999  # more is no number of days that anybody meant
_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_WITH_PORT: Final = re.compile(r".*[^:]:[0-9]{1,5}|\[.*\]:[0-9]{1,5}", re.ASCII)

# There are no credits here. What reads them may not find that they run out.
BALANCE: Final = 1_000_000_000
PLAN: Final = "self-hosted"


def add_routes(router: web.UrlDispatcher, prefix: str, stats: Stats) -> None:
    """Add the routes under `prefix`."""
    router.add_get(f"{prefix}/stats/jobs", partial(jobs, stats))
    router.add_get(f"{prefix}/stats/usage", partial(usage, stats))
    router.add_get(f"{prefix}/stats/timeline", partial(timeline, stats))


async def jobs(stats: Stats, request: web.Request) -> web.Response:
    asked = params(request, "days", *OF)
    days, of = _days(asked, DAYS), _of(asked)
    summary, complete = await stats.jobs(days, of)
    return json_response(_view(summary) | {"since_days": days, "complete": complete})


async def usage(stats: Stats, request: web.Request) -> web.Response:
    asked = params(request, "days", *OF)
    days = _days(asked, DAYS)
    return json_response(usage_view(await stats.usage(days, _of(asked)), days, PLAN))


def usage_view(used: Usage, days: int, plan: str) -> dict[str, Any]:
    """Return executions by day as `/stats/usage` shows them, here and for Fliq; `plan` is the word for ours."""
    buckets = [
        {
            "date": format_time(hour * HOUR_MS)[:10],
            "job_executions": used.jobs.get(hour, 0),
            "buffer_executions": used.buffers.get(hour, 0),
        }
        for hour in sorted(used.jobs.keys() | used.buffers.keys())
    ]
    return {
        "buckets": buckets,
        "total_job_executions": sum(used.jobs.values()),
        "total_buffer_executions": sum(used.buffers.values()),
        "balance": BALANCE,
        "plan": plan,
        "since_days": days,
    }


async def timeline(stats: Stats, request: web.Request) -> web.Response:
    asked = params(request, "days", "bucket", *OF)
    days = _days(asked, 1)
    bucket = asked.text("bucket")
    if bucket is None:
        bucket = "hour" if days <= MOST_DAYS_BY_HOUR else "day"
    if bucket not in BUCKETS:
        raise InvalidError([Problem("bucket", "expected hour or day")])
    if bucket == "hour" and days > MOST_DAYS_BY_HOUR:
        raise InvalidError([Problem("bucket", f"hours are told apart for the last {MOST_DAYS_BY_HOUR} days alone")])
    buckets, complete = await stats.timeline(days, BUCKETS[bucket], _of(asked))
    shown = [{"start": format_time(start_ms), **_view(summary)} for start_ms, summary in buckets]
    return json_response({"buckets": shown, "bucket": bucket, "since_days": days, "complete": complete})


def _view(summary: Summary) -> dict[str, Any]:
    return {"total_executions": summary.total, **msgspec.structs.asdict(summary)}


def _days(asked: Params, default: int) -> int:
    """Return how many days to look back; what is too little or too much is put right, as Fliq does."""
    text = asked.text("days")
    if text is None:
        return default
    if not _WHOLE.fullmatch(text):
        raise InvalidError([Problem("days", f"expected a whole number; 1 to {MOST_DAYS} days are looked back")])
    return max(1, min(int(text), MOST_DAYS))


def _of(asked: Params) -> Of:
    """Return whose executions are asked for; they are added up for one thing each."""
    given = [(name, text) for name in OF if (text := asked.text(name)) is not None]
    if not given:
        return EVERYONE
    name, text = given[0]
    problems = [Problem(name, "cannot be empty")] if not text else []
    problems += [Problem(other, f"goes without {name}: name one of {', '.join(OF)}") for other, _ in given[1:]]
    if problems:
        raise InvalidError(problems)
    if name == "host":
        host = text.lower()
        return Of(Scope.HOST, (host,) if _WITH_PORT.fullmatch(host) else (f"{host}:80", f"{host}:443"))
    return Of(OF[name], (text,))
