"""`fliqd config init`: a file that works as it is, and with every line of it in use."""

import re
import tomllib
from pathlib import Path

import pytest

from .running import Ended, environment, run


def init(*args: str, **env: str) -> Ended:
    return run("config", "init", *args, env=environment(**env))


def in_use(text: str) -> str:
    """Take the # from every line that holds a key or a table."""
    return re.sub(r"(?m)^#(?=\w+ = |\[)", "", text)


def test_it_works_as_it_is_and_with_every_key_in_use(tmp_path: Path) -> None:
    file = tmp_path / "etc/fliqd/config.toml"
    made = init(str(file), TZ="Asia/Kolkata")
    assert (made.code, made.out) == (0, f"{file}\n")
    assert made.err == f"Next: edit it, then `fliqd config check {file}`, then `fliqd serve --config {file}`.\n"
    assert run("config", "check", str(file), env=environment()).out == f"{file} is fine (0 schedules, 0 jobs)\n"
    assert tomllib.loads(file.read_text())["defaults"] == {"timezone": "Asia/Kolkata"}

    file.write_text(in_use(file.read_text()))
    used = run("config", "check", str(file), env=environment())
    assert (used.code, used.out) == (0, f"{file} is fine (1 schedule, 0 jobs)\n"), used


def test_what_it_shows_of_settings_are_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    assert init(str(file), TZ="UTC").code == 0
    shown = tomllib.loads(in_use(file.read_text()))
    del shown["schedules"]
    defaults = tomllib.loads((Path(__file__).parents[2] / "config.example.toml").read_text())
    assert shown == {section: {key: defaults[section][key] for key in keys} for section, keys in shown.items()}


@pytest.mark.parametrize("env", [{}, {"FLIQD_CONFIG": "elsewhere.toml"}])
def test_a_file_of_its_own_choice_is_the_one_that_serve_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = init(**env)
    name = env.get("FLIQD_CONFIG", "fliqd.toml")
    assert (made.code, made.out) == (0, f"{name}\n")
    assert made.err == "Next: edit it, then `fliqd config check`, then `fliqd serve`.\n"
    assert run("config", "check", env=environment(**env)).out == f"{name} is fine (0 schedules, 0 jobs)\n"


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text("# mine\n")
    refused = init(str(file))
    assert refused.code == 5
    assert refused.err == f"fliqd: {file} is there already, and stays as it is; name another file\n"
    assert file.read_text() == "# mine\n"

    refused = init(str(file / "below.toml"))
    assert refused.code == 1
    assert "cannot be written" in refused.err
