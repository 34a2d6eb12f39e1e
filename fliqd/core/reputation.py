"""Whether hosts answer: what their last attempts showed, for as many hosts as are worth remembering."""

from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 10_000  # hosts; the one not heard of for longest is a stranger again


class Reputation:
    """How often in a row each host has missed: kept a slot for long, and given no answer.

    A host that is not known is a stranger, and a stranger is trusted as little as one that has missed.
    """

    def __init__(self) -> None:
        self._misses: OrderedDict[str, int] = OrderedDict()

    def answered(self, host: str) -> None:
        """Note that a host has answered: whatever it has missed is forgotten."""
        self._note(host, 0)

    def missed(self, host: str) -> None:
        """Note that a host has kept a slot for long and given no answer."""
        self._note(host, self.misses(host) + 1)

    def misses(self, host: str) -> int:
        """Return how often in a row a host has missed, 0 for a stranger."""
        return self._misses.get(host, 0)

    def is_trusted(self, host: str) -> bool:
        """Return whether a host answered when it was last asked."""
        return self._misses.get(host) == 0

    def _note(self, host: str, misses: int) -> None:
        self._misses[host] = misses
        self._misses.move_to_end(host)
        if len(self._misses) > REMEMBERED:
            self._misses.popitem(last=False)
