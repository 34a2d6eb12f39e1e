"""`fliqd config check`: every problem at once, and no daemon needed."""

from pathlib import Path

from .running import environment, run


def test_a_right_file(tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text('[server]\nlisten = "127.0.0.1:4000"\n')
    ended = run("config", "check", str(file), env=environment())
    assert (ended.code, ended.out, ended.err) == (0, f"{file} is fine (0 schedules, 0 jobs)\n", "")


def test_no_file_is_fine() -> None:
    ended = run("config", "check", "-o", "json", env=environment())
    assert ended.code == 0
    assert ended.json == {"ok": True, "file": None, "problems": []}


def test_every_problem_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text('[server]\nlisen = "127.0.0.1:4000"\n[dispatch]\ntimeout = "5 parsecs"\n')
    ended = run("config", "check", "--output", "json", env=environment(FLIQD_CONFIG=str(file)))
    assert ended.code == 78
    assert len(ended.err.splitlines()) == 2
    assert 'fliqd: server.lisen: unknown key; did you mean "listen"?' in ended.err
    assert ended.json["file"] == str(file)
    assert [problem["field"] for problem in ended.json["problems"]] == ["server.lisen", "dispatch.timeout"]


def test_a_file_that_is_not_there() -> None:
    ended = run("config", "check", "/nonexistent.toml", env=environment())
    assert (ended.code, ended.out) == (78, "")
    assert ended.err == "fliqd: /nonexistent.toml: cannot be read: No such file or directory\n"
