"""`fliqd cron`, which needs no daemon."""

from .running import environment, run

FROM = ("--from", "2027-03-26T06:00:00Z")


def test_it_explains_and_shows_the_next_runs() -> None:
    shown = run("cron", "0 8 * * 1-5", "--tz", "Europe/Berlin", *FROM, "--count", "2", env=environment())
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "At 08:00, Monday through Friday (Europe/Berlin)"
    assert lines[3].split() == ["2027-03-26T08:00:00+01:00", "2027-03-26T07:00:00.000Z"]
    assert lines[4].split() == ["2027-03-29T08:00:00+02:00", "2027-03-29T06:00:00.000Z"]


def test_it_warns_of_the_change_of_the_clocks() -> None:
    shown = run("cron", "30 2 * * *", "--tz", "Europe/Berlin", *FROM, env=environment())
    assert "note: 2027-03-28 02:30 does not exist; runs once at 03:00 instead" in shown.err
    assert "note: 2027-10-31 02:30 comes twice; runs the first time only" in shown.err


def test_it_says_what_a_step_beyond_its_field_comes_to() -> None:
    shown = run("cron", "*/999 * * * *", *FROM, env=environment())
    assert shown.code == 0
    assert shown.out.startswith("Every hour")
    assert "note: minute */999: a step of 999 leads out of 0-59; it is 0 alone" in shown.err


def test_json() -> None:
    shown = run("cron", "@hourly", "--count", "1", "-o", "json", *FROM, env=environment())
    assert shown.json["runs"] == [{"local": "2027-03-26T07:00:00+00:00", "utc": "2027-03-26T07:00:00.000Z"}]


def test_what_is_refused() -> None:
    wrong = run("cron", "0 22-3 * * *", "--tz", "Mars/Olympus", env=environment())
    assert wrong.code == 1
    assert "22-23,0-3" in wrong.err
    assert "Mars/Olympus" in wrong.err
    assert run("cron", "* * * * *", "--from", "soon", env=environment()).code == 2
