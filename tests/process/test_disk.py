"""A disk that is full, or fails: nothing acknowledged is lost, what cannot go on says so."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import aiohttp.web
import pytest

from tests.support import Target, delivery_ids, process, until

MIB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB, most of it taken by a file that can be removed."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(mount)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    (mount / "ballast").write_bytes(bytes(3 * MIB // 2))
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)  # noqa: S607 -- wherever it is


async def test_a_full_disk_stops_nothing_for_good(small_disk: Path, target: Target) -> None:
    """Full: 503 and Retry-After, not ready, outcomes wait. Freed: everything goes on, nothing was lost."""
    async with process(small_disk / "state") as fliqd:
        await fliqd.start()
        released = target.hold()
        under_way = await fliqd.create(url=target.url, delay=0)
        await target.received(1)
        accepted = [under_way["id"]]
        while (
            answer := await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": "1s", "body": "x" * 50_000})
        ).status == 201:
            accepted.append(answer.body["id"])
        assert (answer.status, answer.code) == (503, "disk_full")
        assert int(answer.headers["Retry-After"]) > 0
        while (await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": "1h"})).status == 201:
            pass  # until not even a small one fits
        assert (await fliqd("GET", "/readyz")).status == 503
        assert (await fliqd("GET", "/healthz")).status == 200
        assert (await fliqd("GET", "/v1/status")).body["status"] == "failing"
        released.set()

        async def waits() -> bool | None:
            return any(event["event"] == "attempt.record_waits" for event in fliqd.log) or None

        await until(waits, "an outcome that waits for space")
        assert (await fliqd.job(under_way["id"]))["status"] == "running"

        (small_disk / "ballast").unlink()
        for job_id in accepted:
            await fliqd.until(job_id, "success")
        assert (await fliqd("GET", "/readyz")).status == 200
        await fliqd.create(url=target.url, delay="1h")
    assert sorted(delivery_ids(target.hits)) == sorted(accepted)


async def test_a_disk_that_fails_ends_the_process(tmp_path: Path, target: Target) -> None:
    """Writes that the system refuses are no acknowledgement; what was acknowledged is there at the next start."""
    state = tmp_path / "state"
    async with process(state) as fliqd:
        await fliqd.start()
        first = await fliqd.create(url=target.url, delay="1h")
        assert fliqd.process is not None
        size = max(file.stat().st_size for file in state.iterdir()) + 100_000
        resource.prlimit(fliqd.process.pid, resource.RLIMIT_FSIZE, (size, size))
        acknowledged = [first["id"]]
        refused = 0
        try:
            while refused == 0:
                answer = await fliqd("POST", "/v1/jobs", {"url": target.url, "delay": "1h", "body": "x" * 20_000})
                if answer.status == 201:
                    acknowledged.append(answer.body["id"])
                else:
                    assert answer.status == 503
                    refused += 1
        except aiohttp.ClientError:
            refused += 1
        assert await fliqd.ended() == 74
        assert "the disk failed" in fliqd.said[-1]
        await fliqd.start()
        for job_id in acknowledged:
            await fliqd.job(job_id)
