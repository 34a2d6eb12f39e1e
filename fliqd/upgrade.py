"""What this version would do to a store and a configuration that another one has left; nothing is changed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from fliqd import config as configuration
from fliqd.core.sizes import format_size
from fliqd.errors import ConfigError
from fliqd.store.sqlite import copies, files, schema

SPARE: Final = 16 * 1024**2  # bytes that a migration may take beyond the copy and as much again for what it rewrites


class Step(msgspec.Struct, frozen=True):
    """A migration: its number and what it says about itself."""

    number: int
    about: str


class Check(msgspec.Struct, frozen=True):
    """What an upgrade comes to. `problems` keep it from succeeding, each with what to do."""

    store: str
    exists: bool
    schema: int
    newest: int
    steps: tuple[Step, ...] = ()
    copy: str | None = None  # what will be set aside first
    copy_bytes: int = 0
    needs_bytes: int = 0
    free_bytes: int = 0
    problems: tuple[str, ...] = ()

    @property
    def is_newer(self) -> bool:
        """Whether the store is beyond this version."""
        return self.schema > self.newest


def check(explicit: str | None, env: Mapping[str, str]) -> Check:
    """Look at the configuration and the store that `fliqd serve` would use.

    Raises StoreUnusableError for a store that cannot be read, is gone, or is not the one that was served. A
    configuration that is wrong is a problem among others, and the store is then looked for where its default is.
    """
    problems: list[str] = []
    try:
        found = configuration.load(explicit, env)
    except ConfigError as err:
        problems += [f"configuration: {problem}" for problem in err.problems]
        found = configuration.defaults(env)
    path = found.store_path.resolve()
    marker = found.state_dir / files.MARKER
    if not copies.is_there(path):
        files.refuse_lost(path, marker)
        return Check(str(path), exists=False, schema=0, newest=schema.newest(), problems=tuple(problems))
    facts, newest = copies.look(path), schema.newest()
    files.refuse_other(path, marker, facts.store_id)
    applied = facts.schema
    if applied > newest:
        problems.append(
            f"store: {path} has schema {applied} and this fliqd knows {newest}: it would refuse it; stay with the newer"
            f" version, or go back {files.way_back(path, newest)}"
        )
    steps = tuple(Step(number, about(sql)) for number, sql in schema.migrations() if number > applied)
    if not steps:
        return Check(str(path), exists=True, schema=applied, newest=newest, problems=tuple(problems))
    size = copies.used_bytes(path)
    needs, free = 2 * size + SPARE, _free(path.parent)
    if free < needs:
        problems.append(
            f"disk: the copy that is set aside and the upgrade take up to {format_size(needs)} in {path.parent}, and"
            f" {format_size(free)} are free: free some space first"
        )
    return Check(
        str(path),
        exists=True,
        schema=applied,
        newest=newest,
        steps=steps,
        copy=str(files.aside_name(path, applied)),
        copy_bytes=size,
        needs_bytes=needs,
        free_bytes=free,
        problems=tuple(problems),
    )


def about(sql: str) -> str:
    """Return what a migration says in its first comment."""
    found = re.match(r"\s*--\s*(.+)", sql)
    return found[1].strip() if found else "changes the schema"


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
