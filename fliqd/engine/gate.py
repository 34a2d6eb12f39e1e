"""The gate that every connection passes: the egress policy, and where fliqd itself listens."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from fliqd.core.addresses import Address
from fliqd.core.egress import EgressPolicy, judge, judge_redirect

REMEMBERED: Final = 4096  # verdicts


class Gate:
    """Judges the address that is about to be connected to. Made before fliqd listens, told then where it does."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._verdict = lru_cache(REMEMBERED)(self._judge)

    def keep_off(self, listeners: Iterable[tuple[str, int]]) -> None:
        """Refuse connections to these (address, port) from now on: they are our own."""
        self._policy = replace(self._policy, own=tuple(listeners))
        self._verdict.cache_clear()

    def __call__(
        self,
        address: Address,
        port: int,
        host: str | None,
        *,
        source: Address | None = None,
        previous: Address | None = None,
    ) -> str | None:
        """Return why a connection is refused, None when it may be made; see `core.egress.judge`.

        `previous` is the address that redirected here. Every request asks, so verdicts are kept for as long as the
        policy stands.
        """
        return self._verdict(address, port, host, source, previous)

    def _judge(
        self, address: Address, port: int, host: str | None, source: Address | None, previous: Address | None
    ) -> str | None:
        refusal = judge(self._policy, address, port, host, source=source)
        if refusal is None and previous is not None:
            refusal = judge_redirect(previous, address)
        if refusal is None:
            return None
        setting = f", {refusal.setting}" if refusal.setting else ""
        return f"{refusal.message} (rule {refusal.rule}{setting})"
