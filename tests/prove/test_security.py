"""What others may see and do: pages in a browser, other users of the machine, readers of logs, backups and answers.

A page of another origin, one of a name that points here after DNS rebinding, and one of no origin try in a real
browser (Chromium, headless) whatever a page can: fetches in each mode, forms, beacons, images, scripts, streams,
sockets; against a daemon that asks for no token. One attempt may be several requests (a question whether it may, and
what it may do then), of which the refused ones are counted. Each file that a daemon makes, started with the umask 0, is
looked at.
Secrets of every kind are searched for wherever they must not be: the log at its most talkative, answers and errors,
the store's bytes, the export, the process list. The locked requirements are held against published advisories; what is
in a release, `make release` lists (a CycloneDX bill of materials).
"""

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.prove import foreign_pages
from tests.prove.foreign_pages import EVIL
from tests.prove.proof import Proof
from tests.support import FliqdProcess, Target, process, until

ROOT = Path(__file__).parents[2]
AUDIT = ROOT / ".venv/prove/bin/pip-audit"  # made by `make prove`
OPEN_UMASK = ("sh", "-c", 'umask 0; exec "$@"', "sh")


async def said(*command: str, **env: str) -> str:
    """Run a program that must succeed; return what it says."""
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(*command, env=os.environ | env, stdout=pipe, stderr=pipe)
    out, err = await run.communicate()
    assert run.returncode == 0, err.decode()
    return out.decode().strip()


async def test_no_page_of_another_origin_reads_or_changes_anything(proof: Proof, tmp_path: Path) -> None:
    program = foreign_pages.browser()
    if program is None:
        pytest.skip("there is no Chromium or Chrome here")
    async with process(tmp_path / "state", FLIQD_AUTH__MODE="none") as fliqd, foreign_pages.serve() as pages:
        (tmp_path / "state").mkdir()
        (tmp_path / "state/admin.token").touch()
        await fliqd.start()
        fliqd.token = None
        port = fliqd.url.rpartition(":")[2]
        visits = [
            (kind, name, at)
            for kind in ("page", "sandboxed")
            for name in ("127.0.0.1", "localhost", EVIL)
            for at in ("127.0.0.1", "localhost", EVIL)
        ]
        chosen = visits if proof.long else [("page", EVIL, EVIL), ("sandboxed", "localhost", "127.0.0.1")]
        attempts = 0
        for number, (kind, name, at) in enumerate(chosen):
            page = f"http://{name}:{pages.port}/{kind}?at=http://{at}:{port}"
            told = await pages.visit(program, page, tmp_path / f"profile{number}")
            assert told.pop("own") == "own", "the page itself did not work"
            assert not [how for how, came in told.items() if came.startswith("read")], (page, told)
            attempts += len(told)
        answers = (await fliqd("GET", "/metrics")).body.decode()
        refused = {
            status: int(float(line.rpartition(" ")[2]))
            for line in answers.splitlines()
            for status in ("403", "421")
            if line.startswith(f'fliqd_api_requests_total{{status="{status}"}}')
        }
        assert refused.keys() == {"403", "421"}, "the requests did not come here"
        assert (await fliqd("GET", "/v1/jobs")).body["jobs"] == []
        assert not [event for event in fliqd.log if event["event"].startswith("config.")]
    proof.saw(
        visits=len(chosen),
        attempts=attempts,
        refused_for_their_origin=refused["403"],
        refused_for_their_host=refused["421"],
        browser=await said(program, "--version"),
    )


