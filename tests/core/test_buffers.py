"""What an item takes from its buffer, and what is its own."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.buffers import Buffer, item_of, released, released_anew
from fliqd.core.model import HELD_MS, Job
from fliqd.core.references import as_meant, expand_job

NOW = 1_800_000_000_000
TRAPS = [
    "${env:T}",
    "$${env:T}",
    "$$${env:T}",
    "${file:/etc/passwd}",
    "${",
    "$",
    "a${env:T}b${env:T}",
    "${env:T",
    "plain",
]
values = st.sampled_from(TRAPS) | st.text("${}env:T ", max_size=20).map(str.strip)


def a_buffer(**more: Any) -> Buffer:
    fields: dict[str, Any] = {
        "headers": {"Authorization": "Bearer ${env:T}", "X-Both": "${env:T}"}, "query": {"q": "${env:T}"},
        "rate_limit": 1.0, "tokens": 1.0, "has_references": True,
    }  # fmt: skip
    return Buffer(
        pk=1, id="buf_1", name="b", url="http://a/${env:T}", host="a:80", created_ms=NOW, updated_ms=NOW, tokens_ms=NOW,
        **fields | more,
    )  # fmt: skip


def sent(item: Job) -> Job:
    """Return it as the dispatcher sends it."""
    return expand_job(item, lambda kind, name: f"the-{kind}-{name}")


@given(values, values)
def test_what_comes_over_the_api_is_never_looked_up(header: str, body: str) -> None:
    """In a buffer of the file, whose own references are looked up beside it."""
    fields = {"headers": {"X-Item": header, "x-both": header}, "body": body.encode(), "body_is_json": False}
    item = sent(item_of(a_buffer(), item_id="item_1", fields=fields, now_ms=NOW))
    assert item.headers == {"Authorization": "Bearer the-env-T", "X-Item": header, "x-both": header}
    assert (item.body, item.url, item.query) == (body.encode(), "http://a/the-env-T", {"q": "the-env-T"})


@given(values)
def test_an_item_s_own_are_shown_as_they_were_given(header: str) -> None:
    item = item_of(a_buffer(), item_id="item_1", fields={"headers": {"X-Item": header}}, now_ms=NOW)
    assert as_meant(item.headers["X-Item"]) == header
    assert as_meant(item.headers["X-Both"]) == "${env:T}"  # a reference is never looked up to be shown


@pytest.mark.parametrize(
    "body",
    [b'"${env:T}"', b'"\\u0024{env:T}"', b'{"a": ["\\u0024\\u007benv:T}"]}', b"[1.10, 123456789012345678901234567890]"],
)
def test_a_json_body_leaves_byte_for_byte(body: bytes) -> None:
    fields = {"body": body, "body_is_json": True}
    assert sent(item_of(a_buffer(), item_id="item_1", fields=fields, now_ms=NOW)).body == body


def test_without_references_nothing_is_touched() -> None:
    buffer = a_buffer(has_references=False)
    item = item_of(buffer, item_id="item_1", fields={"headers": {"X-Item": "${env:T}"}}, now_ms=NOW)
    assert not item.has_references
    assert item.headers == {**buffer.headers, "X-Item": "${env:T}"}
    assert item.is_held


@given(
    st.floats(0.001, 1000),
    st.integers(0, 100_000),
    st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), max_size=20),
)
def test_pauses_and_new_rates_cost_the_first_item_no_turn(
    rate: float, due_in_ms: int, changes: list[tuple[int, bool]]
) -> None:
    """Once it goes again it leaves no later than if it had never been stopped, but for the time of the pause itself."""
    buffer, undisturbed_ms = released(a_buffer(rate_limit=rate, tokens=0.0), NOW + due_in_ms, NOW)
    now_ms, next_ms = NOW, undisturbed_ms
    for by_ms, pauses in changes:
        now_ms += by_ms
        if now_ms >= min(next_ms, undisturbed_ms):
            break
        buffer = msgspec.structs.replace(buffer, paused_ms=now_ms if pauses else None)
        buffer, next_ms = released_anew(buffer, next_ms, now_ms)
        assert (next_ms == HELD_MS) == pauses
    if next_ms == HELD_MS:
        buffer = msgspec.structs.replace(buffer, paused_ms=None)
        buffer, next_ms = released_anew(buffer, next_ms, now_ms)
    assert next_ms <= max(undisturbed_ms, now_ms) + 1
