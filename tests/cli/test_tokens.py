"""`fliqd tokens`, as an operator uses it."""

from .running import Daemon, Target


def test_a_token_is_made_used_and_revoked(daemon: Daemon, sink: Target) -> None:
    made = daemon("tokens", "create", "dashboard", "--scope", "read")
    assert made.code == 0
    text = made.out.strip()
    token_id = made.err.split()[0]
    assert text.startswith("fliq_sk_")
    assert daemon("jobs", "list", FLIQD_TOKEN=text).code == 0
    refused = daemon("jobs", "create", sink.url, FLIQD_TOKEN=text)
    assert refused.code == 77
    assert "lacks the scope write" in refused.err
    listed = daemon("tokens", "list", "-o", "json").json
    assert [token["name"] for token in listed] == ["admin", "dashboard"]
    assert listed[1]["last_used_at"] is not None
    assert text not in daemon("tokens", "list").out
    assert daemon("tokens", "revoke", token_id).code == 0
    assert daemon("jobs", "list", FLIQD_TOKEN=text).code == 77
    assert daemon("tokens", "revoke", token_id).code == 4
    assert daemon("tokens", "revoke", listed[0]["id"]).code == 5
