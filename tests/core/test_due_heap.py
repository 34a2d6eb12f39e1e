"""The due window agrees with a plain dictionary, whatever happens around it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fliqd.core.due_heap import DueEntry, DueHeap

CAPACITY = 8
PAGE = 3


class WindowMachine(RuleBasedStateMachine):
    """A store beside the window: jobs come, pages are read (a moment before they are taken in), due ones leave."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = DueHeap(CAPACITY)
        self.store: set[DueEntry] = set()
        self.handed_over: set[DueEntry] = set()
        self.page: tuple[list[DueEntry], bool] | None = None
        self.pk = 0
        self.now = 0

    @rule(after=st.integers(0, 50))
    def create(self, after: int) -> None:
        self.pk += 1
        entry = DueEntry(self.now + after, self.pk, "host")
        self.store.add(entry)
        self.heap.offer([entry])

    @precondition(lambda self: self.page is None and self.heap.wants_page)
    @rule()
    def read_page(self) -> None:
        due_ms, pk = self.heap.frontier
        self.heap.page_begins()
        found = sorted(entry for entry in self.store if entry[:2] >= (due_ms, pk + 1))[:PAGE]
        self.page = found, len(found) < PAGE

    @precondition(lambda self: self.page is not None)
    @rule()
    def take_page_in(self) -> None:
        assert self.page is not None
        entries, complete = self.page
        self.heap.page_came(entries, complete=complete)
        self.page = None

    @precondition(lambda self: self.page is not None)
    @rule()
    def lose_page(self) -> None:
        self.heap.page_failed()
        self.page = None

    @rule(by=st.integers(0, 30))
    def time_passes(self, by: int) -> None:
        self.now += by
        due = self.heap.pop_due(self.now)
        assert due == sorted(due)
        assert all(entry.due_ms <= self.now for entry in due)
        self.handed_over |= set(due)
        self.store -= set(due)

    @rule()
    def settle(self) -> None:
        """With every page read to its end, all that is due has been handed over."""
        if self.page is not None:
            self.take_page_in()
        self.time_passes(0)
        while self.heap.wants_page:
            self.read_page()
            self.take_page_in()
            self.time_passes(0)
        assert not [entry for entry in self.store if entry.due_ms <= self.now]

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.heap) <= 2 * CAPACITY + PAGE


WindowMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestWindow = WindowMachine.TestCase
