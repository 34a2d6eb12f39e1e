"""What a proof has to know, and what it has seen."""

import random
from dataclasses import dataclass, field
from typing import Final

SHORT_SEED: Final = 20270301


@dataclass
class Proof:
    """One test's view of the run: how far to go, by which chance."""

    long: bool
    seed: int
    share: int = 100  # of the long form, in percent
    name: str = ""  # the test's; each has a chance of its own, whichever ran before
    figures: dict[str, int | str] = field(default_factory=dict)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed} {self.name}")

    def times(self, *, short: int, long: int) -> int:
        """Return how often something is to be tried."""
        return max(short, long * self.share // 100) if self.long else short

    def saw(self, **figures: int | str) -> None:
        """Add to what was seen."""
        for name, value in figures.items():
            before = self.figures.get(name)
            self.figures[name] = before + value if isinstance(before, int) and isinstance(value, int) else value

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')}: {_format(value)}" for name, value in self.figures.items())


def _format(value: int | str) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else value
