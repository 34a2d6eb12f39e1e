"""Who may call: API tokens, known to the store by their hash alone."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from fliqd.clock import Clock
from fliqd.errors import UnauthorizedError
from fliqd.store.base import Store, Token

PREFIX: Final = "fliq_sk_"
READ, WRITE, ADMIN = "read", "write", "admin"
ALL_SCOPES: Final = (READ, WRITE, ADMIN)


class Tokens:
    """Makes tokens and tells whose one is.

    A token is `fliq_sk_` and the HMAC-SHA256, in hex, of its id under a key that is kept outside the
    store: it can be derived again where a signature needs it, and a copied store gives none away.
    """

    def __init__(self, *, store: Store, clock: Clock, new_ulid: Callable[[], str], key: str) -> None:
        self._store = store
        self._clock = clock
        self._new_ulid = new_ulid
        self._key = key.encode()
        self._by_hash: dict[bytes, Token] = {}

    async def load(self) -> bool:
        """Read the tokens from the store; return whether there are any."""
        self._by_hash = {token.hash: token for token in await self._store.tokens()}
        return bool(self._by_hash)

    async def create(self, name: str, scopes: tuple[str, ...]) -> tuple[Token, str]:
        """Make a token; return it with its text, which is shown this once."""
        token_id = f"tok_{self._new_ulid()}"
        text = self.text(token_id)
        token = Token(id=token_id, name=name, hash=_digest(text), scopes=scopes, created_ms=self._clock.now_ms())
        await self._store.add_token(token)
        self._by_hash[token.hash] = token
        return token, text

    def text(self, token_id: str) -> str:
        """Derive the text of a token."""
        return PREFIX + hmac.digest(self._key, token_id.encode(), hashlib.sha256).hex()

    def who(self, text: str) -> Token:
        """Return the token that `text` is; raise UnauthorizedError.

        Looked up by its hash, so the time it takes tells nothing about the tokens there are.
        """
        token = self._by_hash.get(_digest(text))
        if token is None:
            raise UnauthorizedError("this token is not known: it was revoked, or belongs to another fliqd")
        return token


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
