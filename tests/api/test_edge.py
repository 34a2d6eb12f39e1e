"""What holds for every request: the caller, the id, the shape of errors."""

import pytest

from tests.support import RunningDaemon


async def test_nothing_without_a_token(fliqd: RunningDaemon) -> None:
    good = fliqd.token
    for token in (None, "x", "fliq_sk_" + "0" * 64, f"{good}0", good.upper() if good else None, ""):
        fliqd.token = token
        for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/status"), ("GET", "/nowhere")):
            answer = await fliqd(method, path)
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    for header in ("Basic " + str(good), str(good), "Bearer"):
        assert (await fliqd("GET", "/v1/status", headers={"Authorization": header})).status == 401


async def test_the_probes_are_open(fliqd: RunningDaemon) -> None:
    fliqd.token = None
    assert (await fliqd("GET", "/healthz")).status == 200
    assert (await fliqd("GET", "/readyz")).body == {"status": "ready"}


async def test_a_request_id_is_echoed_or_made(fliqd: RunningDaemon) -> None:
    given = await fliqd("GET", "/v1/status", headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"
    for bad in ("x" * 200, "a b", "ü", "<script>"):
        made = await fliqd("GET", "/v1/status", headers={"X-Request-Id": bad})
        assert made.headers["X-Request-Id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v2/jobs", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("POST", "/v1/status", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_refusals_of_the_router_have_the_shape_too(
    fliqd: RunningDaemon, method: str, path: str, status: int, code: str
) -> None:
    answer = await fliqd(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert set(answer.body["error"]) == {"code", "message", "details", "request_id"}


async def test_status(fliqd: RunningDaemon) -> None:
    job = await fliqd.create(url="http://127.0.0.1:9/", delay="1h")
    status = (await fliqd("GET", "/v1/status")).body
    assert (status["status"], status["in_flight"], status["next_due_at"]) == ("ok", 0, job["scheduled_at"])
    assert status["store"]["bytes"] > 0
    assert status == (await fliqd("GET", "/status")).body
