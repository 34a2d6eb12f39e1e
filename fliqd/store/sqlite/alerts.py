"""The part of the store contract that is about alerts, kept by the same writer and readers."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from fliqd.core.channels import MOST_CHANNELS, Channel
from fliqd.core.incidents import Incident
from fliqd.errors import ConflictError, FliqdError, NotFoundError
from fliqd.store.sqlite import rows
from fliqd.store.sqlite.queries import Read
from fliqd.store.sqlite.writer import Transaction, Writer

Change = Callable[[Channel], Channel | None]


class SqliteAlerts:
    """See `store.base.AlertStore` for what each operation promises.

    The channels are few, and asked for with each job that fails: they are kept as the last commit has left them.
    """

    def __init__(self, writer: Writer, read: Read) -> None:
        self._writer = writer
        self._read = read
        self._channels: tuple[Channel, ...] = ()

    async def load(self) -> None:
        """Read the channels, once, at the start."""
        self.tell([rows.channel(row) for row in await self._read("channels_all", {})])

    def tell(self, channels: Sequence[Channel]) -> None:
        """Take over what a commit has left."""
        self._channels = tuple(channels)

    def channels(self) -> Sequence[Channel]:
        return self._channels

    async def add(self, channel: Channel) -> Channel:
        return await self._writer.write(self._add, channel)

    def _add(self, tx: Transaction, channels: list[Channel]) -> list[Channel | Exception]:
        count = len(tx.rows("channels_all", ()))
        made: list[Channel | Exception] = []
        for channel in channels:
            if count + len(made) >= MOST_CHANNELS:
                made.append(ConflictError(f"there are {MOST_CHANNELS} channels, and no more are kept", "too_many"))
            else:
                made.append(self.put(tx, channel))
        self.noted(tx)
        return made

    async def change(self, channel_id: str, change: Change) -> None:
        await self._writer.write(self._change, (channel_id, change))

    def _change(self, tx: Transaction, changes: list[tuple[str, Change]]) -> list[Exception | None]:
        results = [self._change_one(tx, channel_id, change) for channel_id, change in changes]
        self.noted(tx)
        return results

    def _change_one(self, tx: Transaction, channel_id: str, change: Change) -> Exception | None:
        found = tx.rows("channel_by_id", (channel_id,))
        if not found:
            return NotFoundError("channel", channel_id)
        try:
            new = change(rows.channel(found[0]))
        except FliqdError as err:
            return err
        if new is None:
            tx.each("channel_delete", [(channel_id,)])
        else:
            self.put(tx, new)
        return None

    def put(self, tx: Transaction, channel: Channel) -> Channel:
        """Write a channel, over the one with its id if there is one."""
        [(pk,)] = tx.rows("channel_put", rows.channel_values(channel))
        return msgspec.structs.replace(channel, pk=pk)

    def reconcile(self, tx: Transaction, changes: Sequence[tuple[Channel | None, Channel | None]]) -> None:
        """Make changes, each from what was read to what shall be; None for what was or shall not be there."""
        for old, new in changes:
            if new is not None:
                self.put(tx, new)
            elif old is not None:
                tx.each("channel_delete", [(old.id,)])
        if changes:
            self.noted(tx)

    def differ(self, tx: Transaction, changes: Sequence[tuple[Channel | None, Channel | None]]) -> bool:
        """Tell whether anything is not as it was read."""
        now = {row[1]: rows.channel(row) for row in tx.rows("channels_all", ())} if changes else {}
        return any(old is not None and now.get(old.id) != old for old, _ in changes)

    def noted(self, tx: Transaction) -> None:
        """Have the commit of `tx` tell what there is then."""
        tx.channels = [rows.channel(row) for row in tx.rows("channels_all", ())]

    async def incidents(self) -> list[Incident]:
        return [rows.incident(row) for row in await self._read("incidents_all", {})]

    async def keep(self, incidents: Sequence[Incident], forget: Collection[tuple[str, str]] = ()) -> None:
        await self._writer.write(self._keep, (incidents, forget))

    def _keep(self, tx: Transaction, items: list[tuple[Sequence[Incident], Collection[tuple[str, str]]]]) -> list[None]:
        for incidents, forget in items:
            tx.each("incident_put", [_values(incident) for incident in incidents])
            tx.each("incident_delete", list(forget))
        return [None] * len(items)


def _values(incident: Incident) -> tuple[Any, ...]:
    return msgspec.structs.astuple(incident)
