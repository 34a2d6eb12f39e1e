"""Who may call: API tokens, known to the store by their hash alone."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import structlog

from fliqd.clock import Clock
from fliqd.errors import ConflictError, FliqdError, NotFoundError, UnauthorizedError
from fliqd.store.base import Token, TokenStore

log = structlog.get_logger()

PREFIX: Final = "fliq_sk_"
PREFIX_SHOWN: Final = 16  # characters of a token that a list shows, so that people can tell theirs
READ, WRITE, ADMIN = "read", "write", "admin"
ALL_SCOPES: Final = (READ, WRITE, ADMIN)
DEFAULT_SCOPES: Final = (READ, WRITE)
USE_NOTED_EVERY_MS: Final = 60_000
GIVEN_ID: Final = "tok_" + "0" * 26  # the same at every start, since jobs remember who made them
GIVEN: Final = re.compile(r"[!-~]{32,512}", re.ASCII)


class Tokens:
    """Makes tokens and tells whose one is.

    A token is `fliq_sk_` and the HMAC-SHA256, in hex, of its id under a key that is kept outside the
    store: it can be derived again where a signature needs it, and a copied store gives none away.
    """

    def __init__(self, *, store: TokenStore, clock: Clock, new_ulid: Callable[[], str], key: str) -> None:
        self._store = store
        self._clock = clock
        self._new_ulid = new_ulid
        self._key = key.encode()
        self._by_hash: dict[bytes, Token] = {}
        self._used: dict[str, int] = {}  # by id: when last, in milliseconds
        self._noted: dict[str, int] = {}  # what of that is in the store
        self._noting: asyncio.Task[None] | None = None
        self._given: dict[str, str] = {}  # by id: texts that were not made here

    def trust(self, text: str) -> None:
        """Let in an admin token that was made elsewhere, while this process lives; the store never hears of it.

        Call it after `load`. Raises ValueError for a text that can be guessed.
        """
        if not GIVEN.fullmatch(text):
            raise ValueError(
                "expected at least 32 visible ASCII characters, such as fliq_sk_ and 64 hexadecimal digits"
            )
        self._given[GIVEN_ID] = text
        self._by_hash[_digest(text)] = Token(
            id=GIVEN_ID, name="credential", hash=_digest(text), scopes=ALL_SCOPES, created_ms=self._clock.now_ms()
        )

    async def load(self) -> bool:
        """Read the tokens from the store; return whether there are any."""
        self._by_hash = {token.hash: token for token in await self._store.all()}
        self._used = {token.id: token.last_used_ms for token in self._by_hash.values() if token.last_used_ms}
        self._noted = dict(self._used)
        return bool(self._by_hash)

    async def close(self) -> None:
        """Note the last uses."""
        if self._noting is not None:
            await self._noting
        await self._note()

    def list(self) -> Sequence[Token]:
        """Return the tokens there are, oldest first, with their last use."""
        tokens = sorted(self._by_hash.values(), key=lambda token: token.id)
        return [msgspec.structs.replace(token, last_used_ms=self._used.get(token.id)) for token in tokens]

    async def create(self, name: str, scopes: tuple[str, ...]) -> tuple[Token, str]:
        """Make a token; return it with its text, which is shown this once."""
        token, text = self.draft(name, scopes)
        await self.add(token)
        return token, text

    def draft(self, name: str, scopes: tuple[str, ...]) -> tuple[Token, str]:
        """Return a token that is not known yet, with its text."""
        token_id = f"tok_{self._new_ulid()}"
        text = self.text(token_id)
        now_ms = self._clock.now_ms()
        return Token(id=token_id, name=name, hash=_digest(text), scopes=scopes, created_ms=now_ms), text

    async def add(self, token: Token) -> None:
        """Make a token known."""
        await self._store.add(token)
        self._by_hash[token.hash] = token

    async def revoke(self, token_id: str) -> None:
        """Remove a token; it is refused from this moment on. Raises NotFoundError, ConflictError."""
        token = next((token for token in self._by_hash.values() if token.id == token_id), None)
        if token is None:
            raise NotFoundError("token", token_id)
        if token_id in self._given:
            raise ConflictError("this token is a credential of the service: change it there", "managed_by_config")
        if ADMIN in token.scopes and sum(ADMIN in other.scopes for other in self._by_hash.values()) == 1:
            raise ConflictError("this is the last token with the scope admin: make another one first", "last_admin")
        del self._by_hash[token.hash]
        try:
            await self._store.delete(token_id)
        except FliqdError:
            self._by_hash[token.hash] = token  # it would be back at the next start; so it is not gone now
            raise
        self._used.pop(token_id, None)

    def text(self, token_id: str) -> str:
        """Derive the text of a token."""
        if token_id in self._given:
            return self._given[token_id]
        return PREFIX + hmac.digest(self._key, token_id.encode(), hashlib.sha256).hex()

    def who(self, text: str) -> Token:
        """Return the token that `text` is; raise UnauthorizedError.

        Found by its SHA-256, and compared in constant time, so that how long it takes tells nothing.
        """
        digest = _digest(text)
        token = self._by_hash.get(digest)
        if token is None or not hmac.compare_digest(token.hash, digest):
            raise UnauthorizedError("this token is not known: it was revoked, or belongs to another fliqd")
        self._note_use(token.id)
        return token

    def _note_use(self, token_id: str) -> None:
        """Remember that a token was used; the store hears of it at most once a minute."""
        now_ms = self._clock.now_ms()
        self._used[token_id] = now_ms
        if self._noting is None and abs(now_ms - self._noted.get(token_id, 0)) >= USE_NOTED_EVERY_MS:
            self._noting = asyncio.create_task(self._note(), name="note-token-use")

    async def _note(self) -> None:
        fresh = {token_id: when_ms for token_id, when_ms in self._used.items() if self._noted.get(token_id) != when_ms}
        self._noted |= fresh  # also when it fails: the next try is in a minute
        try:
            if fresh:
                await self._store.touch(fresh)
        except FliqdError as err:
            log.warning("tokens.use_not_noted", error=str(err))
        finally:
            self._noting = None


@lru_cache(maxsize=256)
def _digest(text: str) -> bytes:
    """Return the SHA-256 of a token. Remembered, since a client shows the same one each time."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
