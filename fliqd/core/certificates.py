"""What a certificate file says: its first certificate, and when that expires.

By hand, since `ssl` tells it of peers alone, and a library for it is ten times our size.
"""

import ssl
from datetime import UTC, datetime
from typing import Final

BEGIN: Final = "-----BEGIN CERTIFICATE-----"
END: Final = "-----END CERTIFICATE-----"
_SEQUENCE, _CONTEXT_0, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18  # tags of DER (X.690)


def leaf(text: str) -> bytes:
    """Return the first certificate of a PEM file, in DER; raise ValueError."""
    start = text.index(BEGIN)
    return ssl.PEM_cert_to_DER_cert(text[start : text.index(END, start) + len(END)])


def expiry_ms(der: bytes) -> int:
    """Return the `notAfter` of a certificate (RFC 5280, 4.1); raise ValueError or IndexError."""
    signed = _inside(der, _inside(der, 0, _SEQUENCE)[0], _SEQUENCE)[0]  # Certificate, TBSCertificate
    at = _inside(der, signed)[1] if der[signed] == _CONTEXT_0 else signed  # version
    for _ in ("serialNumber", "signature", "issuer"):
        at = _inside(der, at)[1]
    not_before = _inside(der, at, _SEQUENCE)[0]
    at = _inside(der, not_before)[1]
    start, end = _inside(der, at)
    when = der[start:end].decode("ascii")
    if der[at] == _UTC_TIME:  # two digits for the year, which turn in 2050
        when = ("19" if when >= "50" else "20") + when
    elif der[at] != _GENERALIZED_TIME:
        raise ValueError("no time where one is due")
    return int(datetime.strptime(when, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 1000


def _inside(der: bytes, at: int, tag: int | None = None) -> tuple[int, int]:
    """Return where the content of the value at `at` begins and ends."""
    if tag is not None and der[at] != tag:
        raise ValueError("not the value that is due")
    length, start = der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return start, start + length
