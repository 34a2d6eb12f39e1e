"""Signatures that prove a request comes from this fliqd: Fliq's own, and Standard Webhooks'."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

PREFIX: Final = "whsec_"
BLOCK: Final = 64  # bytes, of SHA-256
EXPECTED: Final = 'a secret that begins with "whsec_", then base64, such as the one fliqd makes itself'


class _Hmac:
    """HMAC-SHA256 with one key (RFC 2104), whose two padded blocks are hashed but once.

    The standard library's looks its algorithm up and lets the interpreter's lock go each time.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > BLOCK:
            key = hashlib.sha256(key).digest()
        key = key.ljust(BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in key]))
        self._outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in key]))

    def __call__(self, message: bytes) -> "hashlib._Hash":
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer


class Signer:
    """Signs with one secret. It is never shown: not by `repr`, not in an error."""

    __slots__ = ("_fliq", "_standard")

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
        self._standard = _Hmac(standard_key)
        self._fliq = _Hmac(secret.encode())  # Fliq signs with the whole text, prefix included

    def headers(
        self, *, message_id: str, seconds: int, method: str, url: str, body: bytes
    ) -> tuple[tuple[str, str], ...]:
        """Return the signature headers of one attempt; `seconds` is the Unix time of signing.

        `X-Fliq-Signature` covers `seconds.METHOD.url.body`, url as it is sent; `webhook-signature`
        covers `id.seconds.body`.
        """
        fliq = b"%d.%s.%s.%s" % (seconds, method.encode(), url.encode(), body)
        return (
            ("X-Fliq-Timestamp", str(seconds)),
            ("X-Fliq-Signature", "v1=" + self._fliq(fliq).hexdigest()),
            ("webhook-id", message_id),
            ("webhook-timestamp", str(seconds)),
            ("webhook-signature", self.standard(message_id=message_id, seconds=seconds, body=body)),
        )

    def standard(self, *, message_id: str, seconds: int, body: bytes) -> str:
        """Return the value of `webhook-signature`: one signature, or several with a space between."""
        signed = b"%s.%d.%s" % (message_id.encode(), seconds, body)
        return "v1," + binascii.b2a_base64(self._standard(signed).digest(), newline=False).decode()


class Former(NamedTuple):
    """A secret that has been replaced, and until when it signs beside the new one."""

    secret: str
    until_ms: int


class RotatingSigner(Signer):
    """Signs with one secret that can be replaced, and for a while with those before it.

    A receiver that knows any of them finds its signature in `webhook-signature`, which Standard Webhooks made a
    list for that. `X-Fliq-Signature` has room for one: that of the new secret.
    """

    __slots__ = ("_former", "_until_ms")

    def __init__(self, secret: str, former: Sequence[Former] = ()) -> None:
        self.rotate(secret, former)

    def rotate(self, secret: str, former: Sequence[Former]) -> None:
        """Sign with another secret from now on; raise ValueError for one that is none."""
        signers = tuple((Signer(old.secret), old.until_ms) for old in former)
        super().__init__(secret)
        self._former = signers
        self._until_ms = max((until_ms for _, until_ms in signers), default=0)

    def standard(self, *, message_id: str, seconds: int, body: bytes) -> str:
        newest = super().standard(message_id=message_id, seconds=seconds, body=body)
        if seconds * 1000 >= self._until_ms:
            return newest
        former = [signer for signer, until_ms in self._former if seconds * 1000 < until_ms]
        return " ".join([newest, *(old.standard(message_id=message_id, seconds=seconds, body=body) for old in former)])


def new_secret(random_bytes: bytes) -> str:
    """Make a secret of 24 to 64 random bytes, the lengths that Standard Webhooks asks for."""
    return PREFIX + base64.b64encode(random_bytes).decode()
