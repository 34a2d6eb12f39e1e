"""Every call of the API: what it takes, what it answers. A test holds it against the routes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from fliqd.api.calendar import PreviewDraft
from fliqd.api.config import DiffDraft
from fliqd.api.jobs import FILTERS
from fliqd.api.signing import RotateDraft
from fliqd.api.stats import OF
from fliqd.api.tokens import TokenDraft
from fliqd.core.buffers import BufferDraft, ItemDraft
from fliqd.core.channels import ChannelDraft
from fliqd.core.drafts import JobDraft
from fliqd.core.queues import QueueDraft
from fliqd.core.schedule_drafts import ScheduleDraft


class Operation(NamedTuple):
    """One call. `answers` maps a status to the name of a shape, None for no body; `many` is the key of a list of it."""

    summary: str
    answers: dict[int, str | None]
    body: type | None = None
    params: tuple[str, ...] = ()
    many: str = ""
    batch: str = ""  # the key of a list of bodies that may come, or comes, in the place of one
    batch_alone: bool = False
    batch_answer: str = ""  # the shape that answers a list, where another one answers a single body
    required: tuple[str, ...] = ()  # of the body
    headers: tuple[str, ...] = ()  # that it reads
    body_optional: bool = False
    media: str = "application/json"  # of the answer
    schemas: Mapping[str, dict[str, Any]] = MappingProxyType({})  # of parameters that differ from those of others


PAGE: Final = ("limit", "cursor")
OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/jobs"): Operation(
        "Make a job", {201: "Job", 200: "Job"}, JobDraft, required=("url",), headers=("Idempotency-Key",)
    ),
    ("GET", "/jobs"): Operation("List jobs", {200: "Job"}, params=(*FILTERS, "schedule_id"), many="jobs"),
    ("POST", "/jobs/batch"): Operation("Make many jobs", {200: "JobResults"}, JobDraft, batch="jobs", batch_alone=True),
    ("GET", "/jobs/{id}"): Operation("Read a job", {200: "Job"}),
    ("PATCH", "/jobs/{id}"): Operation("Change a waiting job", {200: "Job"}, JobDraft),
    ("DELETE", "/jobs/{id}"): Operation("Cancel a waiting job", {204: None}),
    ("POST", "/jobs/{id}/replay"): Operation("Do a failed job again", {201: "Job"}),
    ("POST", "/jobs/{id}/approve"): Operation("Let a job go that awaits approval", {200: "Job"}),
    ("POST", "/jobs/{id}/run"): Operation("Make a waiting job due now", {200: "Job"}),
    ("GET", "/jobs/{id}/executions"): Operation("List the attempts at a job", {200: "Execution"}, many="executions"),
    ("GET", "/jobs/{id}/why"): Operation("Say what a job waits for", {200: "Why"}),
    ("POST", "/schedules"): Operation("Make a schedule", {201: "Schedule"}, ScheduleDraft, required=("url",)),
    ("GET", "/schedules"): Operation(
        "List schedules", {200: "Schedule"}, params=("status", "name", "source", *PAGE), many="schedules"
    ),
    ("GET", "/schedules/{id}"): Operation("Read a schedule", {200: "Schedule"}),
    ("PATCH", "/schedules/{id}"): Operation("Change a schedule", {200: "Schedule"}, ScheduleDraft),
    ("DELETE", "/schedules/{id}"): Operation("Delete a schedule", {204: None}),
    ("POST", "/schedules/{id}/pause"): Operation("Pause a schedule", {200: "Schedule"}),
    ("POST", "/schedules/{id}/resume"): Operation("Resume a schedule", {200: "Schedule"}),
    ("POST", "/schedules/{id}/run"): Operation("Run a schedule now", {201: "Job"}),
    ("GET", "/schedules/{id}/jobs"): Operation("List its jobs", {200: "Job"}, params=FILTERS, many="jobs"),
    ("GET", "/schedules/{id}/next"): Operation("Show its next runs", {200: "Runs"}, params=("count",)),
    ("GET", "/schedules/{id}/missed"): Operation("List what it missed", {200: "Missed"}, params=PAGE, many="missed"),
    ("POST", "/buffers"): Operation("Make a buffer", {201: "Buffer"}, BufferDraft, required=("name", "url")),
    ("GET", "/buffers"): Operation("List buffers", {200: "Buffer"}, params=("name", *PAGE), many="buffers"),
    ("GET", "/buffers/{id}"): Operation("Read a buffer", {200: "Buffer"}),
    ("PATCH", "/buffers/{id}"): Operation("Change a buffer", {200: "Buffer"}, BufferDraft),
    ("DELETE", "/buffers/{id}"): Operation("Delete a buffer and its items", {204: None}),
    ("POST", "/buffers/{id}/pause"): Operation("Send no more items", {200: "Buffer"}),
    ("POST", "/buffers/{id}/resume"): Operation("Go on sending", {200: "Buffer"}),
    ("GET", "/buffers/{id}/stats"): Operation("Count its items", {200: "BufferStats"}),
    ("POST", "/buffers/{id}/items"): Operation(
        "Push an item, or many",
        {201: "Item", 200: "Item"},
        ItemDraft,
        batch="items",
        batch_answer="ItemResults",
        headers=("Idempotency-Key",),
    ),
    ("GET", "/buffers/{id}/items"): Operation("List items", {200: "Item"}, params=("status", *PAGE), many="items"),
    ("GET", "/buffers/{id}/items/{item_id}"): Operation("Read an item", {200: "Item"}),
    ("GET", "/buffers/{id}/items/{item_id}/executions"): Operation(
        "List the attempts at an item", {200: "Execution"}, many="executions"
    ),
    ("POST", "/buffers/{id}/items/{item_id}/replay"): Operation("Push a failed item again", {201: "Item"}),
    ("GET", "/queues"): Operation("List queues", {200: "Queue"}, many="queues"),
    ("GET", "/queues/{name}"): Operation("Read a queue", {200: "Queue"}),
    ("PUT", "/queues/{name}"): Operation("Set the limits of a queue", {200: "Queue"}, QueueDraft),
    ("PATCH", "/queues/{name}"): Operation("Set some limits of a queue", {200: "Queue"}, QueueDraft),
    ("DELETE", "/queues/{name}"): Operation("Forget the limits of a queue", {204: None}),
    ("POST", "/queues/{name}/pause"): Operation("Pause a queue", {200: "Queue"}),
    ("POST", "/queues/{name}/resume"): Operation("Resume a queue", {200: "Queue"}),
    ("POST", "/alerts"): Operation(
        "Make a channel for alerts", {201: "Channel"}, ChannelDraft, required=("type", "target")
    ),
    ("GET", "/alerts"): Operation("List channels", {200: "Channel"}, params=PAGE, many="channels"),
    ("GET", "/alerts/{id}"): Operation("Read a channel", {200: "Channel"}),
    ("PATCH", "/alerts/{id}"): Operation("Change a channel", {204: None}, ChannelDraft),
    ("DELETE", "/alerts/{id}"): Operation("Delete a channel", {204: None}),
    ("POST", "/alerts/{id}/test"): Operation("Send a test message", {200: "Tested"}),
    ("GET", "/webhooks/deliveries"): Operation(
        "List webhook deliveries", {200: "Delivery"}, params=("status", "job_id", *PAGE), many="deliveries"
    ),
    ("GET", "/tokens"): Operation("List tokens", {200: "Token"}, many="tokens"),
    ("POST", "/tokens"): Operation("Make a token", {201: "NewToken"}, TokenDraft),
    ("DELETE", "/tokens/{id}"): Operation("Revoke a token", {204: None}),
    ("GET", "/config"): Operation("Show what is in effect", {200: "Config"}),
    ("POST", "/config/reload"): Operation("Read the configuration again", {200: "Reload"}),
    ("POST", "/config/diff"): Operation(
        "Say what a reload would change", {200: "Reload"}, DiffDraft, body_optional=True
    ),
    ("POST", "/cron/preview"): Operation(
        "Say when an expression runs", {200: "Preview"}, PreviewDraft, required=("cron",)
    ),
    ("GET", "/stats/jobs"): Operation("Sum up executions", {200: "JobStats"}, params=("days", *OF)),
    ("GET", "/stats/usage"): Operation("Count executions a day", {200: "Usage"}, params=("days", *OF)),
    ("GET", "/stats/timeline"): Operation(
        "Sum up executions by hour or day", {200: "Timeline"}, params=("days", "bucket", *OF)
    ),
    ("GET", "/signing-secret"): Operation("Show the signing secret", {200: "Secret"}),
    ("POST", "/signing-secret/rotate"): Operation(
        "Make a new signing secret", {200: "Secret"}, RotateDraft, body_optional=True
    ),
    ("GET", "/events"): Operation(
        "Follow what happens",
        {200: "Text"},
        params=("type", "job_id", "schedule_id", "queue"),
        headers=("Last-Event-ID",),
        media="text/event-stream",
    ),
    ("GET", "/metrics"): Operation("Show figures to Prometheus", {200: "Text"}, media="text/plain"),
    ("GET", "/status"): Operation("Show how the daemon is", {200: "Status"}),
    ("GET", "/summary"): Operation("A few numbers, flat", {200: "Summary"}),
    ("GET", "/healthz"): Operation("Whether the process lives", {200: "Health"}),
    ("GET", "/readyz"): Operation("Whether it can take work", {200: "Health"}),
    ("GET", "/openapi.json"): Operation("This document", {200: "Document"}),
}
