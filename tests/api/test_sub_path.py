"""Behind a proxy that shows the API under a path of its own, which it passes on or cuts off."""

import pytest

from tests.support import RunningDaemon


@pytest.fixture
def env() -> dict[str, str]:
    return {"FLIQD_SERVER__PUBLIC_URL": "https://nas.example/tools/fliqd/"}


async def test_with_the_path_and_without(fliqd: RunningDaemon) -> None:
    for base in ("", "/tools/fliqd"):
        job = (await fliqd("POST", f"{base}/v1/jobs", {"url": "http://127.0.0.1:9/", "delay": "1h"})).body
        assert (await fliqd("GET", f"{base}/v1/jobs/{job['id']}")).body["id"] == job["id"]
        assert (await fliqd("GET", f"{base}/jobs?limit=1&status=scheduled")).body["jobs"][0]["id"] == job["id"]
        assert (await fliqd("DELETE", f"{base}/v1/jobs/{job['id']}")).status == 204
        assert (await fliqd("GET", f"{base}/healthz")).status == 200


async def test_the_path_opens_no_door(fliqd: RunningDaemon) -> None:
    """It is no way around the token, and a path that only begins like it is not ours."""
    assert (await fliqd("GET", "/tools/fliqdx/healthz")).status == 404
    assert (await fliqd("GET", "/tools/fliqd")).status == 404
    assert (await fliqd("GET", "/tools/fliqd/tools/fliqd/healthz")).status == 404
    fliqd.token = None
    for path in ("/tools/fliqd/v1/jobs", "/tools/fliqd/nowhere", "/tools/fliqd", "/tools/fliqd?x=/healthz"):
        assert (await fliqd("GET", path)).status == 401
    assert (await fliqd("GET", "/tools/fliqd/readyz")).status == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("nas.example", "https://nas.example", 200),
        ("127.0.0.1:3547", "https://nas.example", 200),  # a proxy that sends its own idea of the Host
        ("127.0.0.1:3547", "https://evil.example", 403),
        ("127.0.0.1:3547", "null", 403),
        ("evil.example", "https://nas.example", 421),
    ],
)
async def test_pages_at_the_public_url_are_ours(fliqd: RunningDaemon, host: str, origin: str, status: int) -> None:
    answer = await fliqd("GET", "/tools/fliqd/v1/status", headers={"Host": host, "Origin": origin})
    assert answer.status == status
