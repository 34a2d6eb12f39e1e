"""The pages are true: their links lead somewhere, their commands run, their tables name what there is."""

import asyncio
import os
import re
import runpy
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from fliqd import config as configuration
from fliqd.api.jobs import TIMES
from fliqd.cli import errors as cli_errors
from fliqd.cli.main import INTERRUPTED, PIPE_CLOSED, cli
from fliqd.core.channels import TYPES, ChannelDraft
from fliqd.core.deliveries import DeliveryStatus
from fliqd.core.delivery import ErrorCode
from fliqd.core.drafts import EVENTS, JobDraft
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.errors import FliqdError
from tests import cli_reference
from tests.pages import Block, blocks_of, edited, to_run
from tests.support import FliqdProcess, RunningDaemon, Target, process, until

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in ROOT.glob("**/*.md") if not {".venv", ".pytest_cache", "build"} & set(page.parts))
PROXY = ROOT / "docs/how-to/behind-a-proxy.md"
SECRETS = ROOT / "docs/how-to/secrets.md"
GUIDES = [
    page
    for page in sorted((ROOT / "docs").glob("**/*.md"))
    if any(block.language == "toml" for block in blocks_of(page))
]
EXIT_CODES = ROOT / "docs/reference/exit-codes.md"
RUN = [page for page in sorted((ROOT / "docs").glob("**/*.md")) if to_run(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_reference_names_every_field_filter_and_error() -> None:
    text = (ROOT / "docs/reference/api.md").read_text()
    drafts = (JobDraft, ScheduleDraft, ChannelDraft)
    names = [name for draft in drafts for name in draft.__struct_fields__]
    names += [*TIMES, *EVENTS, *TYPES, *DeliveryStatus, *ErrorCode]
    assert [name for name in names if f"`{name}`" not in text and f"{name}`" not in text] == []


def test_the_reference_of_the_command_line_has_every_command_and_option() -> None:
    """`python -m tests.cli_reference` writes its tables anew."""
    page = cli_reference.PAGE.read_text()
    assert page == cli_reference.renewed(page)


@dataclass
class Shows:
    """The target of the README, that shows what comes to it."""

    process: asyncio.subprocess.Process
    url: str

    async def said(self) -> str:
        """End it, and return what it has shown."""
        self.process.terminate()
        shown, lines = await self.process.communicate()
        return (shown + lines).decode()


@pytest.fixture
async def shows() -> AsyncIterator[Shows]:
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "docs/target.py", "0", stdout=pipe, stderr=pipe
    )
    assert running.stdout is not None
    line = (await running.stdout.readline()).decode()
    yield Shows(running, line.split()[3])
    if running.returncode is None:
        running.kill()
        await running.communicate()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
async def test_the_first_job_of_the_readme(tmp_path: Path, shows: Shows) -> None:
    """Its curl and its two CLI lines, word for word but for the port and the place of the state."""
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    curl = next(block for block in blocks if "curl" in block)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(".venv/bin/fliqd jobs")]
    assert len(lines) == 2
    assert "python3 docs/target.py\n" in blocks
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        script = "\n".join([curl.replace('"5s"', '"0s"'), *lines])
        script = script.replace("~/.local/state/fliqd", str(fliqd.state_dir)).replace(
            "http://127.0.0.1:3547", fliqd.url
        )
        script = script.replace("http://127.0.0.1:8000", shows.url)
        script = script.replace(".venv/bin/fliqd", f"{sys.executable} -m fliqd")
        env = os.environ | {"STATE_DIRECTORY": str(fliqd.state_dir), "FLIQD_URL": fliqd.url}
        shell = await asyncio.create_subprocess_exec(
            "bash", "-euc", script, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said, complained = await shell.communicate()
        assert shell.returncode == 0, complained.decode()
        ids = re.findall(r"job_[0-9a-z]{26}", said.decode())
        assert len(ids) >= 3
        await fliqd.until(ids[0], "success")
    assert '"POST /hello HTTP/1.1" 200' in await shows.said()


async def test_what_config_init_begins_with_succeeds_at_the_target_of_the_readme(tmp_path: Path, shows: Shows) -> None:
    file = tmp_path / "fliqd.toml"
    starter = (ROOT / "fliqd/cli/starter.toml").read_text().replace("http://127.0.0.1:8000", shows.url)
    settings, _, schedule = starter.partition("#[[schedules]]")
    file.write_text(f"{settings}[[schedules]]{schedule.replace(chr(10) + '#', chr(10))}")
    async with process(tmp_path / "state", FLIQD_CONFIG=str(file)) as fliqd:
        await fliqd.start()
        [made] = (await fliqd("GET", "/v1/schedules")).body["schedules"]
        job = (await fliqd("POST", f"/v1/schedules/{made['id']}/run")).body
        await fliqd.until(job["id"], "success")
    assert '"POST /backup HTTP/1.1" 200' in await shows.said()


def toml_of(page: str) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "text",
    [
        *toml_of("README.md"),
        *toml_of("docs/reference/configuration.md"),
        "\n".join(
            line.removeprefix("# ")
            for line in (ROOT / "config.example.toml")
            .read_text()
            .partition("# What the file declares")[2]
            .splitlines()[1:]
        ),
    ],
)
def test_the_entries_on_the_pages_are_right(tmp_path: Path, text: str) -> None:
    file = tmp_path / "fliqd.toml"
    secret = tmp_path / "slack-url"
    secret.write_text("https://hooks.slack.com/services/x\n")
    file.write_text(text.replace("/run/credentials/fliqd.service/slack-url", str(secret)))
    config = configuration.load(str(file), {"BACKUP_TOKEN": "t"})
    assert config.declared.schedules[0].schedule.name == "nightly-backup"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_configuration_on_the_pages_is_right(page: Path, tmp_path: Path) -> None:
    credentials = {"slack-url": "https://hooks.slack.com/services/x\n"}

    def credential(match: re.Match[str]) -> str:
        secret = tmp_path / match[1]
        secret.write_text(credentials.get(match[1], "whsec_c2VjcmV0\n"))
        return str(secret)

    for block in blocks_of(page):
        if block.language == "toml" and block.remark != "not run" and "[" in block.text:
            file = tmp_path / "fliqd.toml"
            file.write_text(re.sub(r"/run/credentials/fliqd.service/([\w-]+)", credential, block.text))
            configuration.load(str(file), {"BACKUP_TOKEN": "t"})


