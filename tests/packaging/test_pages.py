"""Man pages and completions: made from the program itself, so that they name all there is."""

import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest

from fliqd.cli.main import cli
from fliqd.settings import SECTIONS
from tests.cli.running import environment, run
from tests.cli.test_program import commands

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, "packaging/manpages.py", str(directory)], cwd=ROOT, check=True)
    return directory


def plain(page: Path) -> str:
    return page.read_text().replace(r"\-", "-").replace(r"\(dq", '"').replace(r"\&", "")


def test_the_program_page_names_every_command_and_option(pages: Path) -> None:
    text = plain(pages / "fliqd.1")
    for path, command, _ in commands(cli, click.Context(cli, info_name="fliqd")):
        assert f'.SS "{path}' in text
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[-1] in text


def test_the_settings_page_names_every_key_with_its_default_and_meaning(pages: Path) -> None:
    text = plain(pages / "fliqd.toml.5")
    for section, kind in SECTIONS.items():
        assert f".SH [{section}]" in text
        missing = [key.name for key in fields(kind) if f'.B "{key.name} = ' not in text]
        assert missing == []


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc")
@pytest.mark.parametrize("name", ["fliqd.1", "fliqd.toml.5"])
def test_the_pages_are_clean(pages: Path, name: str) -> None:
    checked = subprocess.run(["mandoc", "-T", "lint", pages / name], capture_output=True, text=True, check=False)  # noqa: S607
    assert checked.stdout == ""


COMPLETE = {
    "bash": "source {script}; COMP_WORDS=(fliqd jobs ca); COMP_CWORD=2; _fliqd_completion fliqd; echo $COMPREPLY",
    "fish": "source {script}; complete -C 'fliqd jobs ca'",
}


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_completes(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script, program = tmp_path / "script", tmp_path / "bin" / "fliqd"
    script.write_text(run("completion", shell, env=environment()).out)
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/scripts/fliqd "$@"\n')
    program.chmod(0o755)
    env = environment(PATH=f"{program.parent}:{os.environ['PATH']}", HOME=str(tmp_path))
    done = subprocess.run(
        [shell, "-c", COMPLETE[shell].format(script=script)], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[:1] == ["cancel"], done


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_takes_the_script(tmp_path: Path) -> None:
    script = tmp_path / "_fliqd"
    script.write_text(run("completion", "zsh", env=environment()).out)
    assert script.read_text().startswith("#compdef fliqd\n")
    subprocess.run(["zsh", "-n", script], check=True)  # noqa: S607
