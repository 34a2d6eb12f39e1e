"""Print what the next run, the latest and the count cost; bars: next run 5 ms at p99 and 100 ms at worst.

`python bench/cron_timing.py [SAMPLES]`; compare on a quiet machine.
"""

import gc
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter_ns

from fliqd.core import zones
from fliqd.core.cron_grammar import parse
from fliqd.core.occurrences import DstPolicy, Gap, next_run, previous_run, tally

EXPRESSIONS = [
    "* * * * *", "*/5 * * * *", "0 8 * * 1-5", "30 2 * * *", "0 0 L * *", "0 0 * * 5L", "0 9 * * MON#2",
    "0 0 29 2 *", "0 0 29 2 */7", "0 0 1-7/3,LW 2,5 WED#5", "30 2 8-14 3 */7", "0 0 31 12 */7",
]  # fmt: skip
YEAR_MS = 366 * 86_400_000


def report(title: str, run: Callable[[], object], samples: int) -> None:
    taken = []
    for _ in range(samples):
        start = perf_counter_ns()
        run()
        taken.append((perf_counter_ns() - start) / 1e6)
    taken.sort()
    print(f"{title:44} p50 {taken[len(taken) // 2]:8.3f}  p99 {taken[-len(taken) // 100]:8.3f}  "
          f"worst {taken[-1]:8.3f} ms")  # fmt: skip


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    chance = random.Random(1)  # noqa: S311 - which cases are measured is no secret
    where = [zones.zone(name) for name in sorted(zones.names())]
    crons = [parse(text) for text in EXPRESSIONS]
    low, high = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 for year in (1971, 2100))
    gc.freeze()

    def at() -> int:
        return chance.randrange(low, high)

    report("parse", lambda: parse(chance.choice(EXPRESSIONS)), samples)
    report("next run", lambda: next_run(chance.choice(crons), chance.choice(where), at()), samples)
    report("previous run", lambda: previous_run(chance.choice(crons), chance.choice(where), at()), samples)
    sparse = parse("0 0 29 2 */7")
    report("next run, 29 February on a Sunday", lambda: next_run(sparse, chance.choice(where), at()), samples)
    never, skip = parse("30 2 8-14 3 */7"), DstPolicy(gap=Gap.SKIP)
    new_york = zones.zone("America/New_York")
    report("next run, none in 400 years", lambda: next_run(never, new_york, at(), skip), 50)

    def ten_years() -> None:
        start = at()
        tally(chance.choice(crons), chance.choice(where), start, start + 10 * YEAR_MS)

    report("first, last and count of ten years", ten_years, samples // 20)


if __name__ == "__main__":
    main()
