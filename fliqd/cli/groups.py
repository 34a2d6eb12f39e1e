"""Groups of commands that are imported when they are called, so that help stays quick."""

import importlib
from collections.abc import Mapping
from typing import Any, NoReturn

import click


class LazyGroup(click.Group):
    """A group over a table from a command's name to ("module" or "module:attribute", what it does)."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **given: Any) -> None:
        super().__init__(*args, **given)
        self._table = table

    def what(self, name: str) -> str:
        """Return what a command does, without importing it."""
        return self._table[name][1]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return list(self._table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        if name not in self._table:
            return None
        module, _, attribute = self._table[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute or "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one that does not exist is told with the nearest that does."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as err:
            self._suggest(ctx, err)

    def _suggest(self, ctx: click.Context, err: click.exceptions.NoSuchCommand) -> NoReturn:
        raise click.exceptions.NoSuchCommand(err.command_name, possibilities=self._table, ctx=ctx) from err
