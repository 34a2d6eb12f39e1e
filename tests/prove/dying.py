"""fliqd with places to die at: `python -m tests.prove.dying serve`, which finds the places by itself.

A place is the moment before or after a call of whatever function or method the daemon has, or before or after a
statement or commit of SQL, a sync or a rename. With `DIE_TRACE=FILE` it notes how often it passes each of them;
with `DIE_AT="<times> <place>"` it kills itself when it comes to that place for that time. Nothing of this is in the
program itself: this one wraps what that one is made of, and runs it.
"""

import functools
import importlib
import inspect
import json
import os
import pkgutil
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import fliqd
from fliqd import __main__ as program
from fliqd.store.sqlite import queries

# What of it decides nothing about what is on disk or on the wire: rules without I/O, and what is not the daemon.
ELSEWHERE = ("api", "cli", "core", "dialects", "doctor", "service")
NAMES = {sql: name for name, sql in queries.load().items()}
passed: Counter[str] = Counter()
TIMES, _, PLACE = os.environ.pop("DIE_AT", "0 ").partition(" ")
_lock = threading.Lock()


def come_to(place: str) -> None:
    with _lock:
        passed[place] += 1
        if place == PLACE and passed[place] == int(TIMES):
            os.kill(os.getpid(), signal.SIGKILL)


def wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(call):

        @functools.wraps(call)
        async def later(*args: Any, **kwargs: Any) -> Any:
            come_to(f"before {name}")
            result = await call(*args, **kwargs)
            come_to(f"after {name}")
            return result

        return later

    @functools.wraps(call)
    def now(*args: Any, **kwargs: Any) -> Any:
        come_to(f"before {name}")
        result = call(*args, **kwargs)
        come_to(f"after {name}")
        return result

    return now


def wrap(module: ModuleType) -> None:
    """Wrap every function of a module, and of its classes."""
    short = module.__name__.removeprefix("fliqd.")
    for name, thing in list(vars(module).items()):
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing) and not inspect.isgeneratorfunction(inspect.unwrap(thing)):
            setattr(module, name, wrapped(f"{short}.{name}", thing))
        elif inspect.isclass(thing):
            for method, call in list(vars(thing).items()):
                if inspect.isfunction(call) and not method.startswith("__"):
                    setattr(thing, method, wrapped(f"{short}.{name}.{method}", call))


def modules() -> Iterator[ModuleType]:
    """Yield every module of the daemon but those that are ELSEWHERE."""
    for found in pkgutil.walk_packages(fliqd.__path__, "fliqd."):
        if found.name.split(".")[1] not in (*ELSEWHERE, "__main__"):
            yield importlib.import_module(found.name)


class Connection(sqlite3.Connection):
    """SQLite's connection, each statement of which is a place; a commit is named by what it commits."""

    first = ""

    def _named(self, sql: str) -> str:
        name = NAMES.get(sql) or " ".join(sql.split()[:3])
        if name.startswith("BEGIN"):
            self.first = ""
        elif self.in_transaction and not self.first:
            self.first = name
        return name

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        name = self._named(sql)
        come_to(f"before {name}")
        cursor = super().execute(sql, *args)
        come_to(f"after {name}")
        return cursor

    def commit(self) -> None:
        come_to(f"before the commit of {self.first}")
        super().commit()
        come_to(f"after the commit of {self.first}")

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        name = self._named(sql)
        come_to(f"before {name}")
        cursor = super().executemany(sql, *args)
        come_to(f"after {name}")
        return cursor

    def executescript(self, sql: str) -> sqlite3.Cursor:
        come_to("before a migration")
        cursor = super().executescript(sql)
        come_to("after a migration")
        return cursor


def main() -> None:
    """Wrap all, then be fliqd."""
    connect = sqlite3.connect
    sqlite3.connect = functools.partial(connect, factory=Connection)  # type: ignore[assignment]
    os.fsync = wrapped("os.fsync", os.fsync)
    Path.replace = wrapped("Path.replace", Path.replace)  # type: ignore[method-assign]
    trace = os.environ.get("DIE_TRACE")
    for module in modules():
        wrap(module)
    try:
        program.main()
    finally:
        if trace:
            Path(trace).write_text(json.dumps(passed))


if __name__ == "__main__":
    main()