def modes(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield what is below a folder, with what others than its owner may do."""
    for path in (folder, *folder.rglob("*")):
        yield str(path), stat.S_IMODE(path.lstat().st_mode) & 0o077


async def test_every_file_is_for_its_user_alone(proof: Proof, tmp_path: Path, target: Target) -> None:
    """The store, its log of writes, keys, lock, socket, copies, backups and what a restore puts aside."""
    ours = tmp_path / "ours"
    state = ours / "state"
    socket = ours / "api.sock"
    env = {"FLIQD_SERVER__LISTEN": f"127.0.0.1:0,unix:{socket}", "STATE_DIRECTORY": str(state)}
    ours.mkdir(mode=0o755)
    seen: dict[str, int] = {}
    fliqd = FliqdProcess(state, env, within=OPEN_UMASK)
    tool = (*OPEN_UMASK, sys.executable, "-m", "fliqd")
    try:
        await fliqd.start()
        job = await fliqd.create(url=target.url, delay=0)
        await fliqd.until(job["id"], "success")
        assert (await fliqd("POST", "/v1/signing-secret/rotate", {"overlap": "1h"})).status == 200
        assert (await fliqd("POST", "/v1/tokens", {"name": "a"})).status == 201
        seen |= dict(modes(ours))
        await said(*tool, "backup", str(ours / "copy.backup"), **env)
        await fliqd.kill()
        seen |= dict(modes(ours))
        await said(*tool, "restore", str(ours / "copy.backup"), **env)
        await fliqd.start()
        seen |= dict(modes(ours))
    finally:
        await fliqd.kill()
        await fliqd.close()
    del seen[str(ours)]
    assert {name.rpartition("/")[2] for name in seen} >= {
        "state", "api.sock", "copy.backup", "fliqd.db", "fliqd.db-wal", "fliqd.db-shm", "fliqd.db.lock", "admin.token",
        "token.key", "signing.secret", "store.marker",
    }  # fmt: skip
    assert not [name for name, others_may in seen.items() if others_may]
    proof.saw(files=len(seen))


SECRETS = {
    "header": "s3cret-header-value",
    "cookie": "s3cret-cookie-value",
    "webhook header": "s3cret-webhook-header",
    "query": "s3cret-query-value",
    "body": "s3cret-body-value",
    "channel": "s3cret-channel-path",
    "environment": "s3cret-from-the-environment",
    "file": "s3cret-from-a-file",
    "wrong header": "s3cret-with-a-line-end",
}
REFERENCES = ("environment", "file")  # never in the store, nor in any answer
HIDDEN_FROM_READERS = ("header", "cookie", "webhook header", "channel")
FILE = """
[[schedules]]
name = "declared"
every = "1h"
url = "{url}?{{env}}"
headers = {{ Authorization = "${{env:SECRET}}", X-Api-Key = "${{file:{file}}}" }}
webhook_url = "{url}"
webhook_headers = {{ X-Token = "${{env:SECRET}}" }}

[[alerts]]
name = "on-call"
type = "slack"
target = "{url}/${{env:SECRET}}"
"""


async def test_secrets_are_where_they_must_be_and_nowhere_else(proof: Proof, tmp_path: Path, target: Target) -> None:
    state, config, file = tmp_path / "state", tmp_path / "fliqd.toml", tmp_path / "secret"
    file.write_text(SECRETS["file"] + "\n")
    config.write_text(FILE.format(url=target.url, file=file).replace("?{env}", ""))
    env = {"FLIQD_LOG__LEVEL": "debug", "FLIQD_CONFIG": str(config), "SECRET": SECRETS["environment"]}
    answers: dict[str, list[str]] = {"admin": [], "read": []}
    async with process(state, **env) as fliqd:
        await fliqd.start()
        made = await lived(fliqd, target, config)
        tokens = [token["token"] for token in made["tokens"]]
        for scope, token in (("admin", fliqd.token), ("read", tokens[0])):
            fliqd.token = token
            for path in PATHS:
                answer = await fliqd("GET", path.format(**made))
                assert answer.status in (200, 403), (path, answer.body)
                answers[scope].append(json.dumps(answer.body) if isinstance(answer.body, dict) else str(answer.body))
        fliqd.token = (state / "admin.token").read_text().strip()
        assert fliqd.process is not None
        command_line = Path(f"/proc/{fliqd.process.pid}/cmdline").read_text()
        export = await said(sys.executable, "-m", "fliqd", "export", FLIQD_URL=fliqd.url, FLIQD_TOKEN=fliqd.token)
        assert await fliqd.kill(signal.SIGTERM) == 0
        log = "".join(fliqd.said)
    keys = {name: (state / name).read_text().strip() for name in ("admin.token", "token.key", "signing.secret")}
    keys |= {f"token {number}": token for number, token in enumerate(tokens)}
    keys["former signing secret"] = made["former"]
    stored = b"".join(path.read_bytes() for path in state.glob("fliqd.db*")).decode("latin-1")
    references = {name: SECRETS[name] for name in REFERENCES}
    places = {
        "the log": (log, SECRETS | keys),
        "the process list": (command_line, SECRETS | keys),
        "the store": (stored, references | keys),
        "the export": (export, references | keys),
        "what an admin is shown": ("\n".join(answers["admin"]), references | keys),
        "what a reader is shown": (
            "\n".join(answers["read"]),
            references | keys | {name: SECRETS[name] for name in HIDDEN_FROM_READERS},
        ),
        "errors": ("\n".join(made["errors"]), SECRETS | keys),
    }
    assert '"attempt.ended"' in log
    found = [(place, name) for place, (text, secrets) in places.items() for name, it in secrets.items() if it in text]
    assert not found
    assert SECRETS["header"] in stored, "a header of a job that came over the API has to be kept"
    received = "".join(str(dict(hit.headers)) for hit in target.hits)
    assert all(it in received for it in references.values()), "nothing was sent with them"
    proof.saw(secrets=len(SECRETS | keys), places=len(places), answers=len(PATHS) * 2, lines_of_the_log=len(fliqd.said))


PATHS = (
    "/v1/jobs?limit=100", "/v1/jobs/{job}", "/v1/jobs/{job}/executions", "/v1/jobs/{job}/why", "/v1/schedules",
    "/v1/schedules/{schedule}", "/v1/schedules/{schedule}/jobs", "/v1/buffers", "/v1/buffers/{buffer}",
    "/v1/buffers/{buffer}/items", "/v1/alerts", "/v1/queues", "/v1/tokens", "/v1/config", "/v1/status",
    "/v1/webhooks/deliveries", "/v1/stats/jobs", "/metrics", "/openapi.json",
)  # fmt: skip


async def lived(fliqd: FliqdProcess, target: Target, config: Path) -> dict[str, Any]:
    """Have everything happen that has to do with a secret; return what was made, and the errors that came of it."""
    headers = {"Authorization": SECRETS["header"], "Cookie": SECRETS["cookie"]}
    told = {"webhook_url": target.url, "webhook_headers": {"X-Token": SECRETS["webhook header"]}}
    url = f"{target.url}?key={SECRETS['query']}"
    asked = {"url": url, "headers": headers, "body": SECRETS["body"], **told}
    former = (await fliqd("GET", "/v1/signing-secret")).body["secret"]
    assert (await fliqd("POST", "/v1/signing-secret/rotate", {"overlap": "1h"})).status == 200
    tokens = [
        (await fliqd("POST", "/v1/tokens", {"name": scope, "scopes": [scope]})).body for scope in ("read", "write")
    ]
    channel = await fliqd("POST", "/v1/alerts", {"type": "webhook", "target": f"{target.url}/{SECRETS['channel']}"})
    assert channel.status == 201
    schedule = await fliqd("POST", "/v1/schedules", {"every": "1h", "name": "made", **asked})
    buffer = await fliqd("POST", "/v1/buffers", {"name": "b", "url": url, "headers": headers})
    await fliqd("POST", f"/v1/buffers/{buffer.body['id']}/items", {"body": SECRETS["body"]})
    job = await fliqd.create(delay=0, **asked)
    await fliqd.until(job["id"], "success")
    failed = await fliqd.create(**asked | {"url": f"http://127.0.0.1:9/{SECRETS['query']}", "delay": 0})
    await fliqd.until(failed["id"], "failed")
    [declared] = [one for one in (await fliqd("GET", "/v1/schedules")).body["schedules"] if one["name"] == "declared"]
    run = (await fliqd("POST", f"/v1/schedules/{declared['id']}/run")).body
    await fliqd.until(run["id"], "success")
    errors = [
        await fliqd("POST", "/v1/jobs", asked | {"headers": {"X": SECRETS["wrong header"] + "\n"}, "delay": 0}),
        await fliqd("POST", "/v1/jobs", asked | {"webhook_headers": {"X": SECRETS["wrong header"] + "\n"}, "delay": 0}),
        await fliqd("GET", "/v1/status", headers={"Authorization": f"Bearer {SECRETS['wrong header']}"}),
        await fliqd("POST", "/v1/alerts", {"type": "slack", "target": f"ftp://{SECRETS['channel']}/"}),
        await fliqd("POST", "/v1/jobs", data=b'{"headers": {"X": "' + SECRETS["wrong header"].encode() + b'", }'),
    ]
    right = config.read_text()
    config.write_text(right.replace("every = ", 'cron = "61 * * * *" #').replace("X-Token = ", '"X T" = '))
    errors.append(await fliqd("POST", "/v1/config/reload"))
    config.write_text(right)
    assert all(error.status in (400, 401) for error in errors), errors

    async def webhooks_told() -> bool | None:
        waiting = (await fliqd("GET", "/v1/webhooks/deliveries?status=pending")).body["deliveries"]
        return not waiting or None

    await until(webhooks_told, "the webhooks")
    return {
        "job": job["id"], "schedule": schedule.body["id"], "buffer": buffer.body["id"], "tokens": tokens,
        "former": former, "errors": [json.dumps(error.body) for error in errors],
    }  # fmt: skip


async def test_no_advisory_names_what_is_locked(proof: Proof) -> None:
    if not proof.long:
        pytest.skip("asks a registry: make prove")
    if not AUDIT.exists():
        pytest.skip("pip-audit is not installed: make prove")
    for lock in sorted(ROOT.glob("requirements*.lock")):
        pipe = asyncio.subprocess.PIPE
        options = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
        run = await asyncio.create_subprocess_exec(AUDIT, "-r", str(lock), *options, stdout=pipe, stderr=pipe)
        out, err = await run.communicate()
        if not out:
            pytest.skip(f"no advisories can be had here: {err.decode()[-200:]}")
        locked = json.loads(out)["dependencies"]
        unknown = [one["name"] for one in locked if "skip_reason" in one]
        if unknown:
            proof.saw(not_tried="the registry here has no advisories")
            pytest.skip(f"the registry here has no advisories, as of {unknown[0]}")
        assert not [one for one in locked if one["vulns"]]
        proof.saw(locks=1, packages=len(locked))
