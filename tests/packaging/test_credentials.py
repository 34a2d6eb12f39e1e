"""Secrets that systemd passes on: an admin token and the signing secret, in no file of ours."""

from pathlib import Path

import pytest

from fliqd.core.signing import Signer
from tests.support import Api, Target, process

TOKEN = "fliq_sk_" + "5" * 64
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "admin-token").write_text(TOKEN + "\n")
    (directory / "signing-secret").write_text(SECRET + "\n")
    return directory


async def test_they_are_taken(tmp_path: Path, credentials: Path, target: Target) -> None:
    """The token works, is listed, cannot be revoked here, and makes a first token of our own needless."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "admin.token").write_text("kept")  # as the helper of these tests reads it; nothing writes it
    async with process(state, CREDENTIALS_DIRECTORY=str(credentials)) as fliqd:
        await fliqd.start()
        api = Api(fliqd.url, TOKEN)
        try:
            await api.create(url=target.url, delay=0)
            [token] = (await api("GET", "/v1/tokens")).body["tokens"]
            assert (token["name"], token["prefix"]) == ("credential", TOKEN[:16])
            refused = await api("DELETE", f"/v1/tokens/{token['id']}")
            assert (refused.status, refused.code) == (409, "managed_by_config")
            assert (await api("GET", "/v1/tokens")).status == 200
            shown = (await api("GET", "/v1/signing-secret")).body
            assert (shown["secret"], shown["source"]) == (None, "config")
            refused = await api("POST", "/v1/signing-secret/rotate")
            assert (refused.status, refused.code) == (409, "managed_by_config")
        finally:
            await api.close()
        [hit] = await target.received(1)
        expected = Signer(SECRET).headers(
            message_id=hit.headers["webhook-id"],
            seconds=int(hit.headers["X-Fliq-Timestamp"]),
            method=hit.method,
            url=target.url,
            body=hit.body,
        )
        assert {name: hit.headers[name] for name, _ in expected} == dict(expected)
    assert sorted(file.name for file in state.iterdir() if "secret" in file.name) == []
    assert (state / "admin.token").read_text() == "kept"


@pytest.mark.parametrize(("name", "text"), [("admin-token", "short"), ("admin-token", ""), ("signing-secret", "x")])
async def test_what_is_no_secret_is_refused(tmp_path: Path, credentials: Path, name: str, text: str) -> None:
    (credentials / name).write_text(text)
    async with process(tmp_path / "state", CREDENTIALS_DIRECTORY=str(credentials)) as fliqd:
        await fliqd.launch()
        assert await fliqd.ended() == 78
    assert f"credential {name}: " in fliqd.said[-1]
    assert text not in ("x", "short") or f'"{text}"' not in fliqd.said[-1]
