"""The pages are true: their links lead somewhere, their commands run, their tables name what there is."""

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from fliqd import config as configuration
from fliqd.api.jobs import TIMES
from fliqd.cli import errors as cli_errors
from fliqd.cli.main import INTERRUPTED, PIPE_CLOSED
from fliqd.core.channels import TYPES, ChannelDraft
from fliqd.core.deliveries import DeliveryStatus
from fliqd.core.delivery import ErrorCode
from fliqd.core.drafts import EVENTS, JobDraft
from fliqd.core.schedule_drafts import ScheduleDraft
from fliqd.errors import FliqdError
from tests import cli_reference
from tests.support import RunningDaemon, Target, process

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in ROOT.glob("**/*.md") if not {".venv", ".pytest_cache", "build"} & set(page.parts))
EXIT_CODES = ROOT / "docs/reference/exit-codes.md"
RUN = [*sorted((ROOT / "docs/how-to").glob("*.md")), EXIT_CODES]


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


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
async def test_the_first_job_of_the_readme(tmp_path: Path, target: Target) -> None:
    """Its curl and its two CLI lines, word for word but for the port and the place of the state."""
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    curl = next(block for block in blocks if "curl" in block)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(".venv/bin/fliqd jobs")]
    assert len(lines) == 2
    async with process(tmp_path / "state") as fliqd:
        await fliqd.start()
        script = "\n".join([curl.replace('"5s"', '"0s"'), *lines])
        script = script.replace("~/.local/state/fliqd", str(fliqd.state_dir)).replace(
            "http://127.0.0.1:3547", fliqd.url
        )
        script = script.replace("http://127.0.0.1:8000/", target.url.removesuffix("hook"))
        script = script.replace(".venv/bin/fliqd", f"{sys.executable} -m fliqd")
        env = os.environ | {"STATE_DIRECTORY": str(fliqd.state_dir), "FLIQD_URL": fliqd.url}
        shell = await asyncio.create_subprocess_exec(
            "bash", "-euc", script, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said, complained = await shell.communicate()
        assert shell.returncode == 0, complained.decode()
        assert (await target.received(1))[0].path == "/hello"
        assert len(re.findall(r"job_[0-9a-z]{26}", said.decode())) >= 3


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


@pytest.mark.skipif(shutil.which("curl") is None, reason="a page uses curl")
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
async def test_the_commands_of_a_page(page: Path, tmp_path: Path) -> None:
    """Block after block, as it stands but for its places; the daemon is stopped where the page has it stopped."""
    (tmp_path / "nas").mkdir()
    path = f"{the_program(tmp_path / 'bin')}:{os.environ['PATH']}"
    async with process(tmp_path / "state") as fliqd:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            if "fliqd restore" in block:
                await fliqd.kill(signal.SIGTERM)
            elif fliqd.process is None or fliqd.process.returncode is not None:
                await fliqd.start()
            script = block.replace("/mnt/nas", str(tmp_path / "nas")).replace("http://127.0.0.1:3547", fliqd.url)
            env = os.environ | {"STATE_DIRECTORY": str(fliqd.state_dir), "FLIQD_URL": fliqd.url, "PATH": path}
            shell = await asyncio.create_subprocess_exec(
                "bash", "-euc", script, env=env, cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            said, complained = await shell.communicate()
            assert shell.returncode == 0, (block, said.decode(), complained.decode())


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
