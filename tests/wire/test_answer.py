"""The reader of answers against anything: where reads end makes no difference, and garbage no harm."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fliqd.engine.wire.answer import AnswerReader
from tests.wire.servers import get
from tests.wire.test_streams import BAD, GOOD


def read(pieces: list[bytes], *, limit: int = 65536) -> tuple[object, ...]:
    reader = AnswerReader("a.example:80")
    reader.expect(get("http://a.example/", limit=limit))
    for piece in pieces:
        if reader.feed(piece):
            break
    reader.end()
    assert reader.done
    failure = reader.failure and reader.failure.code
    return reader.status, reader.headers, reader.body, reader.truncated, failure


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    ends = sorted({point % (len(stream) + 1) for point in points} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(ends)]


points = st.lists(st.integers(0, 100_000), max_size=12)


@given(st.sampled_from(sorted(GOOD)), points)
def test_where_reads_end_makes_no_difference_to_a_good_answer(name: str, points: list[int]) -> None:
    stream = GOOD[name].stream
    assert read(cut(stream, points)) == read([stream])


@given(st.sampled_from(sorted(name for name in BAD if not name.startswith("endless"))), points)
def test_nor_to_the_status_and_failure_of_a_bad_one(name: str, points: list[int]) -> None:
    stream = BAD[name].stream
    whole, pieces = read([stream]), read(cut(stream, points))
    assert (pieces[0], pieces[-1]) == (whole[0], whole[-1])


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=20))
@example([b"\r"])
def test_garbage_ends_in_a_failure(pieces: list[bytes]) -> None:
    status, *_, failure = read(pieces)
    assert status is None
    assert failure is not None


mutated = st.tuples(st.sampled_from([case.stream for case in GOOD.values()]), st.data())


@settings(max_examples=300)
@given(mutated)
def test_a_damaged_answer_is_read_or_refused(drawn: tuple[bytes, st.DataObject]) -> None:
    """Overwrite a stretch of a good answer with anything: no exception, and an end."""
    stream, data = drawn
    at = data.draw(st.integers(0, len(stream)))
    patch = data.draw(st.binary(max_size=20))
    damaged = stream[:at] + patch + stream[at + data.draw(st.integers(0, 20)) :]
    status, headers, body, _, failure = read(cut(damaged, data.draw(points)), limit=50)
    assert status is not None or failure is not None
    assert status is None or 100 <= status <= 599  # type: ignore[operator]
    assert len(headers) <= 100  # type: ignore[arg-type]
    assert len(body) <= 50  # type: ignore[arg-type]


@pytest.mark.parametrize("name", GOOD)
def test_one_reader_reads_answer_after_answer(name: str) -> None:
    case = GOOD[name]
    reader = AnswerReader("a.example:80")
    for _ in range(3):
        reader.expect(get("http://a.example/"))
        reader.feed(case.stream)
        reader.end()
        assert (reader.status, reader.body, reader.reusable) == (case.status, case.body, case.reused)
        if not case.reused:
            return
