"""Every due time is run, missed with a reason, or still ahead: held against an oracle that walks them one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fliqd.core import occurrences
from fliqd.core.accounting import Account, Advance, account, advance, next_run_ms, upcoming
from fliqd.core.model import HELD_MS, Job, JobStatus
from fliqd.core.schedule import Misfire, Missed, MissedReason, Schedule, WhileRunning, run_ms, timing_of
from fliqd.core.times import parse_time

from .accounting_oracle import Rules, judge
from .cron_oracle import Spec, walk

NOW = parse_time("2027-03-01T12:00:00Z")
S, M, H = 1_000, 60_000, 3_600_000
LEAD = 150
R = MissedReason


def a_schedule(**more: Any) -> Schedule:
    fields: dict[str, Any] = {
        "id": "sched_1",
        "name": "a",
        "url": "http://a/",
        "host": "a:80",
        "every_ms": M,
        "created_ms": NOW,
        "updated_ms": NOW,
        "cursor_ms": NOW,
    }
    fields |= more
    if fields["every_ms"] is not None:
        fields.setdefault("anchor_ms", NOW + fields["every_ms"])
    made = Schedule(**fields)
    return made if "next_run_ms" in more else _replaced(made, next_run_ms=next_run_ms(made))


def _replaced(schedule: Schedule, **values: Any) -> Schedule:
    return Schedule(**{name: getattr(schedule, name) for name in schedule.__struct_fields__} | values)


_ids = count()


def settle(schedule: Schedule, now_ms: int, *, running: int = 0, held: int = 0, lead_ms: int = 0) -> Advance:
    due = account(schedule, now_ms=now_ms, lead_ms=lead_ms, new_id=lambda: f"job_{next(_ids)}")
    return advance(schedule, due, running=running, held=held, now_ms=now_ms)


def minutes(slots: Sequence[int | None]) -> list[float]:
    """Return instants as minutes after NOW."""
    return [((slot or 0) - NOW) / M for slot in slots]


def ran(taken: Advance) -> list[float]:
    return minutes([job.slot_ms for job in taken.jobs])


def ranges(taken: Advance) -> list[tuple[float, float, int, str]]:
    return [((one.first_ms - NOW) / M, (one.last_ms - NOW) / M, one.count, str(one.reason)) for one in taken.missed]


# A schedule of every minute is looked at so many minutes after its last run: what runs, what is missed.
MISFIRES = [
    ("latest", M, 0.999, [], []),
    ("latest", M, 1, [1], []),
    ("latest", M, 2, [1, 2], []),  # exactly the grace late is in time
    ("latest", M, 2.001, [2], [(1, 1, 1, "misfire")]),  # the second is in time, and makes up for the first
    ("latest", 10 * S, 2.5, [2], [(1, 1, 1, "misfire")]),
    ("latest", 10 * S, 5.5, [5], [(1, 4, 4, "misfire")]),
    ("latest", 10 * S, 5.1, [5], [(1, 4, 4, "misfire")]),
    ("latest", 0, 1, [1], []),
    ("latest", M, 525_600, [525_599, 525_600], [(1, 525_598, 525_598, "misfire")]),
    ("skip", M, 1.5, [1], []),
    ("skip", 10 * S, 5.5, [], [(1, 5, 5, "misfire")]),
    ("skip", 10 * S, 5.1, [5], [(1, 4, 4, "misfire")]),
    ("all", 10 * S, 3.5, [1, 2, 3], []),
    ("all", 10 * S, 100.5, list(range(1, 101)), []),
    ("all", 10 * S, 101.5, list(range(2, 102)), [(1, 1, 1, "misfire")]),
    ("all", 10 * S, 525_600.5, list(range(525_501, 525_601)), [(1, 525_500, 525_500, "misfire")]),
    # a grace so long that more than a hundred are in time: a hundred run, whatever the policy
    ("latest", 24 * H, 300, list(range(201, 301)), [(1, 200, 200, "misfire")]),
    ("skip", 24 * H, 300, list(range(201, 301)), [(1, 200, 200, "misfire")]),
    ("all", 150 * M, 300, list(range(201, 301)), [(1, 200, 200, "misfire")]),
    ("all", 50 * M, 300, list(range(201, 301)), [(1, 200, 200, "misfire")]),
]


@pytest.mark.parametrize(("misfire", "grace", "after", "runs", "missed"), MISFIRES)
def test_misfires(misfire: str, grace: int, after: float, runs: list[int], missed: list[tuple[Any, ...]]) -> None:
    schedule = a_schedule(misfire=Misfire(misfire), misfire_grace_ms=grace, overlap=WhileRunning.ALLOW)
    taken = settle(schedule, NOW + round(after * M))
    assert ran(taken) == runs
    assert ranges(taken) == missed
    assert taken.schedule.run_count == len(runs)


@pytest.mark.parametrize("misfire", list(Misfire))
def test_past_the_end_nothing_is_made_up_for(misfire: Misfire) -> None:
    """What was in time when the end came still runs; the rest has the reason that it was noticed after the end."""
    schedule = a_schedule(misfire=misfire, ends_ms=NOW + 5 * M, overlap=WhileRunning.ALLOW, misfire_grace_ms=10 * S)
    taken = settle(schedule, NOW + 60 * M)
    assert ran(taken) == []
    assert ranges(taken) == [(1, 5, 5, "expired")]
    assert taken.schedule.next_run_ms is None
    in_time = settle(schedule, NOW + 5 * M + 5 * S)
    assert ran(in_time) == [5]
    assert ranges(in_time) == [(1, 4, 4, "expired")]


def test_before_its_end_a_schedule_makes_up_as_ever() -> None:
    schedule = a_schedule(ends_ms=NOW + 5 * M, misfire_grace_ms=10 * S)
    taken = settle(schedule, NOW + 5 * M)
    assert (ran(taken), ranges(taken)) == ([5], [(1, 4, 4, "misfire")])


@pytest.mark.parametrize(
    ("overlap", "running", "held", "runs", "waiting", "missed"),
    [
        ("queue", 0, 0, [1], 0, []),
        ("queue", 1, 0, [1], 1, []),
        ("queue", 2, 1, [], 0, [(1, 1, 1, "overlap")]),
        ("allow", 0, 0, [1], 0, []),
        ("allow", 5, 0, [1], 0, []),
        ("skip", 0, 0, [1], 0, []),
        ("skip", 1, 0, [], 0, [(1, 1, 1, "overlap")]),
    ],
)
def test_overlap(
    overlap: str, running: int, held: int, runs: list[int], waiting: int, missed: list[tuple[Any, ...]]
) -> None:
    taken = settle(a_schedule(overlap=WhileRunning(overlap)), NOW + M, running=running, held=held)
    assert ran(taken) == runs
    assert sum(job.next_attempt_ms == HELD_MS for job in taken.jobs) == waiting
    assert ranges(taken) == missed


@pytest.mark.parametrize(
    ("overlap", "runs", "waiting", "missed"),
    [
        ("queue", [1, 2], [2], [(3, 5, 3, "overlap")]),
        ("allow", [1, 2, 3, 4, 5], [], []),
        ("skip", [1], [], [(2, 5, 4, "overlap")]),
    ],
)
def test_several_in_time_at_once(
    overlap: str, runs: list[int], waiting: list[int], missed: list[tuple[Any, ...]]
) -> None:
    """After a moment's stall, the second of them finds the first one running."""
    taken = settle(a_schedule(overlap=WhileRunning(overlap), misfire_grace_ms=10 * M), NOW + 5 * M)
    assert ran(taken) == runs
    assert minutes([job.slot_ms for job in taken.jobs if job.next_attempt_ms == HELD_MS]) == waiting
    assert ranges(taken) == missed


