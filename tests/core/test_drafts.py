"""What is asked for becomes the same job the short way and the long way."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.decoding import decode
from fliqd.core.drafts import Defaults, JobDraft, job_fields, plain_fields, required, together
from fliqd.errors import Problem

NOW_MS = 1_790_000_000_000
VALUES: dict[str, list[Any]] = {
    "url": ["http://a/", "https://b.example:8443/x?y", "ftp://a/", "", None, "http://" + "a" * 3_000],
    "scheduled_at": ["2026-09-22T00:00:00Z", "2026-09-21T14:13:20.500+00:00", "1999-01-01T00:00:00Z", "soon", None],
    "delay": [0, 1.5, "90s", "1h30m", -1, "11000d", None],
    "http_method": ["GET", "POST", None],
    "headers": [{}, {"X-A": "1"}, {"X-A": "1", "x-a": "2"}, {"Host": "x"}, {"A": " x"}, {"X" * 70: "y"}, None],
    "json": [{"a": 1}, None, "text"],
    "body": ["raw", None],
    "max_retries": [0, 3, 101, -1, None],
    "timeout_seconds": [30, None],
    "queue": ["default", "mail"],
    "tags": [["x"], []],
    "idempotency_key": ["k", ""],
    "expires_at": ["2027-01-01T00:00:00Z"],
    "dedupe_key": ["d"],
    "webhook_url": ["http://w/"],
    "requires_approval": [True, False],
}


COMMON = ("url", "scheduled_at", "delay", "http_method", "headers", "json", "max_retries")


def documents(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(VALUES[name]) for name in names})


@given(st.one_of(documents(*COMMON), documents(*VALUES)))
def test_the_short_way_judges_as_the_long_one(document: dict[str, Any]) -> None:
    draft, problems = decode(json.dumps(document).encode(), JobDraft)
    short = plain_fields(draft, NOW_MS)
    fields = job_fields(draft, Defaults(), NOW_MS, problems)
    required(draft, problems)
    if short is not None:
        assert not problems
        assert short == fields
        assert not list(together(url=fields["url"], query={}, scheduled_ms=fields["scheduled_ms"], expires_ms=None))


def test_most_jobs_go_the_short_way() -> None:
    document = {"url": "http://a/", "delay": "90s", "json": {}, "headers": {"X-A": "1"}, "max_retries": 3}
    draft, problems = decode(json.dumps(document).encode(), JobDraft)
    assert problems == list[Problem]()
    assert plain_fields(draft, NOW_MS) == job_fields(draft, Defaults(), NOW_MS, [])
