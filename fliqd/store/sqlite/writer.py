"""Group commit: one task takes every write that waits, commits them together, and answers all."""

import asyncio
import contextlib
import re
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import chain, islice
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

import aiosqlite
import structlog

from fliqd.core.channels import Channel
from fliqd.core.due_heap import DueEntry
from fliqd.core.events import News
from fliqd.core.histogram import Histogram
from fliqd.core.model import Job
from fliqd.errors import ConflictError, FliqdError, StoreIOError, StoreUnusableError, UnavailableError
from fliqd.store.sqlite import files, queries

log = structlog.get_logger()
T = TypeVar("T")
R = TypeVar("R")

BATCH_ROWS: Final = 2_000  # a transaction takes no more writes after so many rows, so that none waits long
STATEMENT_ROWS: Final = (256, 64, 16, 4, 1)  # few sizes, so that each is prepared once
STATEMENT_VALUES: Final = 5_000  # no more in one, for the memory that it takes
LONG: Final = 4 * 1024  # bytes; what is beyond is written one by one
GATHER_S: Final = 0.003
ASIDE_S: Final = 0.005  # the loop stands aside for a transaction's statements, no longer than this
ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
TOOK_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
DAMAGED: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
# What SQLite and Python say of texts and of a schema that are none any more; our own are always right.
SPOILT: Final = ("Could not decode to UTF-8", "no such column", "no such table", "malformed JSON")
LATER: Final = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED"})

# For what is no int, float, str or bytearray, sqlite3 looks for an adapter, and raises and drops an exception where
# there is none: 0.3 µs a value, a third of what a new job cost. So there are some, which give back what they get.
sqlite3.register_adapter(type(None), {None: None}.get)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)


