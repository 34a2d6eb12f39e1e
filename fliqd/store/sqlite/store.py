"""The store contract kept by one SQLite file: every write through the writer, every read beside it."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import aiosqlite
import msgspec

from fliqd.core.buffers import FIRST_ITEM_PK
from fliqd.core.delivery import ErrorCode
from fliqd.core.due_heap import DueEntry
from fliqd.core.events import EventType, News
from fliqd.core.model import (
    FINAL,
    HELD_MS,
    Execution,
    Job,
    JobStatus,
)
from fliqd.core.notices import wants
from fliqd.core.stand_ins import NATIVE, holds_key
from fliqd.errors import ConflictError, FliqdError, NotFoundError, UnavailableError
from fliqd.store.base import Counts, Created, JobFilter, JobOrder, OrderedBy, Page, Place
from fliqd.store.sqlite import files, filesystem, queries, rows, schedules, scrub
from fliqd.store.sqlite.alerts import SqliteAlerts
from fliqd.store.sqlite.attempts import SqliteAttempts
from fliqd.store.sqlite.budget import that_fit
from fliqd.store.sqlite.buffers import SqliteBuffers
from fliqd.store.sqlite.lock import StoreLock
from fliqd.store.sqlite.news import tell_jobs
from fliqd.store.sqlite.outbox import SqliteOutbox
from fliqd.store.sqlite.rollups import SqliteRollups
from fliqd.store.sqlite.schedules import SqliteSchedules
from fliqd.store.sqlite.tokens import SqliteTokens
from fliqd.store.sqlite.writer import LONG, Transaction, Writer

READERS: Final = 2  # a long list on one leaves the other for look-ups
MOST_WAITING: Final = 20_000  # rows before the writer beyond which a create is turned away, rather than all be late
PROBE_BYTES: Final = 64 * 1024  # more than an ordinary create needs: where this fits, work can go on
ROW_BYTES: Final = 1_000  # about what a job takes besides its body, indexes included
PAGE_BYTES: Final = 4096  # SQLite's default, which our files have
PAGES_KEPT: Final = 256  # free ones that stay for what comes: they cost less than to take new ones from the disk
PAGES_AT_ONCE: Final = 128  # given back in a transaction: a create may have to wait for it
SYNCHRONOUS: Final = {"full": "FULL", "normal": "NORMAL"}

# The conditions a list may carry, with the index that serves each.
FILTERS: Final = {
    "status": "AND status = :status",
    "waiting": "AND status IN ('scheduled', 'awaiting_approval')",
    "retrying": "AND status = 'scheduled' AND executions > 0",
    "queue": "AND queue = :queue",
    "name": "AND name = :name",
    "tag": "AND pk IN (SELECT job_pk FROM job_tag WHERE tag = :tag)",
    "schedule_id": "AND schedule_id = :schedule_id",
    "beyond_ms": "AND (scheduled_ms, pk) < (:beyond_ms, :beyond_pk)",
    "of_schedule": "AND (schedule_id IS NOT NULL) = :of_schedule",
    "dialect": "AND dialect = :dialect",
    "idempotency_key": "AND idempotency_key = :idempotency_key AND NOT key_is_free",
    "kept_in": "AND NOT (key_is_free AND dialect = :kept_in)",
}
TIMES: Final = {
    "created_from_ms": "AND created_ms >= :created_from_ms",
    "created_to_ms": "AND created_ms < :created_to_ms",
    "scheduled_from_ms": "AND scheduled_ms >= :scheduled_from_ms",
    "scheduled_to_ms": "AND scheduled_ms < :scheduled_to_ms",
}

ORDERED_BY: Final[Mapping[OrderedBy, str]] = {
    "created": "pk",
    "updated": "updated_ms",
    "scheduled": "scheduled_ms",
    "started": "started_ms",
    "finished": "finished_ms",
}
ORDERS: Final = {
    JobOrder(by, newest_first): f"ORDER BY {column} {way}, pk {way}"
    for by, column in ORDERED_BY.items()
    for newest_first, way in ((True, "DESC"), (False, "ASC"))
}


class _Change(NamedTuple):
    job_id: str
    change: Callable[[Job], Job]


class SqliteStore:
    """Made by `open`. See `store.base.Store` for what each operation promises."""

    def __init__(
        self,
        path: Path,
        lock: StoreLock,
        connection: aiosqlite.Connection,
        readers: list[aiosqlite.Connection],
        last_pks: tuple[int, int],
        *,
        store_id: str,
        max_bytes: int,
        new_execution_id: Callable[[], str],
        new_event_id: Callable[[], str],
        on_fatal: Callable[[FliqdError], None],
    ) -> None:
        self.id = store_id
        self._path = path
        self._lock = lock
        self._connection = connection
        self._readers = readers
        self._turn = cycle(readers)
        self._pinged = cycle([connection, *readers])
        self._last_pk, self._last_item_pk = last_pks
        self._identity = files.identity(path)
        self._max_bytes = max_bytes
        self._over = False  # more is used than max_bytes, as far as it was looked at
        self._unchecked = max_bytes  # bytes that creates may have added since the size was looked at: do so first
        self._sql = queries.load()
        self.totals: dict[tuple[str, str], int] = {}
        self._listener: Callable[[Sequence[DueEntry]], None] | None = None
        self._news_listener: Callable[[Sequence[News]], None] | None = None
        self._writer = Writer(connection, on_commit=self._tell, on_fatal=on_fatal)
        self._ended_listener: Callable[[Sequence[Job], Collection[str]], None] | None = None
        self.outbox = SqliteOutbox(self._writer, self._read, new_event_id)
        self.alerts = SqliteAlerts(self._writer, self._read)
        self.schedules = SqliteSchedules(
            self._writer,
            self._read,
            known=self._known,
            insert=self._insert,
            replace=self._replace,
            ended=self._ended,
            alerts=self.alerts,
        )
        self.buffers = SqliteBuffers(self._writer, self._read, insert=self._insert, has_room=self._has_room)
        self.rollups = SqliteRollups(self._writer, self._read)
        self.tokens = SqliteTokens(self._writer, self._read)
        self.attempts = SqliteAttempts(
            self._writer,
            new_execution_id=new_execution_id,
            outbox=self.outbox,
            rollups=self.rollups,
            ended=self._ended,
            is_over=lambda: self._over,
        )

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        marker: Path,
        durability: str,
        max_bytes: int,
        new_execution_id: Callable[[], str],
        new_event_id: Callable[[], str],
        on_fatal: Callable[[FliqdError], None],
    ) -> Self:
        """Open the file at `path`, making or upgrading it where needed; `marker` remembers that there is one.

        Raises StoreInUseError, StoreUnusableError, StoreIOError.
        """
        path = await asyncio.to_thread(_place, path)
        filesystem.refuse_network(path)
        lock = StoreLock(path)
        lock.acquire()
        connections: list[aiosqlite.Connection] = []
        try:
            store_id = await asyncio.to_thread(files.prepare, path, marker)
            connection = await _connect(f"{path.as_uri()}?mode=rw")
            connections.append(connection)
            # WAL with FULL: a commit returns once its bytes are on disk (sqlite.org/pragma.html#pragma_synchronous).
            for pragma in (
                f"synchronous = {SYNCHRONOUS[durability]}",
                "foreign_keys = ON",
                "busy_timeout = 5000",
                "temp_store = MEMORY",
                "journal_size_limit = 67108864",
                f"wal_autocheckpoint = {await asyncio.to_thread(_checkpoint_pages, path)}",
            ):
                await connection.execute_fetchall(f"PRAGMA {pragma}")
            for _ in range(READERS):
                reader = await _connect(f"{path.as_uri()}?mode=ro")
                connections.append(reader)
                await reader.execute_fetchall("PRAGMA query_only = ON")
                await reader.execute_fetchall("PRAGMA busy_timeout = 5000")
            found = list(await connection.execute_fetchall(queries.load()["last_pk"], {"first_item_pk": FIRST_ITEM_PK}))
            # Until `close`, and in the file itself: so a copy of that without its log of writes is known for one.
            with files.no_matter():
                await connection.execute_fetchall(queries.load()["meta_put"], {"key": files.IN_USE, "value": "1"})
                await connection.execute_fetchall("PRAGMA wal_checkpoint")
        except BaseException as err:
            for opened in connections:
                await opened.close()
            lock.release()
            if isinstance(err, files.ERRORS):
                raise files.refusal(path, err) from err
            raise
        store = cls(
            path,
            lock,
            connection,
            connections[1:],
            (int(found[0][0]), int(found[0][1])),
            store_id=store_id,
            max_bytes=max_bytes,
            new_execution_id=new_execution_id,
            new_event_id=new_event_id,
            on_fatal=on_fatal,
        )
        try:
            await store.alerts.load()
        except BaseException:
            await store.close()  # a thread of a connection that is left open keeps the process, which hangs
            raise
        return store

    def on_due(self, listener: Callable[[Sequence[DueEntry]], None]) -> None:
        self._listener = listener

    def on_ended(self, listener: Callable[[Sequence[Job], Collection[str]], None]) -> None:
        self._ended_listener = listener

    def _tell(self, committed: Transaction) -> None:
        for what, times in committed.counts.items():
            self.totals[what] = self.totals.get(what, 0) + times
        if committed.due and self._listener is not None:
            self._listener(committed.due)
        if committed.schedules_due:
            self.schedules.tell(committed.schedules_due)
        if committed.outbox_due:
            self.outbox.tell(committed.outbox_due)
        if committed.channels is not None:
            self.alerts.tell(committed.channels)
        if (committed.failed or committed.well) and self._ended_listener is not None:
            self._ended_listener(committed.failed, committed.well)
        if committed.news and self._news_listener is not None:
            self._news_listener(committed.news)

    async def tell_news(self, listener: Callable[[Sequence[News]], None]) -> None:
        self._news_listener = listener
        self._writer.tells = True
        # A transaction that has begun already tells nothing; this one comes after it.
        await self._writer.write(lambda _tx, nothing: nothing, None, rows=0)

    def stop_news(self) -> None:
        self._news_listener = None
        self._writer.tells = False

    async def close(self) -> None:
        await self._writer.close()
        for reader in self._readers:
            await reader.close()
        with contextlib.suppress(sqlite3.Error):  # whatever keeps it from that, there is nothing left to lose
            await self._connection.execute_fetchall("PRAGMA busy_timeout = 0")
            await self._connection.execute_fetchall(self._sql["meta_delete"], {"key": files.IN_USE})
        await self._connection.close()
        self._lock.release()

    # Jobs

    async def create_jobs(self, jobs: Sequence[Job]) -> list[Created]:
        if self._writer.waiting > MOST_WAITING:
            raise UnavailableError("more creates wait than the disk can take; nothing was written", "busy", 1)
        return await self._writer.write(self._create, jobs, rows=len(jobs))

    def _create(self, tx: Transaction, batches: list[Sequence[Job]]) -> Sequence[list[Created] | Exception]:
        if (full := self._has_room(tx, batches)) is not None:
            return [full] * len(batches)
        known = self._known(tx, [job for jobs in batches for job in jobs if job.idempotency_key])
        same = self._same(tx, [job for jobs in batches for job in jobs if job.dedupe_key])
        new: list[Job] = []
        results = []
        for jobs in batches:
            created = []
            for wanted in jobs:
                key, work = (wanted.dialect, wanted.idempotency_key), (wanted.dialect, wanted.dedupe_key)
                if wanted.idempotency_key and key in known:
                    created.append(Created(known[key], replayed=True))
                    continue
                if wanted.dedupe_key and work in same:
                    created.append(Created(same[work], replayed=False, deduplicated=True))
                    continue
                new.append(wanted)
                created.append(Created(wanted, replayed=False))
                if wanted.idempotency_key:
                    known[key] = wanted
                if wanted.dedupe_key:
                    same[work] = wanted
            results.append(created)
        numbered = {job.id: pk for job, pk in zip(new, self._insert(tx, new), strict=True) if job.dialect != NATIVE}
        return [[_numbered(one, numbered) for one in created] for created in results] if numbered else results

    def _known(self, tx: Transaction, wanted: Sequence[Job]) -> dict[tuple[str, str | None], Job]:
        """Return the jobs that hold the idempotency keys of others; a key that is free by now is let go."""
        known: dict[tuple[str, str | None], Job] = {}
        if not wanted:
            return known
        now_ms = max(job.created_ms for job in wanted)
        keys = [(job.dialect, job.idempotency_key) for job in wanted]
        for job in map(rows.job, tx.rows("jobs_by_key", {"keys": msgspec.json.encode(keys).decode()})):
            if holds_key(job, now_ms):
                known[job.dialect, job.idempotency_key] = job
            else:
                tx.each("job_key_free", [(job.pk,)])
        return known

    def _same(self, tx: Transaction, wanted: Sequence[Job]) -> dict[tuple[str, str | None], Job]:
        """Return the jobs that do, or have done, the work of others."""
        if not wanted:
            return {}
        keys = [(job.dialect, job.dedupe_key, job.created_ms - (job.dedupe_window_ms or 0)) for job in wanted]
        found = tx.rows("jobs_by_dedupe_key", {"keys": msgspec.json.encode(keys).decode()})
        return {(job.dialect, job.dedupe_key): job for job in map(rows.job, found)}

    def _insert(self, tx: Transaction, jobs: Sequence[Job]) -> list[int]:
        """Add jobs; return their keys."""
        plain, others, long, tags, pks = [], [], [], [], []
        for job in jobs:
            pk = self._next_pk(job)
            pks.append(pk)
            if len(job.body or b"") + len(job.asked or b"") > LONG:
                long.append(rows.job_values(job, pk))
            elif (few := rows.plain_job_values(job, pk)) is not None:
                plain.append(few)
            else:
                others.append(rows.job_values(job, pk))
            if job.tags:
                tags += [(tag, pk) for tag in job.tags]
            if job.status is JobStatus.SCHEDULED and job.next_attempt_ms is not None and not job.is_held:
                tx.due.append(DueEntry(job.next_attempt_ms, pk, job.lane))
            elif job.status is JobStatus.AWAITING_APPROVAL and wants(job):
                self.outbox.note(tx, job)
        if pks:
            tx.several("job_insert_plain", plain)
            tx.several("job_insert", others)
            tx.singly("job_insert", long)
            tx.count("jobs_created", "", sum(pk < FIRST_ITEM_PK for pk in pks))
            tell_jobs(tx, EventType.JOB_CREATED, pks)
        if tags:
            tx.several("job_tags_insert", tags)
        return pks

    def _next_pk(self, job: Job) -> int:
        if job.buffer_id is None:
            self._last_pk += 1
            return self._last_pk
        self._last_item_pk += 1
        return self._last_item_pk

    def _has_room(self, tx: Transaction, batches: Sequence[Sequence[Job]]) -> UnavailableError | None:
        """Say why creates may not go on, None if they may; the size is looked at only after enough has come to matter.

        The limit binds creates alone. Claims and outcomes of what is there always have room, or nothing could end.
        """
        self._unchecked += sum(ROW_BYTES + len(job.body or b"") for jobs in batches for job in jobs)
        if self._unchecked <= self._max_bytes // 16:
            return None
        if self._is_over(tx.rows("pages_used", ())[0][0]):
            return UnavailableError(
                "the store is as large as retention.max_db_size allows, and holds jobs that have not ended:"
                " nothing was written; raise it, or wait until some have ended",
                "store_full",
                60,
            )
        self._unchecked = 0
        return None

    def _is_over(self, used: int) -> bool:
        self._over = used >= self._max_bytes
        return self._over

    async def job(self, job_id: str) -> Job:
        found = await self._read("job_by_id", {"id": job_id})
        if not found:
            raise NotFoundError("job", job_id)
        return rows.job(found[0])

    async def job_by_pk(self, pk: int) -> Job:
        found = await self._read("job_by_pk", {"pk": pk}) if pk < FIRST_ITEM_PK else []
        if not found:
            raise NotFoundError("job", str(pk))
        return rows.job(found[0])

    async def job_by_key(self, dialect: str, key: str, now_ms: int) -> Job | None:
        found = await self._read("jobs_by_key", {"keys": msgspec.json.encode([(dialect, key)]).decode()})
        return next((job for job in map(rows.job, found) if holds_key(job, now_ms)), None)

    async def jobs_from(self, where: JobFilter, *, order: JobOrder, offset: int, limit: int) -> list[Job]:
        values, more = _conditions(where)
        values |= {"before_pk": FIRST_ITEM_PK, "limit": limit, "offset": offset}
        sizes = await self._read("job_sizes_from", values, more, ORDERS[order])
        found = await self._read("jobs_from", values | {"limit": that_fit(sizes)}, more, ORDERS[order])
        return [rows.job(row) for row in found]

    async def jobs_by_time(self, where: JobFilter, *, limit: int) -> tuple[list[Job], Place | None]:
        values, more = _conditions(where)
        values |= {"before_pk": FIRST_ITEM_PK, "limit": limit + 1}
        sizes = await self._read("job_sizes_by_time", values, more)
        count = that_fit([(pk, size) for pk, size, _ in sizes[:limit]])
        pks = [pk for pk, _, _ in sizes[:count]]
        found = await self._read("jobs_of_a_time", {"pks": msgspec.json.encode(pks).decode()})
        beyond = Place(sizes[count - 1][2], sizes[count - 1][0]) if count < len(sizes) else None
        return [rows.job(row) for row in found], beyond

    async def count_jobs(self, where: JobFilter) -> int:
        values, more = _conditions(where)
        times = [sql for name, sql in TIMES.items() if values[name] is not None]
        found = await self._read("jobs_counted", values | {"before_pk": FIRST_ITEM_PK}, " ".join([more, *times]))
        return int(found[0][0])

    async def executions_from(
        self, job_pk: int | None, *, offset: int, limit: int, newest_first: bool = True
    ) -> list[Execution]:
        values = {"job_pk": job_pk, "before_pk": FIRST_ITEM_PK, "offset": offset, "limit": limit}
        way = "DESC" if newest_first else "ASC"
        found = await self._read("executions_in_order", values, order=f"ORDER BY job_pk {way}, attempt_num {way}")
        return [rows.execution(row) for row in found]

    async def jobs(self, where: JobFilter, *, before_pk: int | None, limit: int) -> Page:
        values, more = _conditions(where)
        before_pk = FIRST_ITEM_PK if before_pk is None else min(before_pk, FIRST_ITEM_PK)
        values |= {"before_pk": before_pk, "limit": limit + 1}
        sizes = await self._read("job_sizes_newest_first", values, more)
        count = that_fit(sizes[:limit])
        if not count:
            return Page([], None)
        # What is created meanwhile is newer than the first, and belongs on no page after it.
        last_pk = sizes[count - 1][0]
        values |= {"before_pk": sizes[0][0] + 1, "limit": count}
        found = await self._read("jobs_newest_first", values, f"AND pk >= {last_pk} {more}")
        return Page([rows.job(row) for row in found], last_pk if count < len(sizes) else None)

    async def change_job(self, job_id: str, change: Callable[[Job], Job]) -> Job:
        return await self._writer.write(self._change, _Change(job_id, change))

    def _change(self, tx: Transaction, changes: list[_Change]) -> list[Job | Exception]:
        return [self._change_one(tx, change) for change in changes]

    def _change_one(self, tx: Transaction, wanted: _Change) -> Job | Exception:
        found = tx.rows("job_by_id", {"id": wanted.job_id})
        if not found:
            return NotFoundError("job", wanted.job_id)
        old = rows.job(found[0])
        try:
            new = wanted.change(old)
        except FliqdError as err:
            return err
        if new.idempotency_key != old.idempotency_key and self._known(tx, [new]):
            return ConflictError(f'another job is called "{new.idempotency_key}"', "name_taken")
        if not self._replace(tx, old, new):
            return ConflictError(f"job {wanted.job_id} has just changed; read it again")
        return new

    def _replace(self, tx: Transaction, old: Job, new: Job) -> bool:
        """Write a job that is not running anew; False if it has moved on since it was read."""
        fence = (old.pk, str(old.status), old.executions)
        if not tx.rows("job_replace", (*rows.job_values(new, new.pk), *fence)):
            return False
        if new.tags != old.tags:
            tx.each("job_tags_delete", [(old.pk,)])
            tx.each("job_tags_insert", [(tag, old.pk) for tag in new.tags])
        entry = rows.due_entry(new)
        if entry is not None:
            tx.due.append(entry)
        elif new.is_held and new.schedule_id is not None:
            schedules.release(tx, new.schedule_id)
        if new.status in FINAL and old.status is not new.status:
            schedules.ended(tx, [(new.schedule_id, new.pk, new.status)])
            self.outbox.note(tx, new)
        else:
            tell_jobs(tx, EventType.JOB_UPDATED, [new.pk])
        return True

    def _ended(self, tx: Transaction, jobs: Sequence[schedules.Ended]) -> None:
        """See to what follows when a statement has ended jobs."""
        schedules.ended(tx, jobs)
        self.outbox.note_all(tx, [pk for _, pk, _ in jobs])

    async def executions(self, job_id: str) -> list[Execution]:
        job = await self.job(job_id)
        found = await self._read("executions_by_job", {"job_pk": job.pk})
        return [rows.execution(row) for row in found]

    # What the engine asks for

    async def due_page(
        self, *, start: tuple[int, int], limit: int, until_ms: int | None = None, lane: str | None = None
    ) -> list[DueEntry]:
        from_ms, from_pk = start
        values = {
            "from_ms": from_ms,
            "from_pk": from_pk,
            "until_ms": until_ms,
            "lane": lane,
            "limit": limit,
            "held_ms": HELD_MS,
        }
        found = await self._read("due_page" if lane is None else "due_page_of_lane", values)
        return [rows.due(row) for row in found]

    # Room

    async def delete_finished(self, *, before_ms: int | None, limit: int) -> int:
        return await self._writer.write(self._delete_finished, (before_ms, limit), rows=limit)

    def _delete_finished(self, tx: Transaction, wanted: list[tuple[int | None, int]]) -> list[int]:
        counts = []
        for before_ms, limit in wanted:
            deleted = tx.rows("finished_delete", {"before_ms": before_ms, "limit": limit})
            counts.append(len(deleted))
            self.outbox.forget_jobs(tx, [job_id for _, job_id in deleted])
        if any(counts):
            tx.each("last_pk_keep", [(str(self._last_pk), str(self._last_item_pk))])
        return counts

    async def give_back(self) -> bool:
        free: int = (await self._read("pages_free", {}))[0][0]
        return free > PAGES_KEPT and await self._writer.write(self._give_back, free - PAGES_KEPT)

    def _give_back(self, tx: Transaction, wanted: list[int]) -> list[bool]:
        for _ in range(min(max(wanted), PAGES_AT_ONCE)):
            tx.rows("pages_give_back", ())
        return [pages > PAGES_AT_ONCE for pages in wanted]

    async def expire_unapproved(self, *, now_ms: int, limit: int) -> int:
        return await self._writer.write(self._expire_unapproved, (now_ms, limit), rows=limit)

    def _expire_unapproved(self, tx: Transaction, wanted: list[tuple[int, int]]) -> list[int]:
        counts = []
        for now_ms, limit in wanted:
            error = f"{ErrorCode.EXPIRED}: nobody approved it before expires_at"
            expired = tx.rows("jobs_expire_unapproved", {"now_ms": now_ms, "limit": limit, "error": error})
            self._ended(tx, expired)
            counts.append(len(expired))
        return counts

    async def first_unapproved_expiry_ms(self) -> int | None:
        found: int | None = (await self._read("unapproved_first_expiry", {}))[0][0]
        return found

    async def oldest_finish_ms(self) -> int | None:
        found: int | None = (await self._read("finished_oldest", {}))[0][0]
        return found

    async def nth_newest_finish_ms(self, n: int) -> int | None:
        found = await self._read("finished_nth_newest", {"n": n})
        return found[0][0] if found else None

    async def counts(self, *, since_ms: int) -> Counts:
        values = {"since_ms": since_ms, "first_item_pk": FIRST_ITEM_PK, "held_ms": HELD_MS}
        return Counts(*(await self._read("counts", values))[0])

    async def used_bytes(self) -> int:
        used = int((await self._read("pages_used", {}))[0][0])
        self._is_over(used)
        return used

    @property
    def changes(self) -> int:
        return self._writer.commits

    @property
    def writes(self) -> Writer:
        return self._writer

    @property
    def blocked(self) -> str | None:
        return self._writer.blocked

    async def probe(self) -> None:
        await self._writer.write(self._probe, PROBE_BYTES)
        await self._writer.write(self._probe, 0)

    def _probe(self, tx: Transaction, sizes: list[int]) -> list[None]:
        tx.each("probe", [("." * size,) for size in sizes])
        return [None] * len(sizes)

    # Itself

    async def check(self) -> None:
        try:
            if faults := await scrub.faults(self._path):
                raise self._writer.end(files.damaged("the store", "; ".join(faults)))
        except (*files.ERRORS, RuntimeError) as err:
            if self._is_in_place() and scrub.lacks_means(err):
                raise UnavailableError(
                    f"there was no room for one more connection to it: {err}", "not_checked"
                ) from err
            raise self._writer.mishap(err) from err

    async def ping(self) -> None:
        # One thread a time: an idle machine is not woken for all of them at once.
        await next(self._pinged).execute_fetchall("SELECT 1")
        if not self._is_in_place():
            self._writer.end(files.out_of_place(self._path))

    def _is_in_place(self) -> bool:
        """Tell whether the files that are open are those that a start would find."""
        try:
            return files.identity(self._path) == self._identity
        except OSError:
            return True  # what that means, its reads and writes will tell

    def size_bytes(self) -> int:
        size = 0
        for suffix in ("", "-wal"):
            try:
                size += self._path.with_name(self._path.name + suffix).stat().st_size
            except FileNotFoundError:
                continue  # no write yet, no WAL
        return size

    async def _read(self, name: str, values: dict[str, Any], more: str = "", order: str = "") -> list[Any]:
        try:
            sql = self._sql[name].replace("/* more */", more).replace("/* order */", order)
            return list(await next(self._turn).execute_fetchall(sql, values))
        except files.ERRORS as err:
            raise self._writer.mishap(err) from err


def _conditions(where: JobFilter) -> tuple[dict[str, Any], str]:
    """Return the values of a filter, and the conditions that it adds."""
    values = msgspec.structs.asdict(where)
    values["status"] = None if where.status is None else str(where.status)
    return values, " ".join(sql for name, sql in FILTERS.items() if values[name] is not None)


def _numbered(created: Created, pks: Mapping[str, int]) -> Created:
    """Put in the key that a job has just got, which some of the stand-in APIs show."""
    job = created.job
    return msgspec.structs.replace(created, job=msgspec.structs.replace(job, pk=pks.get(job.id, job.pk)))


def _checkpoint_pages(path: Path) -> int:
    """Return after how many pages the log of writes is emptied into the file: SQLite's 1000, fewer on a small disk.

    When a disk is full, what is in the log needs its space a second time before any is given back.
    """
    disk = os.statvfs(path)
    return max(50, min(1000, disk.f_bavail * disk.f_frsize // 64 // PAGE_BYTES))


def _place(path: Path) -> Path:
    """Return the real path of the store, in a directory that is there."""
    path = path.resolve()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


async def _connect(uri: str) -> aiosqlite.Connection:
    return await aiosqlite.connect(uri, uri=True, isolation_level=None, cached_statements=256)
