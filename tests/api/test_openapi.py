"""The document of the API is the truth about it: every route, and what its answers look like."""

import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from aiohttp import web
from jsonschema.validators import Draft202012Validator  # type: ignore[import-untyped]

from fliqd.api import openapi
from fliqd.api.operations import OPERATIONS
from fliqd.core.stand_ins import BOOPER, DISPATCHQ, FLIQ, QUEDUP
from tests.support import RunningDaemon, Target

STAND_INS = (FLIQ, BOOPER, DISPATCHQ, QUEDUP)  # their documents are their own


def routes(app: web.Application) -> set[tuple[str, str]]:
    """Return the routes of the native API."""
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    native = {(method, path) for method, path in found if path.split("/")[1] not in STAND_INS}
    return {(method, path.removeprefix("/v1")) for method, path in native if method != "HEAD"}


async def test_it_has_every_route_and_no_other(fliqd: RunningDaemon) -> None:
    assert fliqd.daemon is not None
    assert routes(fliqd.daemon.application) == set(OPERATIONS)


async def test_it_is_there_and_holds_together(fliqd: RunningDaemon) -> None:
    document = (await fliqd("GET", "/openapi.json")).body
    assert document["openapi"] == "3.1.0"
    assert document == (await fliqd("GET", "/v1/openapi.json")).body
    names = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))
    assert names == document["components"]["schemas"].keys()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    ids = [told["operationId"] for path in document["paths"].values() for told in path.values()]
    assert len(set(ids)) == len(ids)


def strict(schema: Any) -> Any:
    """Return a schema under which an object has no field that is not told."""
    if isinstance(schema, dict):
        closed = {"additionalProperties": False} if "properties" in schema else {}
        return closed | {key: strict(value) for key, value in schema.items()}
    return [strict(one) for one in schema] if isinstance(schema, list) else schema