def test_what_is_made_up_for_waits_in_line() -> None:
    """Each of `all` runs after the one before it, unless they may overlap; what comes in time finds them waiting."""
    schedule = a_schedule(misfire=Misfire.ALL, misfire_grace_ms=10 * S)
    taken = settle(schedule, NOW + 4 * M)
    assert ran(taken) == [1, 2, 3]
    assert [job.next_attempt_ms == HELD_MS for job in taken.jobs] == [False, True, True]
    assert ranges(taken) == [(4, 4, 1, "overlap")]


@pytest.mark.parametrize("overlap", ["queue", "skip"])
def test_in_line_a_job_that_awaits_approval_has_no_time(overlap: str) -> None:
    schedule = a_schedule(
        requires_approval=True, overlap=WhileRunning(overlap), misfire=Misfire.ALL, misfire_grace_ms=10 * S
    )
    taken = settle(schedule, NOW + 4 * M)
    assert ran(taken) == [1, 2, 3]
    assert {(job.status, job.next_attempt_ms) for job in taken.jobs} == {(JobStatus.AWAITING_APPROVAL, None)}
    assert ranges(taken) == [(4, 4, 1, "overlap")]


def test_one_job_awaits_approval_whether_its_due_times_are_met_together_or_not() -> None:
    schedule = a_schedule(requires_approval=True, misfire_grace_ms=10 * M)
    together = settle(schedule, NOW + 3 * M)
    assert (ran(together), ranges(together)) == ([1], [(2, 3, 2, "overlap")])
    first = settle(schedule, NOW + M)
    assert ran(first) == [1]
    later = settle(first.schedule, NOW + 3 * M, running=1, held=1)
    assert (ran(later), ranges(later)) == ([], [(2, 3, 2, "overlap")])


