"""The tables of docs/reference/cli.md, as the program's own commands say them.

`python -m tests.cli_reference` writes them into the page; a test compares.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from fliqd.cli.groups import LazyGroup
from fliqd.cli.main import cli

PAGE: Final = Path(__file__).parent.parent / "docs/reference/cli.md"
HEAD: Final = "| command | what it does | options |\n| --- | --- | --- |\n"
BAR: Final = "\\|"  # within a cell
# What all have that ask the daemon, or show something: the page says it once.
COMMON: Final = frozenset({"--url", "--token", "--output"})


def renewed(page: str) -> str:
    """Return the page with its tables as they have to be; a group it does not have comes at its end."""
    sections = {part.partition("\n")[0]: part for part in re.split(r"(?m)^(?=## )", page)}
    for name, table in tables():
        heading = f"## `{name}`"
        prose = re.sub(r"(?m)^\|.*\n", "", sections.get(heading, heading)).rstrip()
        sections[heading] = f"{prose}\n\n{table}\n"
    return "".join(sections.values()).rstrip() + "\n"


def tables() -> Iterator[tuple[str, str]]:
    """Yield the groups, each with its table; first the commands that are in none."""
    assert isinstance(cli, LazyGroup)
    root = click.Context(cli, info_name="fliqd")
    groups = {name: cli.get_command(root, name) for name in cli.list_commands(root)}
    alone = [name for name, command in groups.items() if not isinstance(command, LazyGroup)]
    yield "fliqd", HEAD + "".join(_row(cli, name, root) for name in alone)
    for name, group in groups.items():
        if isinstance(group, LazyGroup):
            context = click.Context(group, parent=root, info_name=name)
            rows = "".join(_row(group, command, context) for command in group.list_commands(context))
            yield f"fliqd {name}", HEAD + rows


def _row(group: LazyGroup, name: str, context: click.Context) -> str:
    command = group.get_command(context, name)
    assert command is not None
    inner = click.Context(command, parent=context, info_name=name)
    arguments = [piece for piece in command.collect_usage_pieces(inner) if piece != "[OPTIONS]"]
    usage = " ".join([inner.command_path.removeprefix("fliqd "), *arguments])
    options = [
        "/".join([option.opts[-1], *option.secondary_opts])
        for option in command.params
        if isinstance(option, click.Option)
    ]
    asks = "--token" in options
    own = [option for option in options if option not in COMMON and not (asks and option == "--config")]
    cells = (f"`{usage}`", group.what(name), ", ".join(f"`{option}`" for option in own))
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
