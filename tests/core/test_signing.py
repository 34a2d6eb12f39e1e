"""Signatures, against Fliq's published vectors and the Standard Webhooks library."""

import base64
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from fliqd.core.signing import Signer, new_secret


@pytest.mark.parametrize(
    ("secret", "seconds", "method", "url", "body", "signature"),
    [
        (
            "whsec_test_secret", 1767225600, "POST", "https://hooks.example.com/fliq",
            b'{"job_id":"job_1","status":"completed"}',
            "v1=df2c9ce0c11b246021b3caf16a9e5236b57e351c99e2acded56b23b7ed1a3ad7",
        ),
        (
            "whsec_test_secret", 1767225600, "GET", "https://hooks.example.com/ping", b"",
            "v1=d41023833201a6f602125f6fee6bd89d73d0182bbfcaf47b6bc35f901b3d1dbc",
        ),
        (
            "whsec_test-secret-123", 1774094400, "POST", "https://example.com/webhook", b'{"key":"value"}',
            "v1=632da81c97d6bed1844c0406decb039b6276aea77aaeabe29d4dc3ad3d1b736a",
        ),
    ],
)  # fmt: skip
def test_fliqs_vectors(secret: str, seconds: int, method: str, url: str, body: bytes, signature: str) -> None:
    headers = dict(Signer(secret).headers(message_id="job_1", seconds=seconds, method=method, url=url, body=body))
    assert headers["X-Fliq-Signature"] == signature
    assert headers["X-Fliq-Timestamp"] == str(seconds)


@given(st.binary(min_size=24, max_size=64), st.text(), st.integers(0, 4_000_000_000))
def test_standard_webhooks_agrees(key: bytes, body: str, seconds: int) -> None:
    secret = new_secret(key)
    raw = body.encode("utf-8", "replace")
    ours = dict(Signer(secret).headers(message_id="msg_1", seconds=seconds, method="POST", url="http://a/", body=raw))
    theirs = Webhook(secret).sign("msg_1", datetime.fromtimestamp(seconds, UTC), raw.decode())
    assert ours["webhook-signature"] == theirs


@pytest.mark.parametrize("secret", ["", "whsec_", "secret", "whsec_é"])
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        Signer(secret)


def test_a_signer_keeps_its_secret() -> None:
    assert "hunter2" not in repr(Signer("whsec_hunter2"))


@given(st.text("ab!", min_size=1, max_size=200), st.binary(max_size=300))
def test_the_hmac_is_the_standard_librarys(key: str, body: bytes) -> None:
    """With keys shorter than a block, as long, and longer; signed twice, since nothing may stick."""
    signer = Signer(f"whsec_{key}!")
    for _ in range(2):
        headers = dict(signer.headers(message_id="m", seconds=1, method="POST", url="http://a/", body=body))
        fliq = hmac.digest(f"whsec_{key}!".encode(), b"1.POST.http://a/." + body, "sha256")
        standard = hmac.digest(f"{key}!".encode(), b"m.1." + body, "sha256")
        assert headers["X-Fliq-Signature"] == f"v1={fliq.hex()}"
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(standard).decode()}"
