"""`fliqd signing-secret`, as an operator uses it."""

from .running import Daemon


def test_show_and_rotate(daemon: Daemon) -> None:
    shown = daemon("signing-secret", "show")
    assert shown.out == (daemon.state_dir / "signing.secret").read_text()
    rotated = daemon("signing-secret", "rotate", "--overlap", "1h")
    assert rotated.code == 0
    assert rotated.out != shown.out
    assert rotated.out == daemon("signing-secret", "show").out == (daemon.state_dir / "signing.secret").read_text()
    assert rotated.err.startswith("an older secret signs too, until ")
    assert daemon("signing-secret", "show", "-o", "json").json["source"] == "file"
    refused = daemon("signing-secret", "rotate", "--overlap", "soon")
    assert (refused.code, "overlap: expected a duration" in refused.err) == (1, True)
