"""What an alert says, and the JSON shape that each type of channel takes it in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fliqd.core.channels import ChannelType
from fliqd.core.delivery import ErrorCode, Response
from fliqd.core.durations import format_duration
from fliqd.core.incidents import Incident, News
from fliqd.core.model import Job
from fliqd.core.times import format_time

FAILURE: Final = "failure"  # of jobs to one host
STORE: Final = "store_full"  # no room on the disk, or in what the store may take
DISK: Final = "disk_low"  # little room on the disk that the store is on
LATE: Final = "jobs_late"  # for want of slots
MISSED: Final = "schedules_missed"
CLOCK: Final = "clock_set"
TEST: Final = "test"

# Of what is no failure of a host: how it is told, and its end.
BEGUN: Final = {STORE: "the store has no room", DISK: "the disk runs full", LATE: "jobs are late"}
OVER: Final = {
    STORE: "there is room in the store again; there was none",
    DISK: "there is room on the disk again; there was little",
    LATE: "jobs leave on time again; they were late",
}

LONGEST: Final = 500  # characters of an error
MOST_NAMED: Final = 5
DISCORD_ROOM: Final = 2_000  # characters that Discord takes
NTFY_ROOM: Final = 4_096  # bytes that ntfy takes; what is longer becomes a file, or is refused where it keeps none
_encode: Final = msgspec.json.Encoder().encode


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell: a line for people, the facts for programs."""

    event: str
    text: str
    facts: dict[str, Any] = {}
    good: bool = False

    def document(self) -> dict[str, Any]:
        """Return what a channel of the type `webhook` gets."""
        return {"event": self.event, **self.facts, "message": self.text}


def facts_of(job: Job) -> dict[str, Any]:
    """Return what is told of a job that has failed: Fliq's fields, and its name."""
    of_buffer = {} if job.buffer_id is None else {"buffer_id": job.buffer_id}
    return {
        "resource_type": "buffer_item" if of_buffer else "job",
        "resource_id": job.id,
        **of_buffer,
        # What a reference of the configuration file stands for is told to nobody.
        "url": f"{job.url.partition('://')[0]}://{job.host}/" if job.has_references else job.url,
        "method": job.http_method,
        "last_error": _short(job.last_error or "it failed"),
        "status_code": job.last_status_code,
        "attempts": job.attempts,
        "failed_at": format_time(job.finished_ms or job.updated_ms),
        "name": job.name,
        "schedule_id": job.schedule_id,
    }


def of_incident(incident: Incident, news: News, facts: Mapping[str, Any]) -> Alert:
    """Return what is told of an incident; `facts` are those of what went wrong last."""
    known = {
        "subject": incident.subject,
        "count": incident.count,
        "opened_at": format_time(incident.opened_ms),
    }
    since = f"since {known['opened_at']}"
    if news is News.CLOSED:
        ended = {"kind": incident.kind, **known, "recovered_at": format_time(incident.closed_ms or incident.last_ms)}
        if incident.kind == FAILURE:
            jobs = "1 job" if incident.count == 1 else f"{incident.count} jobs"
            text = f"{incident.subject} has recovered: {jobs} had failed {since}"
        else:
            text = f"{OVER.get(incident.kind, incident.kind)} {since}"
        return Alert(event="recovered", text=text, facts=ended, good=True)
    if incident.kind == FAILURE:
        what = _what(facts)
        if news is News.OPENED:
            text = f"{incident.subject} fails{' again' if incident.again else ''}: {what}"
        else:
            text = f"{incident.subject} still fails: {incident.count} jobs {since}; the last: {what}"
    else:
        text = f"{BEGUN.get(incident.kind, incident.kind)}: {facts.get('problem', incident.subject)}"
    return Alert(event=incident.kind, text=text, facts={**facts, **known})


