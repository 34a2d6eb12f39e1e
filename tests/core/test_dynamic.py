"""Dynamic fields: what is put into a body, and what the runs of a schedule remember."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.delivery import Response
from fliqd.core.dynamic import MOST_PUT_IN, NOTHING, ROOM, Heard, Memory, hear, remembered, rendered
from fliqd.core.model import Dynamic, Job

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts, max_size=3),
)


def job(body: object, how: Dynamic = Dynamic.REPLACE, **more: Any) -> Job:
    return Job(
        pk=7,
        id="job_1",
        url="http://a/",
        host="a:80",
        lane="a:80",
        body=json.dumps(body).encode(),
        body_is_json=True,
        scheduled_ms=0,
        created_ms=0,
        updated_ms=0,
        next_attempt_ms=0,
        executions=2,
        dynamic_fields=how,
        **more,
    )


def sent(body: object, memory: Memory = NOTHING, how: Dynamic = Dynamic.REPLACE, **more: Any) -> Any:
    made = rendered(job(body, how, **more), memory)
    assert made.body is not None
    return json.loads(made.body)


MEMORY = Memory(b'{"n":1,"deep":{"a":[{"id":"x"}]}}', b'{"status":200,"items":[1,2]}')
FACTS = {"id": "job_1", "attempt": 2, "scheduled_at": "1970-01-01T00:00:00.000Z"}


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("$job", FACTS),
        ("$job.attempt", 2),
        ("$state.n", 1),
        ("$state.deep.a.0.id", "x"),
        ("$previous.items.1", 2),
        ("$previous.items.2", None),
        ("$previous.items.-1", None),
        ("$previous.items.\u0661", None),
        ("$state.n.further", None),
        ("$state.gone", None),
        ("$previous", {"status": 200, "items": [1, 2]}),
        ("$stateful", "$stateful"),
        ("it is $job", "it is $job"),
        ("$job.", "$job."),
        ("$jobs.id", "$jobs.id"),
        ("", ""),
    ],
)
def test_a_name_with_a_path_is_replaced_by_what_is_there(text: str, there: object) -> None:
    assert sent({"a": [text], text: 1}, MEMORY) == {"a": [there]} | (
        {text: 1} if text not in {"$job", "$previous"} else {}
    )
    assert sent(text, MEMORY) == there


def test_what_is_put_in_is_not_read_again() -> None:
    memory = Memory(b'{"a":"$job.id"}', b'{"b":["$state"]}')
    assert sent(["$state.a", "$previous.b"], memory) == ["$job.id", ["$state"]]


def test_with_inject_the_three_are_members() -> None:
    assert sent({"a": "$job.id"}, how=Dynamic.INJECT) == {"a": "job_1", "$job": FACTS, "$state": {}, "$previous": {}}
    assert sent({"$job": 1, "$previous": 2, "$state": {"n": 5}}, how=Dynamic.INJECT) == {
        "$job": FACTS,
        "$state": {"n": 5},
        "$previous": {},
    }
    assert sent([1], how=Dynamic.INJECT) == [1]


def test_the_state_begins_as_the_body_says() -> None:
    body = {"count": "$state.n", "$state": {"n": 3}}
    assert sent(body) == {"count": 3}
    assert sent(body, Memory(b'{"n":4}')) == {"count": 4}


@pytest.mark.parametrize("text", ["$state", "$previous.long", "$state.long"])
def test_no_more_is_put_in_than_a_body_may_hold(text: str) -> None:
    long = "x" * (ROOM - 100)
    memory = Memory(json.dumps({"long": long}).encode(), json.dumps({"long": long}).encode())
    fits = MOST_PUT_IN // ROOM
    assert json.dumps(sent([text] * fits, memory)).count(long) == fits
    asked = job([text] * 100_000)
    assert rendered(asked, memory) is asked


@pytest.mark.parametrize(("method", "is_filled"), [("POST", True), ("PUT", True), ("PATCH", True), ("GET", False)])
def test_an_empty_body_is_filled_where_there_can_be_one(method: str, *, is_filled: bool) -> None:
    empty = msgspec.structs.replace(job(0, Dynamic.INJECT), body=None, body_is_json=False, http_method=method)
    made = rendered(empty, NOTHING)
    assert (made.body is not None, made.body_is_json) == (is_filled, is_filled)


def test_booper_counts_its_jobs() -> None:
    assert sent("$job.id", dialect="booper") == 7


def test_a_text_is_sent_as_it_is() -> None:
    text = msgspec.structs.replace(job(0), body=b"$job", body_is_json=False)
    assert rendered(text, MEMORY) is text


def test_what_a_target_said_is_no_reference_of_the_file() -> None:
    memory = Memory(None, b'{"evil":"${env:SECRET}","${env:KEY}":"$${x}"}')
    assert sent(["${env:MINE}", "$previous"], memory, has_references=True) == [
        "${env:MINE}",
        {"evil": "$${env:SECRET}", "${env:KEY}": "$$${x}"},
    ]


@given(JSON, JSON)
def test_a_body_without_names_is_sent_as_it_is(body: object, there: object) -> None:
    memory = Memory(json.dumps({"x": there}).encode(), json.dumps({"y": there}).encode())
    assert sent({"a": body}, memory) == {"a": body}


def heard(status: int, body: bytes, *, truncated: bool = False) -> Heard:
    return hear(Response(status=status, body=body, truncated=truncated))


@pytest.mark.parametrize(
    ("body", "previous", "state"),
    [
        (b'{"a":1}', {"a": 1}, None),
        (b'{"a":1,"$state":{"n":1}}', {"a": 1}, {"n": 1}),
        (b'{"$state":3}', {}, None),
        (b"[1]", {"status": 200, "body": [1]}, None),
        (b"hello", {"status": 200, "body": "hello"}, None),
        (b"", {"status": 200, "body": None}, None),
        (b"[" * 100_000, {"status": 200, "body": "[" * 8192}, None),
        (b'{"a":"\xff"}', {"status": 200, "body": '{"a":"\ufffd"}'}, None),
    ],
)
def test_what_an_answer_brings(body: bytes, previous: object, state: object) -> None:
    got = heard(200, body)
    assert json.loads(got.previous) == previous
    assert (None if got.state is None else json.loads(got.state)) == state


def test_half_an_answer_is_a_text() -> None:
    assert json.loads(heard(200, b'{"a":1}', truncated=True).previous) == {"status": 200, "body": '{"a":1}'}


def test_no_answer_is_told_as_such() -> None:
    assert json.loads(hear(Response()).previous) == {"status": None, "body": None}


def test_states_are_merged_member_by_member() -> None:
    memory = NOTHING
    for part in ({"a": 1, "b": {"c": 1}}, {"b": {"d": 2}}, {"a": None, "gone": None}):
        memory = remembered(memory, Heard(b"{}", json.dumps(part).encode()))
    assert json.loads(memory.state or b"") == {"b": {"d": 2}}
    assert remembered(memory, Heard(b'{"p":1}')) == Memory(memory.state, b'{"p":1}')


def test_a_state_has_bounds() -> None:
    small = remembered(NOTHING, Heard(b"{}", b'{"a":1}'))
    large = json.dumps({"b": "x" * ROOM}).encode()
    assert remembered(small, Heard(b'{"p":2}', large)) == Memory(small.state, b'{"p":2}')


def test_the_first_state_is_merged_into_what_it_began_as() -> None:
    body = b'{"count":"$state.n","$state":{"n":0,"kept":true}}'
    memory = remembered(NOTHING, Heard(b"{}", b'{"n":1}'), body)
    assert json.loads(memory.state or b"") == {"n": 1, "kept": True}
    memory = remembered(memory, Heard(b"{}", b'{"kept":null}'), body)
    assert json.loads(memory.state or b"") == {"n": 1}


@pytest.mark.parametrize("body", [None, b"", b"$state", b"\xff", b"[1]", b'{"$state":3}'])
def test_a_state_that_began_as_nothing_is_what_the_first_answer_says(body: bytes | None) -> None:
    assert remembered(NOTHING, Heard(b"{}", b'{"n":1}'), body).state == b'{"n":1}'


def test_a_state_that_is_nested_too_deeply_stays_as_it_was() -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert remembered(Memory(b'{"n":1}'), Heard(b'{"p":2}', deep)) == Memory(b'{"n":1}', b'{"p":2}')
