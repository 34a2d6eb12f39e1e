"""Signatures that prove a request comes from this fliqd: Fliq's own, and Standard Webhooks'."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
EXPECTED: Final = 'a secret that begins with "whsec_", then base64, such as the one fliqd makes itself'


class Signer:
    """Signs with one secret. It is never shown: not by `repr`, not in an error."""

    __slots__ = ("_fliq_key", "_standard_key")

    def __init__(self, secret: str) -> None:
        """Take a secret of the form `whsec_…`; raise ValueError for any other."""
        if not secret.startswith(PREFIX) or len(secret) <= len(PREFIX) or not secret.isascii():
            raise ValueError(f"expected {EXPECTED}")
        encoded = secret.removeprefix(PREFIX)
        try:
            # Standard Webhooks signs with the decoded bytes (github.com/standard-webhooks, "Signature scheme").
            standard_key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            standard_key = encoded.encode()  # a secret carried over from Fliq need not be base64
        self._standard_key = standard_key
        self._fliq_key = secret.encode()  # Fliq signs with the whole text, prefix included

    def headers(
        self, *, message_id: str, seconds: int, method: str, url: str, body: bytes
    ) -> tuple[tuple[str, str], ...]:
        """Return the signature headers of one attempt; `seconds` is the Unix time of signing.

        `X-Fliq-Signature` covers `seconds.METHOD.url.body`, url as it is sent; `webhook-signature`
        covers `id.seconds.body`.
        """
        fliq = b"%d.%s.%s.%s" % (seconds, method.encode(), url.encode(), body)
        standard = b"%s.%d.%s" % (message_id.encode(), seconds, body)
        digest = hmac.digest(self._standard_key, standard, hashlib.sha256)
        return (
            ("X-Fliq-Timestamp", str(seconds)),
            ("X-Fliq-Signature", "v1=" + hmac.digest(self._fliq_key, fliq, hashlib.sha256).hex()),
            ("webhook-id", message_id),
            ("webhook-timestamp", str(seconds)),
            ("webhook-signature", "v1," + base64.b64encode(digest).decode()),
        )


def new_secret(random_bytes: bytes) -> str:
    """Make a secret of 24 to 64 random bytes, the lengths that Standard Webhooks asks for."""
    return PREFIX + base64.b64encode(random_bytes).decode()