async def test_the_file_of_the_readme_is_applied(tmp_path: Path) -> None:
    """Its commands, word for word but for the place of the program."""
    [text] = toml_of("README.md")
    readme = (ROOT / "README.md").read_text()
    lines = re.findall(r"^\.venv/bin/fliqd config .*$", readme, re.MULTILINE)
    assert [line.split()[2] for line in lines] == ["check", "diff", "apply"]
    file = tmp_path / "fliqd.toml"
    file.write_text("")
    async with process(tmp_path / "state", FLIQD_CONFIG=str(file)) as fliqd:
        await fliqd.start()
        file.write_text(text)
        script = "\n".join(lines)
        script = re.sub(r"\s+#.*", "", script.replace(".venv/bin/fliqd", f"{sys.executable} -m fliqd"))
        script = script.replace("config diff", "config diff || echo differs")
        env = os.environ | {"STATE_DIRECTORY": str(fliqd.state_dir), "FLIQD_URL": fliqd.url, "FLIQD_CONFIG": str(file)}
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-euc",
            script,
            env=env,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await shell.communicate()
        assert shell.returncode == 0, complained.decode()
        assert said.decode().splitlines() == [
            f"{file} is fine (1 schedule, 0 jobs)",
            "+ schedule nightly-backup",
            "differs",
            "+ schedule nightly-backup",
        ]
        [made] = (await fliqd("GET", "/v1/schedules")).body["schedules"]
        assert (made["name"], made["source"]) == ("nightly-backup", "config")


def the_program(folder: Path) -> Path:
    """Make a folder for $PATH with `fliqd` in it, and nothing that would touch this machine."""
    folder.mkdir()
    program = folder / "fliqd"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fliqd "$@"\n')
    program.chmod(0o755)
    return folder