def test_the_line_has_an_end() -> None:
    """Misfire after misfire behind a run that hangs: a hundred wait at most, and with `latest` one."""
    everything = a_schedule(misfire=Misfire.ALL, misfire_grace_ms=0)
    taken = settle(everything, NOW + 50 * M + 1, running=80, held=79)
    assert (len(taken.jobs), ranges(taken)) == (21, [(22, 50, 29, "overlap")])
    latest = a_schedule(misfire=Misfire.LATEST, misfire_grace_ms=0)
    taken = settle(latest, NOW + 50 * M + 1, running=1)
    assert (ran(taken), ranges(taken)) == ([50], [(1, 49, 49, "misfire")])
    taken = settle(latest, NOW + 50 * M + 1, running=2, held=1)
    assert (ran(taken), ranges(taken)) == ([], [(1, 49, 49, "misfire"), (50, 50, 1, "overlap")])


def test_the_last_run_ends_it() -> None:
    schedule = a_schedule(max_runs=3, run_count=2, misfire=Misfire.ALL, misfire_grace_ms=0, overlap=WhileRunning.ALLOW)
    taken = settle(schedule, NOW + 5 * M)
    assert (ran(taken), ranges(taken)) == ([1], [])
    assert (taken.schedule.run_count, taken.schedule.next_run_ms) == (3, None)


def test_a_due_time_that_is_skipped_is_no_run() -> None:
    schedule = a_schedule(max_runs=2, overlap=WhileRunning.SKIP, misfire_grace_ms=10 * M)
    taken = settle(schedule, NOW + 3 * M)
    assert (ran(taken), ranges(taken), taken.schedule.run_count) == ([1], [(2, 3, 2, "overlap")], 1)
    assert taken.schedule.next_run_ms == NOW + 4 * M


@pytest.mark.parametrize("misfire", list(Misfire))
def test_after_its_last_run_nothing_is_missed(misfire: Misfire) -> None:
    schedule = a_schedule(max_runs=3, run_count=3, misfire=misfire)
    assert schedule.next_run_ms is None
    taken = settle(schedule, NOW + 60 * M)
    assert (taken.jobs, taken.missed) == ((), ())


