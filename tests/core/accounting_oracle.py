"""An oracle: what becomes of each due time, one by one, in the words of DESIGN 4.4 and 4.5.

It knows nothing of ranges, counts or arithmetic: slots come as a list, and each is looked at.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

MOST = 100  # runs that are made up for at once


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a schedule says, as the test drew it."""

    misfire: str
    overlap: str
    grace_ms: int
    ends_ms: int | None
    max_runs: int | None
    run_ms: Callable[[int], int]  # when a slot is due, its jitter included


@dataclass
class Verdict:
    """What became of the slots of one look: those that run, and those that do not with the reason."""

    runs: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)  # among the runs, those that wait for the end of others
    missed: dict[int, str] = field(default_factory=dict)
    passed: list[int] = field(default_factory=list)  # due after the last run that there may be: none of them


def judge(
    rules: Rules, slots: Iterable[int], *, now_ms: int, lead_ms: int, running: int, held: int, run_count: int
) -> Verdict:
    """Decide about every slot that is due by `now_ms + lead_ms`; `slots` are those not decided before, in order."""
    verdict = Verdict()
    due = [slot for slot in slots if rules.run_ms(slot) <= now_ms + lead_ms]
    if rules.max_runs is not None and run_count >= rules.max_runs:
        verdict.passed = due
        return verdict
    chosen, late = _chosen(rules, due, now_ms)
    expired = rules.ends_ms is not None and now_ms > rules.ends_ms
    for slot in due:
        if rules.max_runs is not None and run_count >= rules.max_runs:
            verdict.passed.append(slot)
        elif slot not in chosen:
            verdict.missed[slot] = "expired" if expired and slot in late else "misfire"
        elif rules.overlap == "allow" or not running:
            verdict.runs.append(slot)
            running += 1
            run_count += 1
        elif _may_wait(rules, held, late=slot in late):
            verdict.runs.append(slot)
            verdict.held.append(slot)
            running += 1
            held += 1
            run_count += 1
        else:
            verdict.missed[slot] = "overlap"
    return verdict


def _chosen(rules: Rules, due: Sequence[int], now_ms: int) -> tuple[set[int], set[int]]:
    """Return the slots that are to run, and those that are noticed too late."""
    late = [slot for slot in due if now_ms - rules.run_ms(slot) > rules.grace_ms]
    fresh = due[len(late) :]  # one after the other, since a jitter never changes their order
    chosen = fresh[-MOST:]
    expired = rules.ends_ms is not None and now_ms > rules.ends_ms
    if rules.misfire == "latest" and late and not fresh and not expired:
        chosen = [late[-1]]
    if rules.misfire == "all" and not expired:
        chosen = [*late, *fresh][-MOST:]
    return set(chosen), set(late)


def _may_wait(rules: Rules, held: int, *, late: bool) -> bool:
    if late and rules.misfire == "all":
        return held < MOST  # what is made up for waits in line
    if late:
        return held < 1  # the one run that makes up for the others is not skipped, but two never wait
    return rules.overlap == "queue" and held < 1
