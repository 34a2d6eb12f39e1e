"""The part of the store contract that is about statistics: sums kept in the transactions of what they count."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from fliqd.core.rollups import DAY_HOURS, DAYS_KEPT, HOURS_KEPT, MOST_KEYS, OTHERS, Ended, Scope, Sums, add_up
from fliqd.store.sqlite.writer import Transaction, Writer

HOURS_REMEMBERED: Final = 2  # of which the keys are known without asking: this one, and the last as it ends
_decode: Final = msgspec.json.Decoder(list[tuple[int, Sums]]).decode
FOLDED: Final = "rollup_folded"  # the hours before this one have been made days


class SqliteRollups:
    """See `store.base.Rollups` for what each operation promises."""

    def __init__(self, writer: Writer, read: Callable[[str, dict[str, Any]], Awaitable[list[Any]]]) -> None:
        self._writer = writer
        self._read = read
        self._keys: dict[int, dict[str, set[str]]] = {}  # of hours and scopes; touched by the writer's thread alone

    def add(self, tx: Transaction, ends: Iterable[Ended]) -> None:
        """Add executions to the sums, in the transaction that ends them."""
        sums = add_up(ends, lambda scope, key, hour: self._admitted(tx, scope, key, hour))
        rows = [(*cell, *msgspec.structs.astuple(row)[1:]) for cell, row in sums.items()]  # each has the slot
        tx.several("rollup_add", rows)

    def _admitted(self, tx: Transaction, scope: Scope, key: str, hour: int) -> str:
        """Return the key itself, or that of the others once as many are told apart as may be."""
        keys = self._keys.get(hour)
        if keys is None:
            keys = self._keys[hour] = {str(scope): set() for scope in MOST_KEYS}
            for known_scope, known in tx.rows("rollup_keys", {"hour": hour}):
                keys.setdefault(known_scope, set()).add(known)
            while len(self._keys) > HOURS_REMEMBERED:
                del self._keys[next(other for other in self._keys if other != hour)]
        known = keys[scope]
        if key in known:
            return key
        if len(known) >= MOST_KEYS[scope]:
            return OTHERS
        known.add(key)
        return key

    async def sums(self, scope: Scope, keys: Sequence[str], *, from_hour: int, hours: int) -> list[tuple[int, Sums]]:
        [(found,)] = await self._read("rollup_sums", _values(scope, keys, from_hour) | {"hours": hours})
        return _decode(found)

    async def counts(self, scope: Scope, keys: Sequence[str], *, from_hour: int, hours: int) -> dict[int, int]:
        return dict(await self._read("rollup_counts", _values(scope, keys, from_hour) | {"hours": hours}))

    async def lumped(self, scope: Scope, *, from_hour: int) -> bool:
        [(found,)] = await self._read("rollup_lumped", {"scope": str(scope), "from_hour": from_hour})
        return bool(found)

    async def tidy(self, now_hour: int) -> bool:
        return await self._writer.write(self._tidy, now_hour)

    def _tidy(self, tx: Transaction, hours: list[int]) -> list[bool]:
        return [self._tidy_one(tx, now_hour) for now_hour in hours]

    def _tidy_one(self, tx: Transaction, now_hour: int) -> bool:
        [(oldest,)] = tx.rows("rollup_first", {"from_hour": 0})
        if oldest is None:
            return False
        if oldest < now_hour - DAYS_KEPT * DAY_HOURS:
            tx.run("rollup_delete", {"hour": oldest})
            return True
        folded = tx.rows("meta_get", {"key": FOLDED})
        [(hour,)] = tx.rows("rollup_first", {"from_hour": int(folded[0][0]) if folded else 0})
        if hour is None:
            return False
        day = hour - hour % DAY_HOURS
        if day + DAY_HOURS > now_hour - HOURS_KEPT:
            return False
        if hour != day:
            tx.run("rollup_fold", {"hour": hour, "day": day})
            tx.run("rollup_delete", {"hour": hour})
        [(following,)] = tx.rows("rollup_first", {"from_hour": hour + 1})
        if following is None or following >= day + DAY_HOURS:
            self._lump(tx, day)
            hour = day + DAY_HOURS - 1
        tx.run("meta_put", {"key": FOLDED, "value": str(hour + 1)})
        return True

    def _lump(self, tx: Transaction, day: int) -> None:
        """Tell apart in a day no more than may be: those with the most executions."""
        for scope, most in MOST_KEYS.items():
            values = {"day": day, "scope": str(scope)}
            keys = [row[0] for row in tx.rows("rollup_smallest", values | {"most": most})]
            if keys:
                values["keys"] = msgspec.json.encode(keys).decode()
                tx.run("rollup_lump", values)
                tx.run("rollup_lumped_delete", values)


def _values(scope: Scope, keys: Sequence[str], from_hour: int) -> dict[str, Any]:
    return {"scope": str(scope), "keys": msgspec.json.encode(keys).decode(), "from_hour": from_hour}