def test_a_slot_that_has_a_job_gets_no_other() -> None:
    """And it is no gap that ranges reach across."""
    schedule = a_schedule(misfire_grace_ms=10 * M, overlap=WhileRunning.SKIP)
    due = account(schedule, now_ms=NOW + 3 * M, lead_ms=0, new_id=lambda: "job_1")
    taken = advance(schedule, due, running=1, held=0, made=frozenset({NOW + 2 * M}), now_ms=NOW + 3 * M)
    assert (ran(taken), ranges(taken)) == ([], [(1, 1, 1, "overlap"), (3, 3, 1, "overlap")])


def test_nothing_due_changes_nothing() -> None:
    for schedule in (a_schedule(), a_schedule(cursor_ms=NOW + 90 * M), a_schedule(starts_ms=NOW + H)):
        assert account(schedule, now_ms=NOW + 30 * S, lead_ms=LEAD, new_id=str) == Account(cursor_ms=schedule.cursor_ms)


def test_a_job_waits_for_its_time_though_it_is_made_ahead() -> None:
    [job] = settle(a_schedule(), NOW + M - 100, lead_ms=LEAD).jobs
    assert (job.scheduled_ms, job.next_attempt_ms) == (NOW + M, NOW + M)
    [late] = settle(a_schedule(), NOW + M + 100).jobs
    assert (late.scheduled_ms, late.next_attempt_ms) == (NOW + M, NOW + M + 100)


def test_upcoming_is_what_then_runs() -> None:
    schedule = a_schedule(jitter_ms=50 * S, max_runs=4, run_count=1)
    told = list(upcoming(schedule, 9, NOW))
    assert len(told) == 3
    assert told != [NOW + M, NOW + 2 * M, NOW + 3 * M]
    came = []
    while schedule.next_run_ms is not None:
        came.append(schedule.next_run_ms)
        taken = settle(schedule, schedule.next_run_ms, running=1 if len(came) == 2 else 0)
        assert [job.scheduled_ms for job in taken.jobs] == [came[-1]]
        schedule = taken.schedule
    assert came == told
    assert list(upcoming(schedule, 9, NOW)) == []


# Random lives of a schedule, slot by slot

EVERY_DAY = (frozenset(range(24)), frozenset(range(1, 13)), lambda _day: True, lambda _day: True)
CRONS = [  # with the least that lies between two of their slots
    (Spec("*/5 * * * *", frozenset(range(0, 60, 5)), *EVERY_DAY), 5 * M),
    (Spec("10,40 * * * *", frozenset({10, 40}), *EVERY_DAY), 30 * M),
    (Spec("30 2-4 * * *", frozenset({30}), frozenset({2, 3, 4}), *EVERY_DAY[1:]), 30 * M),
    (Spec("15 2 * * *", frozenset({15}), frozenset({2}), *EVERY_DAY[1:]), 22 * H),
]
NIGHTS = [
    ("Europe/Berlin", parse_time("2027-03-27T23:30:00Z")),
    ("Europe/Berlin", parse_time("2027-10-30T22:30:00Z")),
    ("Australia/Lord_Howe", parse_time("2027-04-03T13:30:00Z")),
    ("UTC", NOW),
]


