"""What can be done with the channels that alerts go to."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from fliqd.clock import Clock
from fliqd.core.channels import Channel, ChannelDraft, channel_fields, checked, own_channel, required_of_channel
from fliqd.core.delivery import Response
from fliqd.errors import InvalidError, NotFoundError, Problem
from fliqd.store.base import AlertStore


class AskedChannel(NamedTuple):
    """A draft as it came in, with what was already wrong with it."""

    draft: ChannelDraft
    problems: Sequence[Problem] = ()


class AlertChannels:
    """Creates, reads, changes and tries channels."""

    def __init__(
        self,
        *,
        store: AlertStore,
        clock: Clock,
        new_ulid: Callable[[], str],
        send_test: Callable[[Channel], Awaitable[Response]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_ulid = new_ulid
        self._send_test = send_test

    async def create(self, asked: AskedChannel) -> Channel:
        """Add a channel; raise InvalidError with everything that is wrong."""
        problems = list(asked.problems)
        fields = channel_fields(asked.draft, problems)
        required_of_channel(asked.draft, problems)
        if problems:
            raise InvalidError(problems)
        now_ms = self._clock.now_ms()
        return await self._store.add(
            Channel(id=f"alt_{self._new_ulid()}", created_ms=now_ms, updated_ms=now_ms, **fields)
        )

    def get(self, channel_id: str) -> Channel:
        """Return a channel; raise NotFoundError."""
        for channel in self._store.channels():
            if channel.id == channel_id:
                return channel
        raise NotFoundError("channel", channel_id)

    def page(self, *, before_pk: int | None, limit: int) -> tuple[Sequence[Channel], int | None]:
        """Return channels, newest first, and the pk to go on before, None at the end."""
        left = [one for one in reversed(self._store.channels()) if before_pk is None or one.pk < before_pk]
        return left[:limit], left[limit - 1].pk if len(left) > limit else None

    async def update(self, channel_id: str, asked: AskedChannel) -> None:
        """Change a channel; one that the configuration file declares can be enabled and disabled alone."""
        problems = list(asked.problems)
        fields = channel_fields(asked.draft, problems)
        if not fields and not problems:
            problems.append(Problem("enabled", "is required, or another field to change"))
        if problems:
            raise InvalidError(problems)
        now_ms = self._clock.now_ms()

        def change(old: Channel) -> Channel:
            if fields.keys() - {"enabled"}:
                own_channel(old)
            new = msgspec.structs.replace(old, **fields, updated_ms=now_ms)
            try:
                if not new.has_references:
                    checked(new.target, new.type)
            except ValueError as err:
                raise InvalidError([Problem("target", str(err))]) from err
            return new

        await self._store.change(channel_id, change)

    async def delete(self, channel_id: str) -> None:
        """Remove a channel; what it has not been told yet, it is not told."""

        def drop(old: Channel) -> None:
            own_channel(old)

        await self._store.change(channel_id, drop)

    async def test(self, channel_id: str) -> Response:
        """Send a test to a channel, enabled or not, and return what came of it."""
        return await self._send_test(self.get(channel_id))
