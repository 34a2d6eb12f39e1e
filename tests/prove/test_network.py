"""A daemon in a network of its own, where everything that can go wrong does.

Two network namespaces with a cable between them, in one the daemon, in the other every address and the only name
server; each packet is seen. Names that point to a public address on one look-up and to a private one on the next,
or to both; black holes, half-open connections, resets before, within and after an answer; packets lost by chance
(nftables), the cable pulled out again and again; a name server that is silent, lies,
denies and recovers. Needs root; elsewhere it is skipped, and says why.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.prove import network
from tests.prove.network import NOBODY, NOBODY6, NXDOMAIN, PORT, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6, SERVFAIL, World
from tests.prove.proof import Proof
from tests.support import FliqdProcess, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WHAT = {"ok": 12, "busy": 4, "half": 4, "reset": 4, "close": 4, "silent": 1, "ok and close": 4}
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    if (reason := network.why_not()) is not None:
        pytest.skip(reason)
    async with network.world(tmp_path) as made:
        yield made


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0]) if lengths else 0)


async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request."""
    while True:
        await read_request(reader)
        writer.write(OK)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read, and never answer."""
    while await reader.read(65536):
        pass


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with an RST."""
    opened: socket.socket = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def ended(fliqd: FliqdProcess, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Wait until all jobs have ended, for as long as one after the other does or tries; return them."""
    done = []
    for job in jobs:
        seen = await fliqd.job(job["id"])
        while seen["finished_at"] is None:
            before = seen["executions"]

            async def moved(job: dict[str, Any] = job, before: int = before) -> dict[str, Any] | None:
                now = await fliqd.job(job["id"])
                return now if now["finished_at"] or now["executions"] > before else None

            seen = await until(moved, f"an attempt at {job['id']}")
        done.append(seen)
    return done


async def last_error(fliqd: FliqdProcess, job: dict[str, Any]) -> str | None:
    code: str | None = (await fliqd.executions(job["id"]))[0]["error_code"]
    return code


async def test_no_look_up_leads_to_a_private_address(proof: Proof, world: World) -> None:
    """The verdict is on the address that is connected to, whatever a name said the moment before."""
    private: list[str] = []

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        private.append(str(writer.get_extra_info("peername")))

    async def busy_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(BUSY)

    await world.serve(PRIVATE, never)
    await world.serve(PRIVATE6, never)
    await world.serve(PUBLIC, well)
    await world.serve(PUBLIC6, well)
    await world.serve(PUBLIC, busy_once, PORT + 1)
    allowed = [[PUBLIC], [PUBLIC6], [PUBLIC, PUBLIC6], [PRIVATE, PUBLIC], [PUBLIC, PRIVATE], [PRIVATE6, PUBLIC],
               [NOBODY6, PUBLIC], [NOBODY, PUBLIC6]]  # fmt: skip
    refused = [[PRIVATE], [PRIVATE6], ["::ffff:" + PRIVATE], ["64:ff9b::10.77.0.1"], ["127.0.0.1"], ["::1"],
               ["169.254.169.254"], ["0.0.0.0"]]  # fmt: skip # noqa: S104
    async with world.fliqd(FLIQD_EGRESS__POLICY="public") as fliqd:
        asked: list[tuple[list[str], dict[str, Any]]] = []
        moved: list[dict[str, Any]] = []
        for number in range(proof.times(short=32, long=2_000)):
            name = f"n{number}.example"
            answer = proof.chance.choice([*allowed, *refused])
            world.names.scripts[name] = [answer]
            asked.append((answer, await fliqd.create(url=f"http://{name}:{PORT}/", delay=0)))
        for number in range(proof.times(short=4, long=40)):
            name = f"moves{number}.example"
            world.names.scripts[name] = [[PUBLIC], [PRIVATE]]
            backoff = {"kind": "fixed", "initial": 5.5}  # a look-up is remembered for five seconds
            job: dict[str, Any] = {
                "url": f"http://{name}:{PORT + 1}/",
                "delay": 0,
                "max_retries": 3,
                "backoff": backoff,
            }
            moved.append(await fliqd.create(**job))
        for answer, job in asked:
            done = await fliqd.until(job["id"], "success", "failed")
            assert (done["status"] == "success") == (answer in allowed), (answer, done["last_error"])
            if answer in refused:
                assert await last_error(fliqd, job) == "egress_denied"
        for job in moved:
            assert (await fliqd.until(job["id"], "failed"))["executions"] == 2, "a refusal is not tried again"
            codes = [one["error_code"] for one in await fliqd.executions(job["id"])]
            assert codes == ["egress_denied", "bad_status"]
    assert not private
    proof.saw(names=len(asked), names_that_moved=len(moved), connections_to_a_private_address=0)


async def test_hosts_that_hang_hold_up_no_other(proof: Proof, world: World) -> None:
    """All who are known to answer are called while the others still hang: the first attempt at these is not over."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await writer.drain()
        reset(writer)

    await world.serve(PUBLIC, silent)
    await world.serve(PUBLIC6, well)
    await world.serve(PRIVATE, well)
    await world.serve(PUBLIC, cut, PORT + 1)
    for number in range(64):
        world.names.scripts[f"hole{number}.example"] = [[NOBODY]]
        world.names.scripts[f"mute{number}.example"] = [[PUBLIC]]
        world.names.scripts[f"cut{number}.example"] = [[PUBLIC]]
        world.names.scripts[f"nowhere{number}.example"] = [None]
        world.names.scripts[f"good{number}.example"] = [[PRIVATE], [PUBLIC6]]
    async with world.fliqd(FLIQD_DISPATCH__MAX_IN_FLIGHT="64") as fliqd:
        known = [await fliqd.create(url=f"http://good{number}.example:{PORT}/", delay=0) for number in range(8)]
        await ended(fliqd, known)
        short = [
            await fliqd.create(url=f"http://{kind}{number}.example:{PORT + 1}/", delay=0, timeout_seconds=8)
            for number in range(8)
            for kind in ("cut", "nowhere")
        ]
        errors = Counter([await last_error(fliqd, job) for job in await ended(fliqd, short)])
        assert errors.keys() == {"reset", "dns"}
        hang = [
            await fliqd.create(url=f"http://{kind}{number}.example:{PORT}/", delay=0, timeout_seconds=600)
            for number in range(64)
            for kind in ("hole", "mute")
        ]
        good = [
            await fliqd.create(url=f"http://good{number % 8}.example:{PORT}/", delay=0)
            for number in range(proof.times(short=100, long=1_000))
        ]
        for job in good:
            await fliqd.until(job["id"], "success")
        over = [job for job in hang if (await fliqd.job(job["id"]))["status"] == "failed"]
        assert not over, "those who answer waited for one who does not"
    proof.saw(hosts_that_hang=len(hang), hosts_that_cut_or_have_no_name=len(short), calls_on_time=len(good))


async def test_each_recorded_attempt_is_one_request_on_the_cable(proof: Proof, world: World) -> None:
    """None leaves unrecorded, and none twice, though packets are lost and the cable is pulled out."""
    chance = random.Random(proof.chance.random())

    async def anything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            [what] = chance.choices(list(WHAT), weights=list(WHAT.values()))
            if what == "silent":
                await silent(reader, writer)
            elif what == "reset":
                reset(writer)
            elif what == "half":
                writer.write(OK[:30])
                await writer.drain()
                reset(writer)
            elif what != "close":
                writer.write(BUSY if what == "busy" else OK)
            if what != "ok":
                return

    await world.serve(PUBLIC, anything)
    await world.serve(PUBLIC6, anything)
    world.names.scripts["both.example"] = [[PUBLIC, PUBLIC6]]
    hosts = [PUBLIC, f"[{PUBLIC6}]", "both.example", NOBODY]
    unlossy = world.cable.lose(15)
    how = {"max_retries": 100, "backoff": {"kind": "fixed", "initial": 0.05, "jitter": 0}, "timeout_seconds": 3}
    recorded: dict[tuple[str, int], dict[str, Any]] = {}
    pulled = 0
    async with world.fliqd() as fliqd:
        for _ in range(proof.times(short=1, long=30)):
            jobs = [
                await fliqd.create(url=f"http://{chance.choice(hosts[:3])}:{PORT}/", delay=0, body="x" * 500, **how)
                for _ in range(proof.times(short=25, long=50))
            ]
            jobs.append(await fliqd.create(url=f"http://{NOBODY}:{PORT}/", delay=0, **how | {"max_retries": 0}))
            aim = world.requests.heads + 10

            async def some_left(aim: int = aim) -> bool | None:
                return world.requests.heads >= aim or None

            await until(some_left, "some requests")
            world.cable.pull_out()
            pulled += 1
            await asyncio.sleep(chance.uniform(0.05, 0.3))
            world.cable.plug_in()
            await ended(fliqd, jobs)
            for job in jobs:
                recorded |= {(job["id"], one["attempt_num"]): one for one in await fliqd.executions(job["id"])}
    left = world.requests.left()
    assert left.keys() <= recorded.keys(), "a request that is not recorded"
    twice = [key for key, times in left.items() if times > 1]
    assert not twice, "a request that left twice"
    answered = {key for key, one in recorded.items() if one["status_code"] is not None}
    assert answered <= left.keys()
    unconnected = {key for key, one in recorded.items() if str(one["error_code"]).startswith(("connect", "dns"))}
    assert not unconnected & left.keys()
    assert answered
    assert unconnected
    proof.saw(
        attempts=len(recorded),
        requests_on_the_cable=len(left),
        answered=len(answered),
        never_connected=len(unconnected),
        cable_pulled_out=pulled,
        packets_lost=unlossy or "15 % of what the daemon sent",
    )


async def test_a_name_server_that_fails_is_asked_again(proof: Proof, world: World) -> None:
    """Silence, lies and denials end an attempt, never a job that may try again; and each is told as what it is."""
    one_of_each, an_address = b"\x81\x80\0\x01\0\x01\0\0\0\0", b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x01\x01\x01\x01"
    other = one_of_each + b"\x05other\x07example\0\0\x01\0\x01" + an_address
    loop = one_of_each + b"\xc0\x0c\0\x01\0\x01" + an_address
    cut = b"\x81\x80\0\x01\0\x05\0\0\0\0\x01a"
    faults: dict[str, Any] = {
        "silent": None, "denied": NXDOMAIN, "broken": SERVFAIL, "empty": [], "other": other, "cut": cut, "loop": loop,
        "short": b"", "refused": 5,
    }  # fmt: skip
    await world.serve(PUBLIC, well)
    async with world.fliqd() as fliqd:
        jobs = []
        for number in range(proof.times(short=1, long=30)):
            for kind, fault in faults.items():
                name = f"{kind}{number}.example"
                world.names.scripts[name] = [fault, [PUBLIC]]
                how = {"max_retries": 20, "backoff": {"kind": "fixed", "initial": 1.1, "jitter": 0}}
                jobs.append(await fliqd.create(url=f"http://{name}:{PORT}/", delay=0, **how))
        failed = 0
        never = await fliqd.create(url=f"http://unknown.example:{PORT}/", delay=0)
        for job in jobs:
            done = await fliqd.until(job["id"], "success")
            first = (await fliqd.executions(job["id"]))[-1]
            # After silence, or what is no answer to its question, the C library may ask again by itself.
            definite = any(kind in job["url"] for kind in ("denied", "broken", "empty", "refused"))
            assert first["error_code"] == "dns" or not definite, (job["url"], first)
            failed += done["executions"] - 1
        told = (await fliqd.until(never["id"], "failed"))["last_error"]
        assert "has no address: check its spelling" in told
    proof.saw(names=len(jobs), kinds_of_failure=len(faults), failed_attempts=failed)