class Transaction:
    """What a write sees, in the store's thread: the statements by name, and lists of what it makes wait or end."""

    def __init__(self, connection: sqlite3.Connection, *, tells: bool) -> None:
        self._connection = connection
        self._sql = queries.load()
        self.tells = tells  # somebody listens to what happens
        self.news: list[News] = []
        self.due: list[DueEntry] = []
        self.schedules_due: list[DueEntry] = []
        self.outbox_due: list[DueEntry] = []
        self.failed: list[Job] = []
        self.well: set[str] = set()  # hosts that answered well
        self.channels: list[Channel] | None = None  # all of them, where that has changed
        self.counts: dict[tuple[str, str], int] = {}  # what it does, and how often

    def count(self, what: str, which: str, times: int = 1) -> None:
        """Have something counted once it is on disk."""
        self.counts[what, which] = self.counts.get((what, which), 0) + times

    def rows(self, name: str, values: Sequence[Any] | dict[str, Any]) -> list[Any]:
        """Run one statement; return its rows."""
        return self._connection.execute(self._sql[name], values).fetchall()

    def each(self, name: str, values: Iterable[Sequence[Any]]) -> int:
        """Run one statement for each of `values`; return how many rows it changed."""
        return self._connection.executemany(self._sql[name], values).rowcount

    def run(self, name: str, values: Sequence[Any] | dict[str, Any]) -> int:
        """Run one statement; return how many rows it changed."""
        return self._connection.execute(self._sql[name], values).rowcount

    def several(self, name: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run a statement with a `VALUES (?, …)` for all of `rows`, many at once; return how many rows it changed.

        Between two statements the interpreter's lock is let go, and a busy loop keeps it for as long as it
        may: with a statement for each row a batch of 60 took 25 ms, most of it waiting for the lock.
        """
        first = changed = 0
        most = STATEMENT_VALUES // len(rows[0]) if rows else 0
        while first < len(rows):
            size = next(size for size in STATEMENT_ROWS if size <= min(most, len(rows) - first))
            values = list(chain.from_iterable(rows[first : first + size]))
            changed += self._connection.execute(_several(self._sql[name], size), values).rowcount
            first += size
        return changed

    def singly(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each of `rows`, which are long.

        SQLite keeps what a statement was given until it is given something else: hundreds of them would stay in memory.
        """
        for row in rows:
            self.run(name, row)


@cache
def _several(statement: str, count: int) -> str:
    """Return a statement with its row of values so many times."""
    return _ROW.sub(lambda row: f"VALUES {', '.join([row[1]] * count)}", statement)


_ROW: Final = re.compile(r"VALUES (\([^()]*\))")


class _Write(NamedTuple):
    apply: Callable[[Transaction, list[Any]], Sequence[Any]]
    items: Sequence[Any]
    rows: int
    done: asyncio.Future[Any]  # of the list of results
    since: float  # when it was called for, monotonic


class SplitBatchError(Exception):
    """Raised by a write that must see its items one by one, each in a transaction of its own."""


class Writer:
    """The only one that touches the read-write connection.

    A connection shared by coroutines loses acknowledged writes: one's ROLLBACK takes another's INSERT. So
    callers queue a write and await its future: a caller that is cancelled gives up the answer, not the
    write. A transaction is one call in the store's thread, since each hop between threads costs more than
    a row; writes of one kind are handed to their function together.

    When a transaction fails, its writes are tried again one by one, so that a bad one takes no other along.
    """

    def __init__(
        self,
        connection: aiosqlite.Connection,
        *,
        on_commit: Callable[[Transaction], None],
        on_fatal: Callable[[FliqdError], None],
    ) -> None:
        self._connection = connection
        self._on_commit = on_commit
        self._on_fatal = on_fatal
        self._waiting: deque[_Write] = deque()
        self._go = asyncio.Event()
        self._closing = False
        self._fatal: FliqdError | None = None
        self.waiting = 0  # rows
        self.tells = False  # whether transactions take down what they do
        self.commits = 0
        self.rows = Histogram(ROWS)
        self.took_s = Histogram(TOOK_S)
        self.waited_s = Histogram(TOOK_S)
        self.blocked: str | None = None  # why the last transaction failed for want of space
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def write(
        self,
        apply: Callable[[Transaction, list[T]], Sequence[R | Exception]],
        item: T,
        *,
        rows: int = 1,
    ) -> R:
        """Have `apply` called with `item`, and maybe others; return its result for `item` once on disk.

        `rows` is how many the write is about to touch. An exception among the results is raised to its own caller
        alone, and must not have written anything.
        """
        result = (await self.write_all(apply, [item], rows=rows))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def write_all(
        self,
        apply: Callable[[Transaction, list[T]], Sequence[R | Exception]],
        items: Sequence[T],
        *,
        rows: int | None = None,
    ) -> list[R | Exception]:
        """Do the same for many, with one future for all; an error that is an item's own comes back in its place."""
        rows = len(items) if rows is None else rows
        if self._fatal is not None or self._closing:
            raise self._fatal or UnavailableError("fliqd is shutting down", "shutting_down")
        done: asyncio.Future[list[R | Exception]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(apply, items, rows, done, time.monotonic()))
        self.waiting += rows
        self._go.set()
        return await done

    def mishap(self, err: Exception) -> Exception:
        """Say what an error of a reader means; one that no reader gets over ends the store as a writer's does."""
        error = files.damaged("the store", str(err)) if isinstance(err, UnicodeDecodeError) else _meaning(err)
        return self.end(error) if isinstance(error, StoreIOError | StoreUnusableError) else error

    def end(self, error: FliqdError) -> FliqdError:
        """End the store for what was looked for, and found; return it."""
        if self._fatal is None:
            self._die(error, [])
        return error

    async def close(self) -> None:
        """Commit what waits, take nothing more."""
        self._closing = True
        self._go.set()
        await self._task

    async def _run(self) -> None:
        try:
            while not self._closing or self._waiting:
                await self._go.wait()
                self._go.clear()
                while self._waiting:
                    await self._gather()
                    await self._settle(self._next_batch())
        except Exception as err:
            log.exception("store.writer_died")
            self._die(StoreIOError(f"the store's writer died: {err!r}"), [])

    async def _gather(self) -> None:
        """Let those come along who are on their way: as long as each turn of the loop brings more, for a moment.

        An idle loop commits at once. A busy one would commit a few at a time, and pay for each commit: those who have
        just been answered and come back at once would find one under way for the few who came meanwhile.
        """
        ends = time.monotonic() + GATHER_S
        seen = 0
        while seen < len(self._waiting) and time.monotonic() < ends:
            seen = len(self._waiting)
            await asyncio.sleep(0)  # answers go out
            await asyncio.sleep(0)  # and what comes has been read

    def _next_batch(self) -> list[_Write]:
        batch: list[_Write] = []
        room = BATCH_ROWS
        while self._waiting and (not batch or self._waiting[0].rows <= room):
            batch.append(self._waiting.popleft())
            room -= batch[-1].rows
            self.waiting -= batch[-1].rows
        return batch

    async def _settle(self, batch: list[_Write]) -> None:
        if self._fatal is not None:
            for write in batch:
                _fail(write.done, self._fatal)
            return
        began = time.monotonic()
        done = asyncio.get_running_loop().create_future()
        statements = Lock()  # held until they are through, and only the commit is left
        statements.acquire()
        try:
            # The one way into the store's thread that is not a statement; aiosqlite has no public one.
            connection = self._connection._conn  # noqa: SLF001 -- raises when it is closed
            work = partial(self._transact, connection, batch, statements.release)
            self._connection._tx.put_nowait((done, work))  # noqa: SLF001
            statements.acquire(timeout=ASIDE_S)
            results, transaction = await done
        except Exception as err:  # noqa: BLE001 -- whatever it is, it reaches its caller
            error = _meaning(err)
            if isinstance(error, UnavailableError) and error.code == "disk_full":
                self.blocked = str(error)
            if isinstance(error, StoreIOError | StoreUnusableError):
                self._die(error, batch)
            elif isinstance(error, UnavailableError):
                for write in batch:
                    _fail(write.done, error)
            elif sum(len(write.items) for write in batch) > 1:
                for write in batch:
                    await self._settle_each(write)
            else:
                _answer(batch[0].done, [error])
            return
        self.commits += 1
        ended = time.monotonic()
        self.rows.add(sum(write.rows for write in batch))
        self.took_s.add(ended - began)
        self.waited_s.add(ended - batch[0].since)
        self.blocked = None
        for write, result in zip(batch, results, strict=True):
            _answer(write.done, result)
        self._on_commit(transaction)  # before any of them goes on: they are only woken

    async def _settle_each(self, write: _Write) -> None:
        """Apply the items of a write one by one, each in a transaction of its own."""
        ones = [write._replace(items=[item], done=asyncio.get_running_loop().create_future()) for item in write.items]
        for one in ones:
            await self._settle([one])
        _answer(write.done, [one.done.exception() or one.done.result()[0] for one in ones])

    def _transact(
        self, connection: sqlite3.Connection, batch: list[_Write], is_through: Callable[[], None]
    ) -> tuple[list[Any], Transaction]:
        """Apply a batch in one transaction, in the store's thread; the results come in the batch's order.

        The loop is told when all but the commit is done. Until then it would fight for the interpreter's lock, which
        changes hands twice a statement: each time one thread waits for half a millisecond, and one has to be woken.
        """
        transaction = Transaction(connection, tells=self.tells)
        kinds: dict[Callable[..., Any], list[int]] = {}
        for index, write in enumerate(batch):
            kinds.setdefault(write.apply, []).append(index)
        results: list[Any] = [[] for _ in batch]
        if self.blocked is not None:
            # The log of writes has eaten what room there was, and would eat what has been freed since. So it is
            # emptied into the file first; where that cannot be done yet, the transaction says so.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for apply, indexes in kinds.items():
                items = [item for index in indexes for item in batch[index].items]
                answers = zip(items, apply(transaction, items), strict=True)
                for index in indexes:
                    results[index] = [answer for _, answer in islice(answers, len(batch[index].items))]
            is_through()
            is_through = _nothing
            _check_open(connection)
            connection.commit()  # one call that lets the interpreter's lock go once, and not three times as a statement
        except BaseException:
            is_through()
            # After SQLITE_FULL the transaction is gone already; a ROLLBACK would raise and hide the cause.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results, transaction

    def _die(self, error: FliqdError, batch: list[_Write]) -> None:
        self._fatal = error
        for write in (*batch, *self._waiting):
            _fail(write.done, error)
        self._waiting.clear()
        self._on_fatal(error)


def _meaning(err: Exception) -> Exception:
    """Say what an error of SQLite means to those above the store."""
    if not isinstance(err, sqlite3.Error):
        return err
    name = str(getattr(err, "sqlite_errorname", ""))
    if name == "SQLITE_FULL":
        return UnavailableError("the disk is full: nothing was written; free some space and try again", "disk_full", 10)
    if name in LATER or name.startswith(("SQLITE_BUSY_", "SQLITE_LOCKED_")):
        return UnavailableError("another program keeps the store locked; try again", "store_locked", 1)
    if name in DAMAGED or name.startswith("SQLITE_CORRUPT_") or str(err).startswith(SPOILT):
        return files.damaged("the store", f"{err}, or the disk could not read it")
    if name.startswith(("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return StoreIOError(f"the disk failed: {err} ({name})")
    if isinstance(err, sqlite3.IntegrityError):
        conflict = ConflictError(f"the store refused it: {err}")
        conflict.__cause__ = err
        return conflict
    return err


def _check_open(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.OperationalError for a transaction that some failure has ended: its commit would say nothing."""
    if not connection.in_transaction:
        raise sqlite3.OperationalError("the transaction ended before its commit")


def _nothing() -> None:
    """Do nothing."""


def _answer(done: asyncio.Future[Any], results: list[Any]) -> None:
    """Give a caller its results; one that was cancelled has gone."""
    if not done.done():
        done.set_result(results)


def _fail(done: asyncio.Future[Any], error: Exception) -> None:
    """Raise at a caller what kept all of its write from being done."""
    if not done.done():
        done.set_exception(error)
