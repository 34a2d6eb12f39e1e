"""The program as a whole: quick answers, helpful refusals, and ends without a traceback."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fliqd import __version__
from fliqd.cli.groups import LazyGroup
from fliqd.cli.main import cli

from .running import PATIENCE_S, PROGRAM, Daemon, environment, run

HEAVY = {"aiohttp", "rich", "structlog", "msgspec", "asyncio", "http.client", "importlib.metadata"}
TELL_IMPORTS = f"""
import sys
from fliqd.__main__ import main
try:
    main()
finally:
    print(*sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)
"""


def imported_by(*args: str, env: dict[str, str]) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", TELL_IMPORTS, *args], env=env, capture_output=True, check=True, encoding="utf-8"
    )
    return set(told.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "args", [["--version"], ["--help"], ["jobs", "--help"], ["schedules", "--help"], ["serve", "--help"]]
)
def test_quick_answers_import_nothing_heavy(args: list[str]) -> None:
    assert imported_by(*args, env=environment()) == set()


def test_plain_output_needs_no_rich(daemon: Daemon) -> None:
    assert imported_by("jobs", "list", env=daemon.env) == {"http.client", "msgspec"}


def test_version() -> None:
    assert run("--version", env=environment()).out == f"fliqd {__version__}\n"


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["stauts"], "Did you mean one of: 'stats', 'status'?"),
        (["jobs", "lsit"], "Did you mean 'list'?"),
        (["jobs", "list", "--statsu", "failed"], "'--status'"),
    ],
)
def test_a_slip_of_the_pen_is_told_with_the_nearest_name(args: list[str], hint: str) -> None:
    ended = run(*args, env=environment())
    assert ended.code == 2
    assert hint in ended.err
    assert "Usage: fliqd " in ended.err


def commands(group: LazyGroup, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        if isinstance(command, LazyGroup):
            yield from commands(command, inner)
        else:
            yield inner.command_path, command, inner


def test_every_command_explains_itself_with_an_example() -> None:
    assert isinstance(cli, LazyGroup)
    for path, command, context in commands(cli, click.Context(cli, info_name="fliqd")):
        assert f"For example:\n    {path}" in command.get_help(context), path


def test_ctrl_c_ends_a_watch_with_130(daemon: Daemon) -> None:
    daemon.create("http://127.0.0.1:9/", "--delay", "1h")
    with subprocess.Popen(
        [*PROGRAM, "jobs", "watch"], env=daemon.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert any(b"scheduled" in line for line in watch.stdout)  # other tests' jobs may come before
        watch.send_signal(signal.SIGINT)
        assert watch.wait(PATIENCE_S) == 130
        assert watch.stderr.read() == b""


def test_a_closed_pipe_is_no_trouble(daemon: Daemon) -> None:
    with subprocess.Popen(
        [*PROGRAM, "status"], env=daemon.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as status:
        assert status.stdout is not None
        assert status.stderr is not None
        status.stdout.close()
        assert status.wait(PATIENCE_S) == 141
        assert status.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(daemon: Daemon) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*PROGRAM, "jobs", "list", "-o", "json"], env=daemon.env, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == b"fliqd: the output cannot be written: No space left on device\n"
