"""Which headers a job may carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.headers import check_headers


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-A": "1"}, {"Authorization": "Bearer x y"}, {"Title": "terminée"}, {"X-Empty": ""}, {"X-Tab": "a\tb"},
     {"!#$%&'*+.^_`|~-": "x"}, {"webhook-id": "mine"}],
)  # fmt: skip
def test_what_may_go(headers: dict[str, str]) -> None:
    assert list(check_headers("headers", headers)) == []


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"": "x"}, "not a header name"),
        ({"A b": "x"}, "not a header name"),
        ({"Ä": "x"}, "not a header name"),
        ({"A:": "x"}, "not a header name"),
        ({"A\r\nB": "x"}, "not a header name"),
        ({"A": "x\r\nB: y"}, "control character"),
        ({"A": "x\0"}, "control character"),
        ({"A": " x"}, "white space"),
        ({"A": "x\x7f"}, "control character"),
        ({"A": "x\x85y"}, "control character"),
        ({"Host": "x"}, "set by fliqd"),
        ({"content-LENGTH": "5"}, "set by fliqd"),
        ({"Expect": "100-continue"}, "set by fliqd"),
        ({"X-FLIQ-Anything": "x"}, "set by fliqd"),
        ({"Connection": "close"}, "belongs to the connection"),
        ({"Transfer-Encoding": "chunked"}, "belongs to the connection"),
        ({"TE": "trailers"}, "belongs to the connection"),
        ({"X-A": "1", "x-a": "2"}, "comes twice"),
        ({f"X-{number}": "1" for number in range(101)}, "at most 100"),
        ({"X-A": "x" * 40_000}, "more than 32 KiB"),
    ],
)
def test_what_may_not(headers: dict[str, str], says: str) -> None:
    problems = [str(problem) for problem in check_headers("headers", headers)]
    assert any(says in problem for problem in problems)


def test_a_value_is_never_repeated() -> None:
    problems = check_headers("headers", {"Authorization": "Bearer s3cret\n"})
    assert not any("s3cret" in str(problem) for problem in problems)


@given(st.dictionaries(st.text(), st.text()))
def test_what_passes_cannot_split_a_request(headers: dict[str, str]) -> None:
    if not list(check_headers("headers", headers)):
        line = "".join(f"{name}: {value}" for name, value in headers.items())
        assert not set("\r\n\0") & set(line)
