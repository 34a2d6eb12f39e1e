"""The part of the store contract that is about the outbox, kept by the same writer and readers."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from fliqd.core.answers import Answer
from fliqd.core.deliveries import Delivery, DeliveryStatus, Tried
from fliqd.core.due_heap import DueEntry
from fliqd.core.model import HELD_MS, Job, JobStatus
from fliqd.core.notices import notices, wants
from fliqd.store.base import DeliveryFilter
from fliqd.store.sqlite import rows
from fliqd.store.sqlite.queries import Read
from fliqd.store.sqlite.writer import Transaction, Writer

BEFORE_ALL: Final = (1 << 63) - 1


class SqliteOutbox:
    """See `store.base.Outbox` for what each operation promises.

    Notices are written in the transaction that changes a job: by `note` where the job is at hand as it stands then, by
    `note_all` where a statement has changed many.
    """

    def __init__(self, writer: Writer, read: Read, new_id: Callable[[], str]) -> None:
        self._writer = writer
        self._read = read
        self._new_id = new_id
        self._listener: Callable[[Sequence[DueEntry]], None] | None = None

    def on_due(self, listener: Callable[[Sequence[DueEntry]], None]) -> None:
        self._listener = listener

    def tell(self, due: Sequence[DueEntry]) -> None:
        """Tell the listener what a commit has changed."""
        if self._listener is not None:
            self._listener(due)

    # Within the transactions of jobs

    def note(self, tx: Transaction, job: Job, *, answer: Answer | None = None, due_ms: int | None = None) -> None:
        """Write what is told of a job that has just come to where it stands, to leave at once.

        `due_ms` is a time that has surely come, where `updated_ms` was reckoned and not read from the clock.
        """
        for notice in notices(job, answer):
            due = job.updated_ms if due_ms is None else due_ms
            written = tx.rows("outbox_insert", rows.outbox_values(notice, self._new_id(), due, job.updated_ms))
            _offer(tx, written)

    def note_all(self, tx: Transaction, pks: Sequence[int]) -> None:
        """Do so for jobs that have just changed; those that have failed are news to others too."""
        if not pks:
            return
        for job in map(rows.job, tx.rows("jobs_told", {"pks": msgspec.json.encode(pks).decode()})):
            if job.status is JobStatus.FAILED:
                tx.failed.append(job)
            if wants(job):
                self.note(tx, job)

    def unsay(self, tx: Transaction, jobs: Sequence[Job]) -> None:
        """Take back that jobs have started, where that has not been told."""
        if jobs:
            tx.each("outbox_unsay", [(job.id, len(list(notices(job)))) for job in jobs])

    def forget_jobs(self, tx: Transaction, job_ids: Sequence[str]) -> None:
        """Delete what was told of jobs that are deleted."""
        if job_ids:
            tx.run("outbox_forget_jobs", {"job_ids": msgspec.json.encode(job_ids).decode()})

    # On their way

    async def due_page(
        self, *, start: tuple[int, int], limit: int, until_ms: int | None = None, lane: str | None = None
    ) -> list[DueEntry]:
        name = "outbox_due_page" if lane is None else "outbox_due_page_of_lane"
        values = {
            "from_ms": start[0],
            "from_pk": start[1],
            "limit": limit,
            "until_ms": until_ms,
            "lane": lane,
            "held_ms": HELD_MS,
        }
        return [rows.due(row) for row in await self._read(name, values)]

    async def claim(self, pks: Sequence[int], *, owner: str, until_ms: int) -> list[Delivery]:
        return await self._writer.write(self._claim, (pks, owner, until_ms))

    def _claim(self, tx: Transaction, claims: list[tuple[Sequence[int], str, int]]) -> list[list[Delivery]]:
        return [
            [
                rows.delivery(row)
                for row in tx.rows(
                    "outbox_claim",
                    {"pks": msgspec.json.encode(pks).decode(), "owner": owner, "until_ms": until_ms},
                )
            ]
            for pks, owner, until_ms in claims
        ]

    async def finish(self, end: Tried) -> None:
        await self._writer.write(self._finish, end)

    def _finish(self, tx: Transaction, ends: list[Tried]) -> list[None]:
        for end in ends:
            delivery = end.delivery
            values = {
                "pk": delivery.pk,
                "owner": delivery.owner,
                "attempts": delivery.attempts,
                "status": str(end.status),
                "status_code": end.status_code,
                "last_error": end.error,
                "next_attempt_ms": end.next_attempt_ms,
                "finished_ms": end.finished_ms,
            }
            written = tx.rows("outbox_end", values)
            _offer(tx, written)
            if written and end.finished_ms is not None:
                behind = {"job_id": delivery.job_id, "kind": str(delivery.kind), "held_ms": HELD_MS}
                _offer(tx, tx.rows("outbox_release", behind | {"now_ms": end.finished_ms}))
        return [None] * len(ends)

    async def hand_back(self, *, now_ms: int) -> int:
        return await self._writer.write(self._hand_back, now_ms)

    def _hand_back(self, tx: Transaction, moments: list[int]) -> list[int]:
        counts = []
        for now_ms in moments:
            found = tx.rows("outbox_hand_back", {"now_ms": now_ms})
            _offer(tx, found)
            counts.append(len(found))
        return counts

    async def pull(self, *, by_ms: int, now_ms: int) -> None:
        await self._writer.write(self._pull, (by_ms, now_ms))

    def _pull(self, tx: Transaction, pulls: list[tuple[int, int]]) -> list[None]:
        for by_ms, now_ms in pulls:
            _offer(tx, tx.rows("outbox_pull", {"by_ms": by_ms, "now_ms": now_ms, "held_ms": HELD_MS}))
        return [None] * len(pulls)

    # Reading and forgetting

    async def page(self, where: DeliveryFilter, *, before_pk: int | None, limit: int) -> tuple[list[Delivery], bool]:
        more = ["AND status = :status"] if where.status is not None else []
        if where.status not in (None, DeliveryStatus.DELIVERED):
            more.append("AND status <> 'delivered'")  # says that the index of those will do
        more += ["AND job_id = :job_id"] if where.job_id is not None else []
        values = {
            "before_pk": BEFORE_ALL if before_pk is None else before_pk,
            "limit": limit + 1,
            "status": None if where.status is None else str(where.status),
            "job_id": where.job_id,
        }
        found = await self._read("outbox_newest_first", values, " ".join(more))
        return [rows.delivery(row) for row in found[:limit]], len(found) > limit

    async def forget(self, *, before_ms: int, limit: int) -> int:
        return await self._writer.write(self._forget, (before_ms, limit), rows=limit)

    def _forget(self, tx: Transaction, items: list[tuple[int, int]]) -> list[int]:
        return [len(tx.rows("outbox_forget", {"before_ms": before_ms, "limit": limit})) for before_ms, limit in items]


def _offer(tx: Transaction, found: Sequence[rows.Row]) -> None:
    """Have those told of that come due, but not those that are held or have ended."""
    tx.outbox_due += [rows.due(row) for row in found if row[0] is not None and row[0] != HELD_MS]
