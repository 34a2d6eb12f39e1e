"""What tests of schedules do again and again, as a user would."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import Answer, RunningDaemon, Target, until


class Schedules:
    """Asks a daemon about its schedules."""

    def __init__(self, fliqd: RunningDaemon, target: Target) -> None:
        self.fliqd = fliqd
        self.target = target

    async def create(self, **asked: Any) -> str:
        """Create a schedule that must be accepted, to the target unless it says where to; return its id."""
        answer = await self.ask("POST", "", {"url": self.target.url, **asked})
        assert answer.status == 201, answer.body
        return str(answer.body["id"])

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return await self.fliqd(method, f"/v1/schedules{path}", body)

    async def get(self, schedule_id: str) -> dict[str, Any]:
        answer = await self.ask("GET", f"/{schedule_id}")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.body
        return found

    async def do(self, schedule_id: str, what: str) -> dict[str, Any]:
        answer = await self.ask("POST", f"/{schedule_id}/{what}")
        assert answer.status in (200, 201), answer.body
        found: dict[str, Any] = answer.body
        return found

    async def change(self, schedule_id: str, **asked: Any) -> dict[str, Any]:
        answer = await self.ask("PATCH", f"/{schedule_id}", asked)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.body
        return found

    async def jobs(self, schedule_id: str) -> list[dict[str, Any]]:
        """Return its jobs, oldest first."""
        found: list[dict[str, Any]] = (await self.ask("GET", f"/{schedule_id}/jobs?limit=100")).body["jobs"]
        return found[::-1]

    async def missed(self, schedule_id: str) -> list[tuple[str, str, int, str]]:
        """Return what it missed, newest first: the times of day, how many, and why."""
        found = (await self.ask("GET", f"/{schedule_id}/missed?limit=100")).body["missed"]
        return [(one["first_at"][11:16], one["last_at"][11:16], one["count"], one["reason"]) for one in found]

    async def next(self, schedule_id: str, count: int = 5) -> list[str]:
        runs: list[str] = (await self.ask("GET", f"/{schedule_id}/next?count={count}")).body["runs"]
        return runs

    async def moved_past(self, schedule_id: str) -> dict[str, Any]:
        """Wait until nothing of it is due any more; return it."""

        async def settled() -> dict[str, Any] | None:
            found = await self.get(schedule_id)
            due_at = found["next_run_at"]
            now = (await self.fliqd("GET", "/v1/status")).body["time"]
            return found if due_at is None or due_at > now else None

        return await until(settled, f"the settling of {schedule_id}")

    async def ended(self, schedule_id: str, count: int, status: str = "success") -> list[dict[str, Any]]:
        """Wait until that many of its jobs have come to this end; return them, oldest first."""

        async def there() -> list[dict[str, Any]] | None:
            found = [job for job in await self.jobs(schedule_id) if job["status"] == status]
            return found if len(found) >= count else None

        return await until(there, f"{count} jobs of {schedule_id} in {status}")

    async def away(self, **time: float) -> None:
        """Stop the daemon, let time pass, and start it."""
        await self.fliqd.stop()
        self.fliqd.clock.advance(timedelta(**time))
        await self.fliqd.start()

    def advance(self, **time: float) -> None:
        self.fliqd.clock.advance(timedelta(**time))


@pytest.fixture
def schedules(fliqd: RunningDaemon, target: Target) -> Schedules:
    return Schedules(fliqd, target)


def at(jobs: list[dict[str, Any]]) -> list[str]:
    """Return the times of day at which jobs were due."""
    return [job["scheduled_at"][11:16] for job in jobs]
