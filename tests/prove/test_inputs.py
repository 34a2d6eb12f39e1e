"""Whatever is sent, each parser returns or refuses in the way it says, and what it returns is what it must be.

Sixteen parsers: cron, durations, times, sizes, URLs, headers, documents of every kind, the configuration, references,
cursors and parameters, `Retry-After`, egress entries, answers of targets in any pieces. A kept corpus goes through
each, then what chance makes of it. In the long form a fuzzer that looks at which lines an input reaches (Atheris)
works on each for a minute (`PROVE_FUZZ_S` sets another number of seconds), and Schemathesis on every OpenAPI document
that a running daemon has, but for tokens, of which it would revoke its own, and events, which have no end. What the C
library makes of DNS answers is not ours: a lying name server is part of the network.
"""

import asyncio
import os
import random
import re
import sysconfig
from pathlib import Path

import pytest

from tests.prove import corpora
from tests.prove.parsers import PARSERS
from tests.prove.proof import Proof
from tests.support import FliqdProcess, process

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv/prove/bin"  # made by `make prove`
AT_ONCE = 2
DOCUMENTS = ("", "/fliq", "/fliq/v1", "/booper", "/dispatchq", "/quedup")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
)  # fmt: skip
PIECES = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"9" * 30, b"-1", b"1e999", b"\r\n", b"${env:", b"$${", b"%", b"[" * 50, b'"',
    b"\\u0000", b"\xc3\xa9", b"*/", b"#5", b"L", b":60", b"Z", b"+25:00", b"://", b"@", b"[::1]", b"null", b"{}",
)  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return an input that differs a little."""
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice([0, 0, 1, 3, 20]))
        other = chance.choice([chance.choice(PIECES), bytes([chance.randrange(256)]), data[to : to + 8] * 2, b""])
        data = data[:at] + other + data[to:]
    return data


@pytest.mark.parametrize("name", PARSERS)
def test_parsers_refuse_or_are_right(proof: Proof, name: str) -> None:
    parser, kept = PARSERS[name], corpora.read(name)
    assert kept
    for data in kept:
        parser(data)
    tries = proof.times(short=200, long=20_000)
    for _ in range(tries):
        data = mutated(proof.chance.choice(kept), proof.chance)
        try:
            parser(data)
        except Exception as err:
            raise AssertionError(f"found; keep it in tests/prove/corpus/{name}.txt: {data!r}") from err
    proof.saw(parsers=1, kept_inputs=len(kept), mutated_inputs=tries)


async def run(*command: object, **env: str) -> tuple[int, str]:
    """Run a tool; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=os.environ | env,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode("utf-8", "replace")


async def test_a_fuzzer_finds_nothing(proof: Proof, tmp_path: Path) -> None:
    if not proof.long:
        pytest.skip("minutes: make prove")
    seconds = int(os.environ.get("PROVE_FUZZ_S") or 60)
    paths = os.pathsep.join((str(ROOT), sysconfig.get_path("purelib")))
    if (await run(TOOLS / "python", "-c", "import atheris"))[0] != 0:
        pytest.skip("there is no Atheris for this Python")
    turns = asyncio.Semaphore(AT_ONCE)
    findings: list[str] = []

    async def fuzz(name: str) -> None:
        async with turns:
            command = (TOOLS / "python", "-m", "tests.prove.fuzz", name, seconds, tmp_path / name)
            code, said = await run(*command, PYTHONPATH=paths)
        crashes = [file.read_bytes() for file in (tmp_path / name).iterdir() if file.name.startswith("crash")]
        if code != 0:
            findings.append(f"{name}: {crashes or said[-2000:]}")
            return
        [executed] = re.findall(r"number_of_executed_units: (\d+)", said)
        proof.saw(parsers=1, inputs_tried=int(executed))

    await asyncio.gather(*(fuzz(name) for name in PARSERS))
    assert not findings
    proof.saw(seconds_each=str(seconds))


async def documents(fliqd: FliqdProcess) -> list[str]:
    """Return the paths of the OpenAPI documents that it has."""
    paths = [f"{base}/openapi.json" for base in DOCUMENTS]
    return [path for path in paths if (await fliqd("GET", path)).status == 200]


async def test_no_request_that_a_document_allows_or_forbids_breaks_it(proof: Proof, tmp_path: Path) -> None:
    if not proof.long:
        pytest.skip("minutes: make prove")
    tool = TOOLS / "schemathesis"
    if not tool.exists():
        pytest.skip("Schemathesis is not installed: make prove")
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        found = await documents(fliqd)
        assert len(found) == len(DOCUMENTS), f"one is missing: {found}"
        for path in found:
            code, said = await run(
                tool,
                *("run", fliqd.url + path, "--header", f"Authorization: Bearer {fliqd.token}"),
                *("--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing,stateful"),
                *("--exclude-path-regex", "/tokens/|/events$"),  # it would revoke its own; and these have no end
                *("--max-examples", 50, "--workers", 1, "--seed", proof.seed, "--no-color"),
            )
            assert code == 0, said[-5000:]
            cases = re.search(r"(\d+) generated, (\d+) passed", said)
            assert cases is not None, said[-2000:]
            assert cases[1] == cases[2]
            proof.saw(documents=1, requests=int(cases[1]))
        assert (await fliqd("GET", "/readyz")).status == 200
        assert not [event for event in fliqd.log if event["level"] in ("error", "critical")]
