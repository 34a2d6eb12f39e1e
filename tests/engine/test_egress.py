"""Where requests may go, tried through the daemon: refused as an execution that names the rule and the setting."""

import json

import pytest
from aiohttp import web

from tests.support import RunningDaemon, Target, serve_target


@pytest.fixture
def env() -> dict[str, str]:
    return {"FLIQD_EGRESS__FOLLOW_REDIRECTS": "3", "FLIQD_EGRESS__DENY": "denied.localhost, 127.9.0.0/16"}


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        ("http://[fd00:ec2::254]/", "metadata"),
        ("http://[::ffff:169.254.169.254]/", "metadata"),
        ("http://[64:ff9b::a9fe:a9fe]/", "metadata"),
        ("http://0.0.0.0:1/", "unspecified"),
        ("http://224.0.0.1/", "multicast"),
        ("http://169.254.1.1/", "link_local"),
        ("http://127.9.1.1/", "denied"),
        ("http://127.0.0.1:25/", "port"),
    ],
)
async def test_refused(fliqd: RunningDaemon, url: str, rule: str) -> None:
    """The policy is judged at the attempt, not at creation, and a refusal is not retried."""
    job = await fliqd.create(url=url, delay=0, max_retries=5)
    failed = await fliqd.until(job["id"], "failed")
    assert failed["attempts"] == 1
    execution = (await fliqd.executions(job["id"]))[0]
    assert execution["error_code"] == "egress_denied"
    assert execution["error"].startswith("egress_denied: ")
    assert f"(rule {rule}, egress." in execution["error"]


async def test_its_own_doors_are_refused(fliqd: RunningDaemon) -> None:
    port = fliqd.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        job = await fliqd.create(url=f"http://{host}:{port}/v1/jobs", delay=0)
        failed = await fliqd.until(job["id"], "failed")
        assert "own_listener" in failed["last_error"]


def leads_to(url: str, status: int = 307) -> web.Response:
    return web.Response(status=status, headers={"Location": url})


async def test_redirects_within_an_origin_keep_everything(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [leads_to("/next?a=1#part")]
    job = await fliqd.create(url=target.url, delay=0, body="b", headers={"Authorization": "Bearer s3cret"})
    await fliqd.until(job["id"], "success")
    first, second = target.hits
    assert (second.method, second.path, second.body) == ("POST", "/next?a=1", b"b")
    assert second.headers["Authorization"] == "Bearer s3cret"
    assert second.headers["X-Fliq-Signature"] != first.headers["X-Fliq-Signature"]  # it covers the URL as sent


async def test_a_stranger_gets_no_secret(fliqd: RunningDaemon, target: Target) -> None:
    async with serve_target() as stranger:
        target.answers = [leads_to(stranger.url)]
        headers = {"Authorization": "Bearer s3cret", "X-Mine": "s3cret", "User-Agent": "s3cret"}
        job = await fliqd.create(url=target.url, delay=0, headers=headers)
        await fliqd.until(job["id"], "success")
    received = stranger.hits[0].headers
    assert "s3cret" not in json.dumps(list(received.items()))
    assert not [name for name in received if "signature" in name.lower()]
    assert received["X-Fliq-Delivery-Id"] == job["id"]


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_what_becomes_of_a_post(fliqd: RunningDaemon, target: Target, status: int, method: str) -> None:
    target.answers = [leads_to(target.url, status)]
    job = await fliqd.create(url=target.url, delay=0, body="b")
    await fliqd.until(job["id"], "success")
    assert (target.hits[1].method, target.hits[1].body) == (method, b"b" if method == "POST" else b"")


async def test_a_loop_ends(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [leads_to(target.url) for _ in range(9)]
    job = await fliqd.create(url=target.url, delay=0)
    failed = await fliqd.until(job["id"], "failed")
    assert failed["last_error"] == (
        "bad_status: the target answered 307, a redirect; egress.follow_redirects says how many are followed"
    )
    assert len(target.hits) == 4


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/", "egress_denied"),
        ("http://127.9.0.1/", "egress_denied"),
        ("//127.9.0.1/", "egress_denied"),
        ("file:///etc/passwd", "protocol"),
        ("http://a b/", "protocol"),
        ("http://user:s3cret@127.0.0.1/", "protocol"),
        ("gopher://x/", "protocol"),
    ],
)
async def test_each_hop_is_judged(fliqd: RunningDaemon, target: Target, location: str, code: str) -> None:
    target.answers = [leads_to(location)]
    job = await fliqd.create(url=target.url, delay=0)
    failed = await fliqd.until(job["id"], "failed")
    assert failed["last_error"].startswith(f"{code}: ")
    assert "s3cret" not in failed["last_error"]
    assert len(target.hits) == 1
