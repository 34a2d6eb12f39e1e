"""What `store/base.py` promises of channels and incidents, kept by every store."""

import asyncio
from typing import Any

import msgspec
import pytest

from fliqd.core.channels import MOST_CHANNELS, Channel, ChannelType, own_channel
from fliqd.core.incidents import Incident
from fliqd.core.model import Source
from fliqd.errors import ConflictError, NotFoundError
from fliqd.store.base import Reconciliation, Store
from tests.store.test_conformance import NOW


def a_channel(number: int, **more: Any) -> Channel:
    fields: dict[str, Any] = {
        "id": f"alt_{number:026d}",
        "type": ChannelType.SLACK,
        "target": f"http://a/{number}",
        "created_ms": NOW,
        "updated_ms": NOW,
    }
    return Channel(**{**fields, **more})


async def test_channels_are_known_as_the_last_commit_has_left_them(store: Store) -> None:
    assert list(store.alerts.channels()) == []
    first = await store.alerts.add(a_channel(1, name="ü", has_references=True, enabled=False))
    second = await store.alerts.add(a_channel(2))
    assert list(store.alerts.channels()) == [first, second]
    await store.alerts.change(first.id, lambda old: msgspec.structs.replace(old, enabled=True))
    assert store.alerts.channels()[0] == msgspec.structs.replace(first, enabled=True)
    await store.alerts.change(first.id, lambda _old: None)
    assert list(store.alerts.channels()) == [second]
    with pytest.raises(NotFoundError):
        await store.alerts.change(first.id, lambda old: old)


async def test_a_refused_change_changes_nothing(store: Store) -> None:
    declared = await store.alerts.add(a_channel(1, source=Source.CONFIG))
    with pytest.raises(ConflictError):
        await store.alerts.change(declared.id, lambda old: msgspec.structs.replace(own_channel(old), name="x"))
    assert list(store.alerts.channels()) == [declared]


async def test_there_are_not_too_many(store: Store) -> None:
    added = await asyncio.gather(
        *(store.alerts.add(a_channel(number)) for number in range(MOST_CHANNELS + 3)), return_exceptions=True
    )
    assert sum(isinstance(one, ConflictError) for one in added) == 3
    assert len(store.alerts.channels()) == MOST_CHANNELS


async def test_the_file_changes_channels_as_a_whole_or_not_at_all(store: Store) -> None:
    kept, gone = await store.alerts.add(a_channel(1)), await store.alerts.add(a_channel(2))
    new, other = a_channel(3), msgspec.structs.replace(kept, target="http://b/")
    wanted = Reconciliation(channels=((None, new), (kept, other), (gone, None)))
    await store.alerts.change(kept.id, lambda old: msgspec.structs.replace(old, enabled=False))
    assert not await store.schedules.reconcile(wanted)
    assert len(store.alerts.channels()) == 2
    await store.alerts.change(kept.id, lambda _old: kept)
    assert await store.schedules.reconcile(wanted)
    assert [one.target for one in store.alerts.channels()] == ["http://b/", "http://a/3"]


async def test_incidents(store: Store) -> None:
    one = Incident(kind="failure", subject="a:80", opened_ms=NOW, last_ms=NOW, again=True)
    two = Incident(kind="failure", subject="b:80", opened_ms=NOW, last_ms=NOW, closed_ms=NOW, told_ms=NOW, well_ms=NOW)
    await store.alerts.keep([one, two])
    assert sorted(await store.alerts.incidents(), key=lambda incident: incident.subject) == [one, two]
    more = msgspec.structs.replace(one, count=7)
    await store.alerts.keep([more], [("failure", "b:80"), ("failure", "c:80")])
    assert await store.alerts.incidents() == [more]