class Checked:
    """Calls the API, and holds each answer against the document."""

    def __init__(self, fliqd: RunningDaemon) -> None:
        self._fliqd = fliqd
        self._document = openapi.document()
        self._components = strict(self._document["components"])
        self.seen: set[tuple[str, str]] = set()

    async def __call__(self, method: str, path: str, body: Any = None, **ids: str) -> Any:
        answer = await self._fliqd(method, path.format(**ids), body)
        template = path.partition("?")[0]
        told = self._document["paths"][template][method.lower()]["responses"]
        assert str(answer.status) in told, (method, path, answer.status)
        response = told[str(answer.status)]
        if "$ref" in response:
            response = self._components["responses"][response["$ref"].rpartition("/")[2]]
        if "application/json" in response.get("content", {}):
            schema = response["content"]["application/json"]["schema"]
            whole = {**strict(schema), "components": self._components}
            jsonschema.validate(answer.body, whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
        self.seen.add((method, template.removeprefix("/v1")))
        return answer.body


DECLARED = """
schedules = [{name = "s", every = "1h", url = "http://a/"}]
jobs = [{name = "j", scheduled_at = 2027-04-01T00:00:00Z, url = "http://a/"}]
alerts = [{name = "a", type = "slack", target = "http://a/"}]
"""
Call = tuple[str, str, Any]
OF_JOBS: list[Call] = [
    ("GET", "/v1/jobs?limit=5", None), ("GET", "/v1/jobs?limit=0", None), ("POST", "/v1/jobs", {"url": 1}),
    ("GET", "/v1/jobs/{id}", None), ("PATCH", "/v1/jobs/{id}", {"name": "n"}), ("POST", "/v1/jobs/{id}/run", None),
    ("POST", "/v1/jobs/{id}/approve", None),
    ("GET", "/v1/jobs/{id}/executions", None), ("GET", "/v1/jobs/{id}/why", None), ("DELETE", "/v1/jobs/{id}", None),
]  # fmt: skip
OF_SCHEDULES: list[Call] = [
    ("GET", "/v1/schedules", None), ("GET", "/v1/schedules/{id}", None),
    ("PATCH", "/v1/schedules/{id}", {"every": "2h"}), ("PATCH", "/v1/schedules/{id}", {"cron": "x"}),
    ("POST", "/v1/schedules/{id}/pause", None), ("POST", "/v1/schedules/{id}/resume", None),
    ("POST", "/v1/schedules/{id}/run", None), ("GET", "/v1/schedules/{id}/jobs", None),
    ("GET", "/v1/schedules/{id}/next?count=3", None), ("GET", "/v1/schedules/{id}/missed", None),
    ("DELETE", "/v1/schedules/{id}", None),
]  # fmt: skip
OF_BUFFERS: list[Call] = [
    ("GET", "/v1/buffers", None), ("GET", "/v1/buffers/{id}", None), ("PATCH", "/v1/buffers/{id}", {"rate_limit": 5}),
    ("POST", "/v1/buffers/{id}/items", {"items": [{"body": "y"}]}), ("GET", "/v1/buffers/{id}/items", None),
    ("GET", "/v1/buffers/{id}/items/{item_id}", None), ("GET", "/v1/buffers/{id}/items/{item_id}/executions", None),
    ("POST", "/v1/buffers/{id}/items/{item_id}/replay", None), ("GET", "/v1/buffers/{id}/stats", None),
    ("POST", "/v1/buffers/{id}/resume", None), ("POST", "/v1/buffers/{id}/pause", None),
    ("DELETE", "/v1/buffers/{id}", None),
]  # fmt: skip
OF_QUEUES: list[Call] = [
    ("GET", "/v1/queues", None), ("PUT", "/v1/queues/{name}", {"concurrency": 2}),
    ("PATCH", "/v1/queues/{name}", {"rate": 2}), ("GET", "/v1/queues/{name}", None),
    ("POST", "/v1/queues/{name}/pause", None), ("POST", "/v1/queues/{name}/resume", None),
    ("DELETE", "/v1/queues/{name}", None),
]  # fmt: skip
OF_ALERTS: list[Call] = [
    ("GET", "/v1/alerts", None), ("GET", "/v1/alerts/{id}", None), ("PATCH", "/v1/alerts/{id}", {"enabled": False}),
    ("POST", "/v1/alerts/{id}/test", None), ("DELETE", "/v1/alerts/{id}", None), ("GET", "/v1/alerts/{id}", None),
    ("GET", "/v1/webhooks/deliveries", None),
]  # fmt: skip
OF_THE_REST: list[Call] = [
    ("GET", "/v1/tokens", None), ("GET", "/v1/config", None), ("POST", "/v1/config/reload", None),
    ("POST", "/v1/config/diff", {"config": DECLARED}), ("POST", "/v1/config/diff", {"config": "x"}),
    ("POST", "/v1/cron/preview", {"cron": "@daily"}), ("GET", "/v1/status", None), ("GET", "/v1/summary", None),
    ("GET", "/v1/stats/jobs?days=7", None), ("GET", "/v1/stats/usage", None), ("GET", "/v1/stats/timeline", None),
    ("GET", "/v1/stats/timeline?bucket=x", None), ("GET", "/v1/metrics", None), ("GET", "/v1/signing-secret", None),
    ("POST", "/v1/signing-secret/rotate", {"overlap": "1h"}),
    ("GET", "/healthz", None), ("GET", "/readyz", None), ("GET", "/v1/openapi.json", None),
]  # fmt: skip


async def test_answers_are_as_told(fliqd: RunningDaemon, target: Target) -> None:
    """One call of each that this version has, good ones and refused ones alike."""
    target.answers += [200] + [500] * 50
    call = Checked(fliqd)
    job = await call("POST", "/v1/jobs", {"url": target.url, "delay": 0, "json": None})
    await fliqd.until(job["id"], "success")
    batch = await call("POST", "/v1/jobs/batch", {"jobs": [{"url": target.url, "delay": "1h"}]})
    failed = await call("POST", "/v1/jobs", {"url": target.url, "delay": 0, "webhook_url": target.url})
    await fliqd.until(failed["id"], "failed")
    await call("POST", "/v1/jobs/{id}/replay", id=failed["id"])
    schedule = await call("POST", "/v1/schedules", {"url": target.url, "every": "1h"})
    buffer = await call("POST", "/v1/buffers", {"url": target.url, "name": "b", "paused": True})
    item = await call("POST", "/v1/buffers/{id}/items", {"body": "x"}, id=buffer["id"])
    await call("POST", "/v1/jobs", {"url": target.url, "delay": "1h", "backoff": {"kind": "table", "delays": [1]}})
    channel = await call("POST", "/v1/alerts", {"type": "webhook", "target": target.url})
    token = await call("POST", "/v1/tokens", {"name": "t"})
    await call("DELETE", "/v1/tokens/{id}", id=token["id"])
    for calls, ids in (
        (OF_JOBS, {"id": batch["results"][0]["job"]["id"]}),
        (OF_SCHEDULES, {"id": schedule["id"]}),
        (OF_BUFFERS, {"id": buffer["id"], "item_id": item["id"]}),
        (OF_QUEUES, {"name": "mail"}),
        (OF_ALERTS, {"id": channel["id"]}),
        (OF_THE_REST, {}),
    ):
        for method, path, body in calls:
            await call(method, path, body, **ids)
    assert set(OPERATIONS) - call.seen == {("GET", "/events")}  # which never ends


async def test_answers_about_a_file_are_as_told(fliqd: RunningDaemon, tmp_path: Path) -> None:
    """What it declares, what of it was changed, and what is gone."""
    file = tmp_path / "fliqd.toml"
    file.write_text(DECLARED)
    await fliqd.stop()
    await fliqd.start()
    call = Checked(fliqd)
    shown = await call("GET", "/v1/config")
    assert (shown["schedules"], shown["jobs"][0]["name"], shown["alerts"]) == (["s"], "j", ["a"])
    file.write_text(DECLARED.replace("1h", "2h").replace("jobs =", "# jobs ="))
    told = await call("POST", "/v1/config/reload")
    assert [len(told[what]) for what in ("updated", "deleted")] == [1, 1]


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/openapi.json"])
async def test_it_needs_a_token_as_all_else(fliqd: RunningDaemon, path: str) -> None:
    fliqd.token = None
    assert (await fliqd("GET", path)).status == 401
