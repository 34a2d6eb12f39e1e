"""API tokens in the store: their hashes, never themselves."""

from collections.abc import Mapping

import msgspec

from fliqd.errors import NotFoundError
from fliqd.store.base import Token
from fliqd.store.sqlite import rows
from fliqd.store.sqlite.queries import Read
from fliqd.store.sqlite.writer import Transaction, Writer


class SqliteTokens:
    """See `store.base.TokenStore` for what each operation promises."""

    def __init__(self, writer: Writer, read: Read) -> None:
        self._writer = writer
        self._read = read

    async def all(self) -> list[Token]:
        return [rows.token(row) for row in await self._read("tokens_all", {})]

    async def add(self, token: Token) -> None:
        await self._writer.write(self._add, token)

    def _add(self, tx: Transaction, tokens: list[Token]) -> list[None]:
        tx.each(
            "token_insert",
            [(t.id, t.name, t.hash, msgspec.json.encode(t.scopes).decode(), t.created_ms) for t in tokens],
        )
        return [None] * len(tokens)

    async def delete(self, token_id: str) -> None:
        await self._writer.write(self._delete, token_id)

    def _delete(self, tx: Transaction, ids: list[str]) -> list[Exception | None]:
        return [
            None if tx.rows("token_delete", {"id": token_id}) else NotFoundError("token", token_id) for token_id in ids
        ]

    async def touch(self, used: Mapping[str, int]) -> None:
        await self._writer.write(self._touch, used)

    def _touch(self, tx: Transaction, notes: list[Mapping[str, int]]) -> list[None]:
        tx.each("token_touch", [(when_ms, token_id) for used in notes for token_id, when_ms in used.items()])
        return [None] * len(notes)
