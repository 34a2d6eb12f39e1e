"""What is built from: locked by hash, and what is released is what was tested."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_everything_is_locked_by_hash(lock: Path) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", lock.read_text().strip())
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", ["requirements-build.lock", "requirements-dev.lock", "requirements-packaging.lock"])
def test_what_runs_is_the_same_everywhere(name: str) -> None:
    ours, theirs = pins("requirements.lock"), pins(name)
    assert {package: theirs.get(package) for package in ours} == ours


def test_the_unit_names_the_exit_codes_that_do_not_heal() -> None:
    unit = (ROOT / "systemd/fliqd.service").read_text()
    assert re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE) == ["65 77 78"]
    assert "ExecStart=/usr/bin/fliqd serve --config /etc/fliqd/config.toml" in unit
