"""`[[alerts]]`: channels that the file declares; and references in who is told, looked up when they are used."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.config.test_reload import File
from tests.support import RunningDaemon, Target


@pytest.fixture
def env() -> dict[str, str]:
    return {"HOOK_TOKEN": "t0ken"}


@pytest.fixture
async def file(tmp_path: Path, fliqd: RunningDaemon) -> File:
    await fliqd.stop()
    file = File(tmp_path / "fliqd.toml", fliqd)
    file.write("")
    await fliqd.start()
    return file


def on_call(target: str, more: str = "") -> str:
    return f"""
        [[alerts]]
        name = "on-call"
        type = "webhook"
        target = "{target}"
        {more}
    """


async def channels(fliqd: RunningDaemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await fliqd("GET", "/v1/alerts")).body["channels"]
    return found


async def test_a_channel_is_made_changed_and_deleted(file: File, fliqd: RunningDaemon, target: Target) -> None:
    made = await file.reload(on_call(target.url))
    assert made.body["created"] == [{"kind": "alert", "name": "on-call"}]
    [first] = await channels(fliqd)
    assert (first["name"], first["source"], first["enabled"]) == ("on-call", "config", True)
    assert (await file.reload(on_call(target.url))).body["unchanged"] == 1

    path = f"/v1/alerts/{first['id']}"
    assert (await fliqd("PATCH", path, {"enabled": False})).status == 204
    assert (await file.reload(on_call(target.url))).body["unchanged"] == 1
    for answer in (await fliqd("PATCH", path, {"name": "x"}), await fliqd("DELETE", path)):
        assert (answer.status, answer.code) == (409, "managed_by_config")

    base = target.url.removesuffix("/hook")
    changed = await file.reload(on_call(target.url + "/other", "enabled = true"))
    assert changed.body["updated"] == [
        {
            "kind": "alert",
            "name": "on-call",
            "changes": {"enabled": {"from": False, "to": True}, "target": {"from": f"{base}/***", "to": f"{base}/***"}},
        }
    ]
    [second] = await channels(fliqd)
    assert (second["id"], second["created_at"], second["enabled"]) == (first["id"], first["created_at"], True)
    assert (await fliqd("GET", "/v1/config")).body["alerts"] == ["on-call"]

    assert (await file.reload("")).body["deleted"] == [{"kind": "alert", "name": "on-call"}]
    assert await channels(fliqd) == []


async def test_one_of_the_same_name_is_taken_over(file: File, fliqd: RunningDaemon, target: Target) -> None:
    made = await fliqd("POST", "/v1/alerts", {"type": "slack", "target": target.url, "name": "on-call"})
    await fliqd("POST", "/v1/alerts", {"type": "slack", "target": target.url})
    await file.reload(on_call(target.url))
    first, second = reversed(await channels(fliqd))
    assert (first["id"], first["type"], first["source"]) == (made.body["id"], "webhook", "config")
    assert second["source"] == "api"


async def test_a_wrong_channel_is_refused_with_the_file(file: File, fliqd: RunningDaemon) -> None:
    answer = await file.reload(on_call("http://a/${env:HOOK_TOKEN} x").replace("webhook", "email"))
    problems = {one["field"]: one["problem"] for one in answer.body["error"]["details"]}
    assert list(problems) == ["alerts[0].type", "alerts[0].target"]
    assert "t0ken" not in json.dumps(answer.body)
    assert await channels(fliqd) == []


async def test_a_target_in_a_file_is_looked_up_when_it_is_used(
    file: File, fliqd: RunningDaemon, target: Target, tmp_path: Path
) -> None:
    secret = tmp_path / "slack-url"
    secret.write_text(target.url + "/old\n")
    await file.reload(on_call(f"${{file:{secret}}}"))
    [channel] = await channels(fliqd)
    assert channel["target"] == f"${{file:{secret}}}"
    secret.write_text(target.url + "/new\n")
    tested = await fliqd("POST", f"/v1/alerts/{channel['id']}/test")
    assert tested.body["delivered"] is True
    assert target.hits[0].path == "/hook/new"
    secret.unlink()
    tested = await fliqd("POST", f"/v1/alerts/{channel['id']}/test")
    assert tested.body["error"].startswith("unresolved: ")


async def test_references_of_webhooks_are_looked_up_when_they_are_sent(
    file: File, fliqd: RunningDaemon, target: Target
) -> None:
    """What is stored and shown is the reference."""
    answer = await file.reload(f"""
        [[schedules]]
        name = "s"
        every = "1h"
        url = "{target.url}"
        webhook_url = "{target.url}/told/${{env:HOOK_TOKEN}}"
        webhook_headers = {{ Authorization = "Bearer ${{env:HOOK_TOKEN}}", X-Literal = "$${{x}}" }}
        callback_url = "{target.url}/answer/${{env:HOOK_TOKEN}}"
    """)
    assert answer.status == 200, answer.body
    [schedule] = (await fliqd("GET", "/v1/schedules")).body["schedules"]
    assert schedule["webhook_url"] == target.url + "/told/${env:HOOK_TOKEN}"
    await fliqd("POST", f"/v1/schedules/{schedule['id']}/run")
    hits = {hit.path: hit for hit in await target.received(3)}
    assert set(hits) == {"/hook", "/hook/told/t0ken", "/hook/answer/t0ken"}
    assert hits["/hook/told/t0ken"].headers["Authorization"] == "Bearer t0ken"
    assert hits["/hook/told/t0ken"].headers["X-Literal"] == "${x}"
    shown = (await fliqd("GET", "/v1/webhooks/deliveries")).body
    assert "t0ken" not in json.dumps(shown)


async def test_the_secrets_of_a_failed_job_are_not_told(file: File, fliqd: RunningDaemon, target: Target) -> None:
    await file.reload(
        on_call(target.url + "/alert")
        + f"""
        [[schedules]]
        name = "s"
        every = "1h"
        url = "{target.url}/${{env:HOOK_TOKEN}}"
        """
    )
    [schedule] = (await fliqd("GET", "/v1/schedules")).body["schedules"]
    target.answers = [500]
    await fliqd("POST", f"/v1/schedules/{schedule['id']}/run")
    alert = json.loads((await target.received(2))[1].body)
    assert alert["url"] == target.url.removesuffix("hook")
    assert "t0ken" not in json.dumps(alert)
