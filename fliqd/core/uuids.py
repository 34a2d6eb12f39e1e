"""Public ids as UUIDs, as some of the stand-in APIs show them: the same 128 bits."""

import uuid
from typing import Final

# Crockford's digits, which ULIDs are written in, as Python reads them.
_DIGITS: Final = str.maketrans("0123456789abcdefghjkmnpqrstvwxyz", "0123456789abcdefghijklmnopqrstuv")


def uuid_of(public_id: str) -> str:
    """Return the ULID of an id as a UUID."""
    return str(uuid.UUID(int=int(public_id.rpartition("_")[2].translate(_DIGITS), 32)))
