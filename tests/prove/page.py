"""The page of what was tried and seen: a section for each module of proofs, each replaced by its next long run."""

import os
import platform
import re
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from inspect import cleandoc
from pathlib import Path

from fliqd import __version__

PAGE = Path(__file__).parents[2] / "docs/reliability.md"


def words(name: str) -> str:
    """Return a test's name as a heading."""
    text = name.removeprefix("test_").replace("_", " ")
    return text[0].upper() + text[1:]


def section(module: str, doc: str, rows: Mapping[str, str], seed: int, share: int = 100) -> str:
    """Return what a module's long run comes to."""
    table = "\n".join(f"| {words(test)} | {seen} |" for test, seen in rows.items())
    where = ", ".join(
        (
            time.strftime("%Y-%m-%d", time.gmtime()),
            f"fliqd {__version__}{_commit()}",
            f"{platform.python_implementation()} {platform.python_version()}",
            f"SQLite {sqlite3.sqlite_version}",
            f"Linux {platform.release().partition('-')[0]}",
            f"{os.cpu_count()} processors",
            f"seed {seed}{'' if share == 100 else f', {share} % of the long form'}",
        )
    )
    parts = (
        f"<!-- {module} -->",
        f"## {words(module)}",
        cleandoc(doc),
        f"| tried | seen |\n| --- | --- |\n{table}",
    )
    return "\n\n".join((*parts, where + ".", f"<!-- end of {module} -->"))


def _commit() -> str:
    """Return which commit is tried, nothing where git does not know."""
    git = ["git", "-C", str(PAGE.parent), "describe", "--always", "--exclude=*"]
    try:
        found = subprocess.run(git, capture_output=True, check=False, encoding="ascii")
    except OSError:
        return ""
    return f" (commit {found.stdout.strip()})" if found.returncode == 0 else ""


def replaced(page: str, module: str, text: str) -> str:
    """Return the page with a section in its old place, a new one at the end."""
    old = re.compile(rf"<!-- {module} -->.*?<!-- end of {module} -->", re.DOTALL)
    if old.search(page):
        return old.sub(lambda _: text, page)
    return f"{page.rstrip()}\n\n{text}\n"