@dataclass
class Reader:
    """Who follows a page with a daemon and a folder of their own; places and waits are not those of the page."""

    folder: Path
    fliqd: FliqdProcess
    path: str
    port: int  # where the page has a target on 8000
    phone: str  # what alerts go to
    serves: bool  # the page starts the daemon
    files: dict[str, str] = field(default_factory=dict)  # as the page has them
    terminals: list[asyncio.subprocess.Process] = field(default_factory=list)

    def here(self, text: str) -> str:
        """Return a text of the page as it is meant here."""
        for theirs, ours in (
            ("/mnt/nas", str(self.folder / "nas")),
            ("http://127.0.0.1:3547", self.fliqd.url),
            ("127.0.0.1:8000", f"127.0.0.1:{self.port}"),
            ("http.server 8000", f"http.server {self.port}"),
            ("https://ntfy.sh", self.phone),
            ("~/.local/state/fliqd", str(self.fliqd.state_dir)),
            # Nobody waits for a minute here.
            ('cron = "* * * * *"', 'every = "1s"\nmisfire_grace = "500ms"'),
        ):
            text = text.replace(theirs, ours)
        return text

    async def follow(self, block: Block) -> None:
        """Do what the page says next; the daemon is stopped where the page has it stopped."""
        if block.remark == "edit":
            file = self.folder / block.detail
            if block.detail not in self.files:
                self.files[block.detail] = file.read_text() if file.exists() else ""
            self.files[block.detail] = edited(self.files[block.detail], block.text)
            file.write_text(self.here(self.files[block.detail]))
        elif block.text == "fliqd serve\n":
            await self._restart()
        elif block.remark == "another terminal":
            self.terminals.append(await self._bash(block))
        else:
            if "fliqd restore" in block.text:
                await self.fliqd.kill(signal.SIGTERM)
            elif not self._runs and not self.serves:
                await self.fliqd.start()
            await until(lambda: self._does(block), block.text)

    @property
    def _runs(self) -> bool:
        return self.fliqd.process is not None and self.fliqd.process.returncode is None

    async def _restart(self) -> None:
        if self._runs:
            await self.fliqd.kill(signal.SIGTERM)
            back_at = time.time() + 2.5  # a schedule of every second has missed two runs at least

            async def later() -> bool | None:
                return time.time() >= back_at or None

            await until(later, "the time while it is down")
        await self.fliqd.start()

    async def _does(self, block: Block) -> bool | None:
        """Run the block; None when it has not come to what the page shows yet."""
        shell = await self._bash(block)
        said, complained = (output.decode() for output in await shell.communicate())
        if block.remark == "shows" and not all(text in said for text in block.detail.split("|")):
            return None
        code = int(block.detail) if block.remark == "ends with" else 0
        assert shell.returncode == code, (block.text, said, complained)
        return True

    async def _bash(self, block: Block) -> asyncio.subprocess.Process:
        kept = self.folder / "variables"
        kept.touch()
        script = f"set -a; . {kept}; FLIQD_URL={self.fliqd.url}\n{self.here(block.text)}\nexport -p > {kept}"
        env = os.environ | {"STATE_DIRECTORY": str(self.fliqd.state_dir), "PATH": self.path}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "bash", "-euc", script, env=env, cwd=self.folder, stdout=pipe, stderr=pipe, start_new_session=True
        )


@pytest.mark.skipif(shutil.which("curl") is None, reason="a page uses curl")
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
async def test_the_commands_of_a_page(page: Path, tmp_path: Path, target: Target, unused_tcp_port: int) -> None:
    """Block after block, as it stands but for its places and its waits; see `tests.pages`."""
    blocks = to_run(page)
    (tmp_path / "nas").mkdir()
    path = f"{the_program(tmp_path / 'bin')}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    phone = target.url.removesuffix("/hook")
    serves = any(block.text == "fliqd serve\n" for block in blocks)
    env = {"FLIQD_CONFIG": str(tmp_path / "fliqd.toml")} if serves else {}
    async with process(tmp_path / "state", **env) as fliqd:
        reader = Reader(tmp_path, fliqd, path, unused_tcp_port, phone, serves)
        try:
            for block in blocks:
                await reader.follow(block)
            alerts = sum("alerts test" in block.text or "/nothing" in block.text for block in blocks)
            assert len(await target.received(alerts)) >= alerts
        finally:
            for terminal in reader.terminals:
                os.killpg(terminal.pid, signal.SIGTERM)
                await terminal.communicate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_not_run_says_why(page: Path) -> None:
    for block in blocks_of(page):
        assert block.remark in ("", "not run", "another terminal", "edit", "shows", "ends with"), block
        assert bool(block.remark) == bool(block.detail) or block.remark == "another terminal", block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_are_commands_of_ours(page: Path) -> None:
    """Those between backticks: each word of the command, and each option."""
    for line in re.findall(r"`(?:\.venv/bin/)?fliqd ([a-z][^`]*)`", page.read_text()):
        command: click.Command = cli
        words = line.split()
        while isinstance(command, click.Group) and words:
            found = command.get_command(click.Context(command), words[0])
            if found is None:
                assert words[0] in ("…", "FILE") or words[0].isupper(), line
                break
            command = found
            words.pop(0)
        options = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
        assert [word for word in words if word.startswith("--") and word not in options] == [], line