@dataclass
class Life:
    """A schedule in a world where runs take their time, the daemon stops, and the clock is set."""

    schedule: Schedule
    rules: Rules
    slots: list[int] = field(repr=False)
    now_ms: int
    running: dict[str, int] = field(default_factory=dict)  # when each run ends
    held: list[Job] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    passed: set[int] = field(default_factory=set)

    def look(self, durations: Iterator[int], lead_ms: int = LEAD) -> None:
        """Have the daemon look at what is due; compare what it does with the oracle."""
        before = self.schedule
        live = {"running": len(self.running) + len(self.held), "held": len(self.held)}
        ahead = [slot for slot in self.slots if slot > before.cursor_ms]
        expected = judge(
            self.rules, ahead, now_ms=self.now_ms, lead_ms=lead_ms, run_count=before.run_count, **live
        )  # fmt: skip
        taken = settle(before, self.now_ms, lead_ms=lead_ms, **live)
        self.schedule = taken.schedule
        assert [job.slot_ms for job in taken.jobs] == expected.runs
        assert [job.slot_ms for job in taken.jobs if job.next_attempt_ms == HELD_MS] == expected.held
        assert self.expanded(taken.missed) == expected.missed
        assert all(one.noted_ms == self.now_ms for one in taken.missed)
        for earlier, later in pairwise(taken.missed):
            assert earlier.last_ms < later.first_ms
        self.passed.update(expected.passed)
        self.missed += taken.missed
        for job in taken.jobs:
            self.jobs.append(job)
            if job.next_attempt_ms == HELD_MS:
                self.held.append(job)
            else:
                assert job.next_attempt_ms == max(job.scheduled_ms, self.now_ms)
                self.running[job.id] = max(job.scheduled_ms, self.now_ms) + next(durations)

    def expanded(self, missed: Sequence[Missed]) -> dict[int, str]:
        """Return the slots of ranges; each range counts them right, and no two have one in common."""
        found: dict[int, str] = {}
        for one in missed:
            covered = [slot for slot in self.slots if one.first_ms <= slot <= one.last_ms]
            assert (covered[0], covered[-1], len(covered)) == (one.first_ms, one.last_ms, one.count)
            assert not found.keys() & set(covered)
            found |= dict.fromkeys(covered, str(one.reason))
        return found

    def until(self, then_ms: int, durations: Iterator[int]) -> None:
        """Let time pass while the daemon is up: it looks a moment ahead of each due time, or late if it was down."""
        while True:
            look_ms = self.schedule.next_run_ms
            ends = sorted(self.running.items(), key=lambda run: run[1])
            if ends and ends[0][1] <= min(then_ms, then_ms if look_ms is None else look_ms - LEAD):
                self.end(ends[0][0], durations)
            elif look_ms is not None and look_ms - LEAD <= then_ms:
                self.now_ms = max(self.now_ms, look_ms - LEAD)
                self.look(durations)
                assert self.schedule.next_run_ms is None or self.schedule.next_run_ms > self.now_ms + LEAD
            else:
                break
        self.now_ms = then_ms

    def end(self, job_id: str, durations: Iterator[int]) -> None:
        self.now_ms = max(self.now_ms, self.running.pop(job_id))
        if not self.running and self.held:
            job = self.held.pop(0)
            self.running[job.id] = max(self.now_ms, job.scheduled_ms) + next(durations)

    def check(self) -> None:
        """Every slot since its creation has one fate: a job, an entry among the missed, or it is still ahead."""
        jobs = [job.slot_ms for job in self.jobs]
        assert len(set(jobs)) == len(jobs)
        missed = self.expanded(self.missed)
        assert not missed.keys() & set(jobs)
        assert not self.passed or self.schedule.run_count == self.schedule.max_runs
        accounted = {*jobs, *missed}
        assert not accounted & self.passed
        assert accounted == {slot for slot in self.slots if slot <= self.schedule.cursor_ms} - self.passed
        ahead = next((slot for slot in self.slots if slot > self.schedule.cursor_ms), None)
        if ahead is not None and self.schedule.next_run_ms is not None:
            assert self.schedule.next_run_ms == self.rules.run_ms(ahead)
        elif ahead is not None:
            assert self.schedule.run_count == self.schedule.max_runs
        for job in self.jobs:
            assert job.scheduled_ms == self.rules.run_ms(job.slot_ms or 0)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    every = draw(st.booleans())
    if every:
        least = draw(st.sampled_from([S, 7 * S, M, 13 * M]))
        start = NOW
        anchor = start + draw(st.sampled_from([least, 1, 5 * least + 7]))
        slots = list(range(anchor, start + 3_000 * least, least))
        fields: dict[str, Any] = {"every_ms": least, "anchor_ms": anchor}
    else:
        (spec, least), (zone, start) = draw(st.sampled_from(CRONS)), draw(st.sampled_from(NIGHTS))
        fields = {"every_ms": None, "cron": spec.text, "timezone": zone}
        slots = _walked(spec, zone, start)
    starts = draw(st.none() | st.sampled_from([start - H, start + 3 * least, slots[4], slots[4] + 1]))
    ends = draw(st.none() | st.sampled_from([slots[6], slots[30] - 1, slots[-1]]))
    slots = [slot for slot in slots if (starts is None or slot >= starts) and (ends is None or slot <= ends)]
    # A clock that changes can bring two slots closer than they mostly are; a jitter is kept to half of the least.
    jitter = draw(st.sampled_from([0, 0, 1, least // 2, least - 1 if every else least // 2]))
    schedule = a_schedule(
        **fields,
        starts_ms=starts,
        ends_ms=ends,
        jitter_ms=jitter,
        max_runs=draw(st.none() | st.integers(1, 12)),
        misfire=draw(st.sampled_from(Misfire)),
        misfire_grace_ms=draw(st.sampled_from([0, least // 2, M, 3 * least, 250 * least])),
        overlap=draw(st.sampled_from(WhileRunning)),
        created_ms=start,
        cursor_ms=start,
    )
    rules = Rules(
        misfire=str(schedule.misfire),
        overlap=str(schedule.overlap),
        grace_ms=schedule.misfire_grace_ms,
        ends_ms=ends,
        max_runs=schedule.max_runs,
        run_ms=lambda slot: run_ms(schedule, slot),
    )
    return Life(schedule, rules, slots, start)


_known: dict[tuple[str, str, int], list[int]] = {}


def _walked(spec: Spec, zone: str, start: int) -> list[int]:
    key = (spec.text, zone, start)
    if key not in _known:
        rule = timing_of(a_schedule(every_ms=None, cron=spec.text, timezone=zone, next_run_ms=None)).rule
        days = 40 if len(spec.hours) == 1 else 16 if len(spec.hours) == 3 else 3
        end_s = start // 1000 + days * 86_400
        _known[key] = [at_s * 1000 for at_s in walk(spec, rule.zone, start // 1000 + 1, end_s)]  # type: ignore[attr-defined]
    return _known[key]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), lives())
def test_a_life(data: st.DataObject, life: Life) -> None:
    """Time passes, the daemon is down, the clock is set forward and back, runs take long: nothing gets lost."""
    slots = life.slots or [life.now_ms]
    between = max(1, (slots[-1] - life.now_ms) // max(1, len(slots)))
    chance = data.draw(st.randoms(use_true_random=False))

    def durations() -> Iterator[int]:
        while True:
            yield chance.choice([0, 1, between // 3, between, 4 * between + 1, 40 * between])

    takes = durations()
    last_ms = slots[-1]  # as far as the walk went
    for event in data.draw(st.lists(st.sampled_from(["up", "up", "down", "long", "forward", "back"]), max_size=12)):
        gap = chance.choice([1, between // 3, between, 3 * between, 20 * between])
        if event == "up":
            life.until(min(life.now_ms + gap, last_ms), takes)
        elif event == "back":
            life.now_ms -= gap
        else:
            gap = gap if event != "long" else 150 * between
            life.now_ms = min(life.now_ms + gap, last_ms)
            if event == "forward":
                life.look(takes)
        life.check()
    life.until(max(life.now_ms, min(life.now_ms + between, last_ms)), takes)
    life.check()


def test_a_thousand_of_one_expression_that_are_due_together_cost_the_searches_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[str] = []

    def counted(name: str) -> None:
        search = getattr(occurrences, name)

        def and_count(*where: Any) -> Any:
            searched.append(name)
            return search(*where)

        monkeypatch.setattr(occurrences, name, and_count)

    schedules = [a_schedule(id=f"sched_{n}", every_ms=None, cron="7-59 * * * *") for n in range(1000)]
    for name in ("next_run", "previous_run", "count_between"):
        counted(name)
    for schedule in schedules:
        assert ran(settle(schedule, NOW + 7 * M - LEAD, lead_ms=LEAD)) == [7]
    assert 0 < len(searched) < 10
