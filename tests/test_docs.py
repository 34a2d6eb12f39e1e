"""The pages are true: their links lead somewhere, their commands run, their tables name what there is."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from fliqd.api.jobs import TIMES
from fliqd.core.delivery import ErrorCode
from fliqd.core.drafts import JobDraft
from tests.support import Target, process

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in ROOT.glob("**/*.md") if not {".venv", ".pytest_cache", "build"} & set(page.parts))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_reference_names_every_field_filter_and_error() -> None:
    text = (ROOT / "docs/reference/api.md").read_text()
    names = [*JobDraft.__struct_fields__, *TIMES, *(str(code) for code in ErrorCode)]
    assert [name for name in names if f"`{name}`" not in text and f"{name}`" not in text] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
async def test_the_first_job_of_the_readme(tmp_path: Path, target: Target) -> None:
    """Its curl and its two CLI lines, word for word but for the port and the place of the state."""
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    curl = next(block for block in blocks if "curl" in block)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(".venv/bin/fliqd")]
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