async def test_the_samples_that_verify_signatures(target: Target, tmp_path: Path) -> None:
    file = tmp_path / "samples.py"
    file.write_text("\n".join(block.text for block in blocks_of(SECRETS) if block.language == "python"))
    samples = runpy.run_path(str(file))
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        await fliqd.create(url=target.url, query={"a": "b c"}, json={"kind": "full"}, delay=0)
        [hit] = await target.received(1)
    secret = (fliqd.state_dir / "signing.secret").read_text().strip()
    url = target.url.removesuffix("/hook") + hit.path
    assert "?a=" in url
    assert samples["is_from_fliqd"](secret, dict(hit.headers), hit.body)
    assert not samples["is_from_fliqd"](secret, dict(hit.headers), hit.body + b" ")
    assert samples["is_signed"](secret, hit.method, url, dict(hit.headers), hit.body)
    assert not samples["is_signed"](secret, hit.method, url + "&c=d", dict(hit.headers), hit.body)
    assert not samples["is_signed"](secret, hit.method, url, {}, hit.body)
    late = dict(hit.headers) | {"X-Fliq-Timestamp": str(int(time.time()) - 301)}
    assert not samples["is_signed"](secret, hit.method, url, late, hit.body)


@pytest.mark.skipif(not all(map(shutil.which, ("nginx", "openssl", "curl"))), reason="needs nginx, openssl and curl")
@pytest.mark.parametrize("end", [";", "/;"], ids=["passes the path on", "cuts it off"])
async def test_nginx_as_the_page_sets_it_up(tmp_path: Path, unused_tcp_port: int, end: str) -> None:
    """Its server block, word for word but for its places: TLS, a name, and a path."""
    blocks = blocks_of(PROXY)
    file = tmp_path / "fliqd.toml"
    file.write_text(next(block.text for block in blocks if block.language == "toml"))
    server = next(block.text for block in blocks if block.language == "nginx")
    key = ("-keyout", tmp_path / "nas.lan.key", "-out", tmp_path / "nas.lan.pem", "-subj", "/CN=nas.lan")
    names = ("-addext", "subjectAltName=DNS:nas.lan")
    await said_by("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *key, *names)
    async with process(tmp_path / "state", FLIQD_CONFIG=str(file)) as fliqd:
        await fliqd.start()
        for theirs, ours in (
            ("listen 443", f"listen 127.0.0.1:{unused_tcp_port}"),
            ("/etc/ssl", str(tmp_path)),
            ("http://127.0.0.1:3547;", fliqd.url + end),
        ):
            assert theirs in server
            server = server.replace(theirs, ours)
        places = [
            f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        conf = tmp_path / "nginx.conf"
        outside = f"daemon off; pid {tmp_path}/pid; error_log stderr; events {{}}"
        conf.write_text(f"{outside} http {{ access_log off; {' '.join(places)} {server} }}")
        nginx = await asyncio.create_subprocess_exec("nginx", "-e", "stderr", "-c", conf)

        async def answer(name: str) -> str | None:
            there = ("--cacert", tmp_path / "nas.lan.pem", "--connect-to", f"::127.0.0.1:{unused_tcp_port}")
            token = f"Authorization: Bearer {fliqd.token}"
            url = f"https://nas.lan:{unused_tcp_port}/fliqd/v1/summary"
            return await said_by("curl", "-s", *there, "-H", token, "-H", f"Host: {name}", url) or None

        try:
            assert '"status":"ok"' in await until(lambda: answer("nas.lan"), "an answer through nginx")
            assert "misdirected_request" in await until(lambda: answer("other.lan"), "another")
        finally:
            nginx.terminate()
            await nginx.wait()


async def said_by(*command: str | Path) -> str:
    program = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await program.communicate()
    return said.decode()


async def test_the_dashboards_ask_for_what_there_is(fliqd: RunningDaemon) -> None:
    text = (ROOT / "docs/how-to/dashboards.md").read_text()
    summary = (await fliqd("GET", "/v1/summary")).body
    asked = set(re.findall(r"field: (\w+)|value_json\.(\w+)", text))
    assert {name for pair in asked for name in pair if name} <= summary.keys()
    assert [name for name in summary if f"`{name}`" not in text] == []


def test_every_exit_code_is_on_its_page() -> None:
    def below(kind: type[FliqdError]) -> set[int]:
        return {kind.exit_code}.union(*(below(child) for child in kind.__subclasses__()))

    named = {int(code) for code in re.findall(r"^\| (\d+) \|", EXIT_CODES.read_text(), re.MULTILINE)}
    assert cli_errors.UnreachableError.exit_code in below(FliqdError)
    assert named == below(FliqdError) | {0, 2, INTERRUPTED, PIPE_CLOSED}
