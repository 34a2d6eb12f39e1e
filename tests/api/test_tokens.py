"""Tokens: scopes, masking, revocation, last use."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import RunningDaemon, Target, until

URL = "http://127.0.0.1:9/"


async def make(fliqd: RunningDaemon, **token: Any) -> dict[str, Any]:
    answer = await fliqd("POST", "/v1/tokens", token)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.body
    return made


async def test_a_token_is_shown_once_and_kept_by_its_hash(fliqd: RunningDaemon) -> None:
    made = await make(fliqd, name="app")
    assert made["scopes"] == ["read", "write"]
    assert made["token"].startswith(made["prefix"])
    listed = (await fliqd("GET", "/v1/tokens")).body["tokens"]
    assert [token["name"] for token in listed] == ["admin", "app"]
    assert not [token for token in listed if "token" in token]
    stored = b"".join(file.read_bytes() for file in fliqd.state_dir.glob("fliqd.db*"))
    assert made["token"].encode() not in stored
    fliqd.token = made["token"]
    await fliqd.create(url=URL, delay="1h")


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (["read"], {"GET"}),
        (["write"], {"POST"}),
        (["read", "write"], {"GET", "POST"}),
        (["admin"], {"GET", "POST", "admin"}),
    ],
)
async def test_scopes(fliqd: RunningDaemon, scopes: list[str], may: set[str]) -> None:
    fliqd.token = (await make(fliqd, name="t", scopes=scopes))["token"]
    can = {
        "GET": (await fliqd("GET", "/v1/jobs")).status == 200,
        "POST": (await fliqd("POST", "/v1/jobs", {"url": URL, "delay": "1h"})).status == 201,
        "admin": (await fliqd("GET", "/v1/tokens")).status == 200,
    }
    assert {name for name, could in can.items() if could} == may


async def test_who_can_only_read_sees_no_secrets(fliqd: RunningDaemon, target: Target) -> None:
    headers = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Cookie": "s3cret", "X-My-Token": "s3cret",
               "Client-SECRET": "s3cret", "X-Plain": "shown"}  # fmt: skip
    job = await fliqd.create(url=target.url, delay=0, headers=headers)
    await fliqd.until(job["id"], "success")
    assert (await fliqd.job(job["id"]))["headers"] == headers
    fliqd.token = (await make(fliqd, name="reader", scopes=["read"]))["token"]
    for path in ("/v1/jobs", f"/v1/jobs/{job['id']}", f"/v1/jobs/{job['id']}/executions"):
        answer = await fliqd("GET", path)
        assert "s3cret" not in str(answer.body)
    assert (await fliqd.job(job["id"]))["headers"] == dict.fromkeys(headers, "***") | {"X-Plain": "shown"}


async def test_a_revoked_token_is_refused_at_once_and_after_a_restart(fliqd: RunningDaemon) -> None:
    admin = fliqd.token
    made = await make(fliqd, name="app")
    assert (await fliqd("DELETE", f"/v1/tokens/{made['id']}")).status == 204
    fliqd.token = made["token"]
    assert (await fliqd("GET", "/v1/jobs")).status == 401
    await fliqd.stop()
    await fliqd.start()
    assert fliqd.token == admin
    fliqd.token = made["token"]
    assert (await fliqd("GET", "/v1/jobs")).status == 401
    fliqd.token = admin
    assert (await fliqd("DELETE", f"/v1/tokens/{made['id']}")).status == 404


async def test_nobody_locks_everybody_out(fliqd: RunningDaemon) -> None:
    admin = (await fliqd("GET", "/v1/tokens")).body["tokens"][0]
    answer = await fliqd("DELETE", f"/v1/tokens/{admin['id']}")
    assert (answer.status, answer.code) == (409, "last_admin")
    await make(fliqd, name="second", scopes=["admin"])
    assert (await fliqd("DELETE", f"/v1/tokens/{admin['id']}")).status == 204
    assert (await fliqd("GET", "/v1/tokens")).status == 401


@pytest.mark.parametrize(
    ("token", "code"),
    [({}, "invalid_name"), ({"name": ""}, "invalid_name"), ({"name": "x" * 257}, "invalid_name"),
     ({"name": "x", "scopes": []}, "invalid_scopes"), ({"name": "x", "scopes": ["root"]}, "invalid_scopes"),
     ({"name": "x", "scopes": "read"}, "invalid_scopes"), ({"name": "x", "colour": 1}, "unknown_field")],
)  # fmt: skip
async def test_what_is_no_token(fliqd: RunningDaemon, token: dict[str, object], code: str) -> None:
    answer = await fliqd("POST", "/v1/tokens", token)
    assert (answer.status, answer.code) == (400, code)
    if token.get("scopes") == ["root"]:
        assert answer.body["error"]["message"] == 'scopes: expected read, write or admin, got ["root"]'


async def test_the_last_use_is_written_at_most_once_a_minute(fliqd: RunningDaemon) -> None:
    assert fliqd.daemon is not None
    store = fliqd.daemon._store  # noqa: SLF001 -- what is written is what this is about

    async def written() -> int | None:
        return (await store.tokens.all())[0].last_used_ms

    await fliqd("GET", "/v1/status")
    first = await until(written, "the note of the first use")
    for _ in range(5):
        fliqd.clock.advance(timedelta(seconds=11))
        await fliqd("GET", "/v1/status")
    assert await written() == first
    shown = (await fliqd("GET", "/v1/tokens")).body["tokens"][0]["last_used_at"]
    assert shown == "2027-03-01T12:00:55.000Z"
    fliqd.clock.advance(timedelta(seconds=11))
    await fliqd("GET", "/v1/status")

    async def again() -> bool | None:
        return await written() != first or None

    await until(again, "the note a minute later")
