"""The head of a request: what is written, and what never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.engine.wire.octets import UnsendableError, encode
from tests.wire.servers import get


@pytest.mark.parametrize(
    ("url", "target", "host", "peer"),
    [
        ("http://a.example", "/", "a.example", "a.example:80"),
        ("http://a.example/", "/", "a.example", "a.example:80"),
        ("http://a.example?x=1", "/?x=1", "a.example", "a.example:80"),
        ("http://a.example#f", "/", "a.example", "a.example:80"),
        ("http://a.example/p#f?no", "/p", "a.example", "a.example:80"),
        ("http://a.example/p?q#f", "/p?q", "a.example", "a.example:80"),
        ("http://a.example//p/../%2e?", "//p/../%2e?", "a.example", "a.example:80"),
        ("http://a.example:80/", "/", "a.example", "a.example:80"),
        ("http://a.example:443/", "/", "a.example:443", "a.example:443"),
        ("http://a.example:8080/", "/", "a.example:8080", "a.example:8080"),
        ("https://a.example/", "/", "a.example", "a.example:443"),
        ("https://a.example:443/", "/", "a.example", "a.example:443"),
        ("https://a.example:80/", "/", "a.example:80", "a.example:80"),
        ("HTTP://A.Example/P", "/P", "A.Example", "a.example:80"),
        ("http://a.example./", "/", "a.example.", "a.example.:80"),
        ("http://1.2.3.4:81/", "/", "1.2.3.4:81", "1.2.3.4:81"),
        ("http://[::1]/", "/", "[::1]", "[::1]:80"),
        ("http://[2001:DB8::1]:81/", "/", "[2001:DB8::1]:81", "[2001:db8::1]:81"),
    ],
)
def test_the_target_and_the_host_are_those_of_the_url(url: str, target: str, host: str, peer: str) -> None:
    origin, head = encode(get(url))
    assert head == f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert origin.peer == peer


def test_spellings_of_one_origin_share_connections() -> None:
    keys = {encode(get(url))[0].key for url in ("http://A.example/", "HTTP://a.example:80/x", "http://a.EXAMPLE")}
    assert len(keys) == 1
    assert encode(get("https://a.example:80/"))[0].key not in keys


@pytest.mark.parametrize(
    "url",
    [
        "", "/", "a.example", "ftp://a.example/", "http:///", "http://", "http:a.example", "http://u@a.example/",
        "http://u:p@a.example/", "http://a.example:0/", "http://a.example:65536/", "http://a.example:x/",
        "http://a.example:/", "http://a.example:1:2/", "http://::1/", "http://[::1/", "http://[x]/",
        "http://a.example/ x", "http://a.example/\r\nX: y", "http://a.example/\n", "http://a.example/\x00",
        "http://a.example/\x7f", "http://a.example/é", "http://é.example/", "http://a.example/#\n",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_not_sent(url: str) -> None:
    with pytest.raises(UnsendableError):
        encode(get(url))


@pytest.mark.parametrize(
    "header",
    [
        ("X", "a\r\nEvil: 1"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\0b"), ("X", "\n"),
        ("X\r\nEvil", "1"),
        ("X:", "1"), ("X ", "1"), (" X", "1"), ("", "1"), ("X Y", "1"), ("é", "1"),
        ("X\0", "1"), ("X", "\ud800"),
        ("Host", "b.example"), ("host", "b.example"), ("Content-Length", "5"), ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
    ],
)  # fmt: skip
def test_a_header_that_would_end_its_line_or_the_message_is_not_sent(header: tuple[str, str]) -> None:
    with pytest.raises(UnsendableError) as raised:
        encode(get("http://a.example/", headers=(header,)))
    assert "Evil: 1" not in str(raised.value)


@pytest.mark.parametrize("method", ["", "GET ", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET", "GÉT", "G\0T", "G\n"])
def test_a_method_that_is_no_token_is_not_sent(method: str) -> None:
    with pytest.raises(UnsendableError):
        encode(get("http://a.example/", method=method))


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None), ("GET", b"", None), ("GET", b"x", 1), ("DELETE", None, None),
        ("DELETE", b"xy", 2),
        ("POST", None, 0), ("POST", b"", 0), ("POST", b"xyz", 3), ("PUT", None, 0), ("PATCH", None, 0),
        ("HEAD", None, None), ("OPTIONS", None, None),
    ],
)  # fmt: skip
def test_the_length_is_announced_when_there_is_or_should_be_a_body(
    method: str, body: bytes | None, length: int | None
) -> None:
    _, head = encode(get("http://a.example/", method=method, body=body))
    assert (b"Content-Length: %d\r\n" % length in head) if length is not None else (b"Length" not in head)


@given(st.lists(st.tuples(st.sampled_from(["X", "Y-Z", "a_b"]), st.text())))
def test_a_head_has_exactly_the_lines_it_was_given_or_is_not_sent(headers: list[tuple[str, str]]) -> None:
    try:
        _, head = encode(get("http://a.example/", headers=tuple(headers)))
    except UnsendableError:
        assert any(set(value) & set("\r\n\0") or not value.isascii() for _, value in headers)
        return
    lines = head.split(b"\r\n")
    assert lines[2:-2] == [f"{name}: {value}".encode() for name, value in headers]
    assert head.count(b"\n") == head.count(b"\r") == len(headers) + 3
