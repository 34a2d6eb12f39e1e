"""`/signing-secret`: a rotation that receivers verify all the way through, with the Standard Webhooks library."""

import stat
import time
from datetime import timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fliqd import keyfiles
from fliqd.core.times import format_time
from fliqd.errors import StoreIOError
from tests.support import FakeClock, Hit, RunningDaemon, Target


@pytest.fixture
def env(request: pytest.FixtureRequest) -> dict[str, str]:
    given: dict[str, str] = getattr(request, "param", {})
    return given


@pytest.fixture
def clock() -> FakeClock:
    """Near the time of day, which the library compares with; two minutes ahead are still near."""
    return FakeClock(format_time(time.time_ns() // 1_000_000 - 120_000))


async def secret_of(fliqd: RunningDaemon) -> str:
    answer = await fliqd("GET", "/v1/signing-secret")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return str(answer.body["secret"])


async def rotate(fliqd: RunningDaemon, overlap: str | None = None) -> str:
    answer = await fliqd("POST", "/v1/signing-secret/rotate", None if overlap is None else {"overlap": overlap})
    assert answer.status == 200, answer.body
    return str(answer.body["secret"])


async def deliver(fliqd: RunningDaemon, target: Target) -> Hit:
    await fliqd.create(url=target.url, delay=0, json={"kind": "hello"})
    return (await target.received(len(target.hits) + 1))[-1]


def accepts(secret: str, hit: Hit) -> bool:
    """Tell whether a receiver that knows a secret takes a request."""
    try:
        Webhook(secret).verify(hit.body, dict(hit.headers))
    except WebhookVerificationError:
        return False
    return True


async def test_both_sign_during_the_overlap_and_one_after(
    fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    old = await secret_of(fliqd)
    ends_ms = clock.now_ms() + 120_000
    new = await rotate(fliqd, "2m")
    assert old != new == await secret_of(fliqd)
    for restarted in (False, True):
        if restarted:
            await fliqd.stop()
            await fliqd.start()
        during = await deliver(fliqd, target)
        assert (accepts(old, during), accepts(new, during)) == (True, True)
        assert len(during.headers["webhook-signature"].split()) == 2
    shown = (await fliqd("GET", "/v1/signing-secret")).body
    assert shown["former"] == [{"expires_at": format_time(ends_ms)}]
    fliqd.clock.advance(timedelta(minutes=2, seconds=1))
    after = await deliver(fliqd, target)
    assert (accepts(old, after), accepts(new, after)) == (False, True)
    assert (await fliqd("GET", "/v1/signing-secret")).body["former"] == []


async def test_without_an_overlap_the_old_ones_stop_at_once(fliqd: RunningDaemon, target: Target) -> None:
    first = await secret_of(fliqd)
    second = await rotate(fliqd, "1h")
    third = await rotate(fliqd)
    await fliqd.stop()
    await fliqd.start()
    hit = await deliver(fliqd, target)
    assert [accepts(secret, hit) for secret in (first, second, third)] == [False, False, True]


async def test_three_in_a_row_overlap(fliqd: RunningDaemon, target: Target) -> None:
    known = [await secret_of(fliqd), await rotate(fliqd, "3m"), await rotate(fliqd, "1m")]
    hit = await deliver(fliqd, target)
    assert all(accepts(secret, hit) for secret in known)
    fliqd.clock.advance(timedelta(minutes=2))
    hit = await deliver(fliqd, target)
    assert [accepts(secret, hit) for secret in known] == [True, False, True]


async def test_the_files_are_for_this_user_alone_and_the_log_knows_none(
    fliqd: RunningDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = [await secret_of(fliqd), await rotate(fliqd, "1h")]
    for name in ("signing.secret", "signing.former"):
        assert stat.S_IMODE((fliqd.state_dir / name).stat().st_mode) == 0o600
    said = capsys.readouterr()
    assert not any(secret in said.out + said.err for secret in secrets)


async def test_a_crash_between_the_two_files_leaves_the_old_secret(
    fliqd: RunningDaemon, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await secret_of(fliqd)
    write = keyfiles.write

    def dies(path: object, secret: str) -> None:
        if str(path).endswith("signing.secret"):
            raise StoreIOError("the power is gone")
        write(path, secret)  # type: ignore[arg-type]

    monkeypatch.setattr(keyfiles, "write", dies)
    refused = await fliqd("POST", "/v1/signing-secret/rotate", {"overlap": "1h"})
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "store_io", "5")
    monkeypatch.undo()
    for restarted in (False, True):
        if restarted:
            await fliqd.stop()
            await fliqd.start()
        assert await secret_of(fliqd) == old
        hit = await deliver(fliqd, target)
        assert accepts(old, hit)
        assert len(hit.headers["webhook-signature"].split()) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"overlap": "31d"}, "invalid_overlap"),
        ({"overlap": "soon"}, "invalid_overlap"),
        ({"overlap": [1]}, "invalid_overlap"),
        ({"overlaps": "1h"}, "unknown_field"),
    ],
)
async def test_what_is_refused(fliqd: RunningDaemon, body: object, code: str) -> None:
    before = await secret_of(fliqd)
    answer = await fliqd("POST", "/v1/signing-secret/rotate", body)
    assert (answer.status, answer.code) == (400, code)
    assert await secret_of(fliqd) == before


async def test_only_an_admin_may(fliqd: RunningDaemon) -> None:
    fliqd.token = (await fliqd("POST", "/v1/tokens", {"name": "app"})).body["token"]
    assert (await fliqd("GET", "/v1/signing-secret")).status == 403
    assert (await fliqd("POST", "/v1/signing-secret/rotate")).status == 403


@pytest.mark.parametrize("env", [{"FLIQD_SIGNING__SECRET": "whsec_dGVzdA=="}], indirect=True)
async def test_a_configured_secret_is_neither_shown_nor_rotated(fliqd: RunningDaemon) -> None:
    shown = await fliqd("GET", "/v1/signing-secret")
    assert shown.body == {"secret": None, "created_at": None, "source": "config", "former": []}
    assert (await fliqd("POST", "/v1/signing-secret/rotate")).code == "managed_by_config"


@pytest.mark.parametrize("env", [{"FLIQD_SIGNING__ENABLED": "false"}], indirect=True)
async def test_where_nothing_is_signed(fliqd: RunningDaemon) -> None:
    assert (await fliqd("GET", "/v1/signing-secret")).code == "signing_disabled"
    assert (await fliqd("POST", "/v1/signing-secret/rotate")).code == "signing_disabled"


async def test_a_broken_file_is_told(fliqd: RunningDaemon) -> None:
    await fliqd.stop()
    (fliqd.state_dir / "signing.former").write_text("tomorrow whsec_eA==\n")
    with pytest.raises(StoreIOError, match=r"signing\.former cannot be read.*delete it"):
        await fliqd.start()