def of_missed(missed: Mapping[str, int]) -> Alert:
    """Return what is told of schedules (by name) that missed so many runs."""
    named = [f"{name} ({count})" for name, count in list(missed.items())[:MOST_NAMED]]
    more = f" and {len(missed) - MOST_NAMED} more" if len(missed) > MOST_NAMED else ""
    runs = sum(missed.values())
    count = "1 due time" if runs == 1 else f"{runs} due times"
    text = f"{count} came too late and did not run, of {', '.join(named)}{more}"
    schedules = [{"name": name, "count": count} for name, count in missed.items()]
    return Alert(event=MISSED, text=text, facts={"count": runs, "schedules": schedules[:100]})


def of_clock(step_ms: int, now_ms: int) -> Alert:
    """Return what is told of a clock that was set."""
    way = "forward" if step_ms > 0 else "back"
    text = f"the clock was set {way} by {format_duration(abs(step_ms))}; it is {format_time(now_ms)} now"
    return Alert(event=CLOCK, text=text, facts={"step_seconds": step_ms / 1000, "at": format_time(now_ms)})


def of_test(now_ms: int) -> Alert:
    """Return what is told to find out whether a channel works."""
    return Alert(event=TEST, text="a test: alerts arrive here", facts={"at": format_time(now_ms)}, good=True)


def together(kind: ChannelType) -> bool:
    """Tell whether several alerts may go as one: where people read them."""
    return kind is not ChannelType.WEBHOOK


def request_for(kind: ChannelType, target: str, alerts: Sequence[Alert]) -> tuple[str, bytes]:
    """Return the URL and the JSON that tell alerts to a channel."""
    texts = [f"fliqd: {alert.text}" for alert in alerts]
    text = "\n".join(texts)
    match kind:
        case ChannelType.WEBHOOK:
            return target, _encode(alerts[0].document())
        case ChannelType.SLACK:
            # What could be read as a mention or a link is none (Slack, "Escaping text").
            return target, _encode({"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")})
        case ChannelType.DISCORD:
            return target, _encode({"content": _within(DISCORD_ROOM, texts, len), "allowed_mentions": {"parse": []}})
        case _:
            good = all(alert.good for alert in alerts)
            url, topic = _ntfy(target)
            title = "fliqd" if good else "fliqd: something is wrong"
            tags = ["white_check_mark" if good else "warning"]
            message = _within(NTFY_ROOM, texts, lambda one: len(one.encode()))
            return url, _encode(
                {"topic": topic, "title": title, "message": message, "priority": 3 if good else 4, "tags": tags}
            )


def problem_of(response: Response) -> str | None:
    """Say why an alert did not arrive, None when it did; the target's URL is not in it."""
    if response.failure is not None:
        return f"{response.failure.code}: {response.failure.message}"
    if response.status is None or not 200 <= response.status < 300:  # noqa: PLR2004 -- 2xx
        return f"{ErrorCode.BAD_STATUS}: the channel answered {response.status}"
    return None


def _ntfy(target: str) -> tuple[str, str]:
    """Return where JSON for a topic is published: the URL above the topic (ntfy, "Publish as JSON"), and the topic."""
    path, mark, query = target.partition("#")[0].partition("?")
    base, _, topic = path.rstrip("/").rpartition("/")
    return f"{base}/{mark}{query}", topic


def _what(facts: Mapping[str, Any]) -> str:
    """Say what has failed: `nightly-backup (job_…), after 4 attempts: bad_status: the target answered 500`."""
    if "resource_id" not in facts:
        return "jobs to it have failed"
    name = f"{facts['name']} ({facts['resource_id']})" if facts.get("name") else facts["resource_id"]
    count = facts["attempts"]
    return f"{name}, after {count} attempt{'' if count == 1 else 's'}: {facts['last_error']}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _within(room: int, texts: Sequence[str], size: Callable[[str], int]) -> str:
    """Return texts as lines; where that is too much, each is cut to its part of the room, so that none is left out."""
    whole = "\n".join(texts)
    if size(whole) <= room:
        return whole
    part = room // len(texts) - 1  # a line break each
    return "\n".join(_cut(text, part, size) for text in texts)


def _cut(text: str, room: int, size: Callable[[str], int]) -> str:
    if size(text) <= room:
        return text
    kept = text[:room]
    while size(kept) > room - size("…"):
        kept = kept[:-1]
    return f"{kept}…"
