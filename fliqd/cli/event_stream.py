"""Follows `GET /v1/events`, and comes back to it when the connection breaks."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fliqd.cli.client import Client
from fliqd.cli.errors import RefusedError, UnreachableError
from fliqd.cli.output import say
from fliqd.errors import FliqdError

SILENCE_S: Final = 50.0  # three heartbeats, and some
PATIENCE_S: Final = 60.0  # for a daemon that is restarted meanwhile: its jobs go on
AGAIN_S: Final = 0.5  # between two tries
BUSY_S: Final = 2.0
OPEN: Final = "stream.open"  # ours: from here on nothing is missed, so that what is read now stays true
GAP: Final = "stream.gap"

Event = dict[str, Any]


def follow(client: Client, query: Mapping[str, str]) -> Iterator[Event]:
    """Yield events as they come, for ever; `stream.open` first, and again after each break.

    Raises UnreachableError when the daemon does not come back.
    """
    last, opened, away_since = "", False, None
    while True:
        lost: FliqdError | None = None
        try:
            for event in _once(client, query, last):
                opened, away_since = True, None
                last = event.get("id", last)
                yield event
        except (UnreachableError, RefusedError) as err:
            if isinstance(err, RefusedError) and err.code == "busy":
                # As many listen as may: who reads what there is now and then still gets there.
                yield {"type": GAP}
                time.sleep(BUSY_S)
                continue
            if not opened or (isinstance(err, RefusedError) and err.code != "shutting_down"):
                raise
            lost = err
        if away_since is None:
            away_since = time.monotonic()
            if lost is not None:
                say(f"fliqd: {lost}; trying again for {PATIENCE_S:g} s")
        elif lost is not None and time.monotonic() - away_since > PATIENCE_S:
            raise lost
        time.sleep(AGAIN_S)


def _once(client: Client, query: Mapping[str, str], last: str) -> Iterator[Event]:
    """Yield events until the stream ends."""
    headers = {"Last-Event-ID": last} if last else {}
    data: list[str] = []
    begun = False
    for line in client.lines("/events", query, headers, silence_s=SILENCE_S):
        if not begun:
            begun = True
            yield {"type": OPEN}
        elif line.startswith("data: "):
            data.append(line.removeprefix("data: "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data = []
