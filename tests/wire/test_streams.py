"""What the sender makes of a server's bytes: good, odd and hostile streams on a real connection."""

from typing import NamedTuple

import pytest

from fliqd.core.delivery import ErrorCode, Response
from fliqd.engine.wire.answer import HEAD_LIMIT, MAX_HEADERS, MAX_INTERIM
from fliqd.engine.wire.sender import WireSender
from tests.wire.conftest import Serve
from tests.wire.servers import OK, Peer, Script, answer, answer_and_close, get

H = b"HTTP/1.1 200 OK\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"


def length(size: int) -> bytes:
    return H + b"Content-Length: %d\r\n\r\n" % size


class Good(NamedTuple):
    stream: bytes
    body: bytes = b""
    status: int = 200
    reused: bool = True


GOOD = {
    # name: (stream, body, status, whether the connection serves again)
    "length": Good(length(2) + b"ok", b"ok"),
    "length_zero": Good(length(0)),
    "length_with_spaces": Good(H + b"Content-Length:   2  \r\n\r\nok", b"ok"),
    "length_leading_zeros": Good(H + b"Content-Length: 0002\r\n\r\nok", b"ok"),
    "header_case": Good(H + b"cOnTeNt-LeNgTh: 2\r\n\r\nok", b"ok"),
    "no_reason": Good(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    "no_reason_no_space": Good(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    "long_reason": Good(b"HTTP/1.1 200 " + b"x" * 4000 + b"\r\nContent-Length: 0\r\n\r\n"),
    "latin_1_reason": Good(b"HTTP/1.1 200 d\xe9j\xe0 vu\r\nContent-Length: 0\r\n\r\n"),
    "empty_header": Good(H + b"X-Empty:\r\nContent-Length: 0\r\n\r\n"),
    "no_space_after_colon": Good(H + b"X:y\r\nContent-Length:0\r\n\r\n"),
    "latin_1_header": Good(H + b"X: \xe9\r\nContent-Length: 0\r\n\r\n"),
    "repeated_header": Good(H + b"Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
    "most_headers": Good(H + b"X: y\r\n" * (MAX_HEADERS - 1) + b"Content-Length: 0\r\n\r\n"),
    "head_just_within": Good(H + b"X: " + b"y" * (HEAD_LIMIT - 200) + b"\r\nContent-Length: 0\r\n\r\n"),
    "bare_lf": Good(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
    "chunked": Good(CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok"),
    "chunked_empty": Good(CHUNKED + b"0\r\n\r\n"),
    "chunked_many": Good(CHUNKED + b"1\r\no\r\n" * 100 + b"0\r\n\r\n", b"o" * 100),
    "chunked_leading_zeros": Good(CHUNKED + b"0002\r\nok\r\n000\r\n\r\n", b"ok"),
    "chunked_upper_case": Good(CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "chunked_lower_case": Good(CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "chunked_extension": Good(CHUNKED + b"2;a=b\r\nok\r\n0;c\r\n\r\n", b"ok"),
    "chunked_quoted_extension": Good(CHUNKED + b'2;a="b;c"\r\nok\r\n0\r\n\r\n', b"ok"),
    "chunked_trailer": Good(CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\nETag: x\r\n\r\n", b"ok"),
    "chunked_body_looks_like_an_answer": Good(CHUNKED + b"26\r\n" + OK[:38] + b"\r\n0\r\n\r\n", OK[:38]),
    "chunked_named_in_capitals": Good(H + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
    "length_body_looks_like_an_answer": Good(length(len(OK)) + OK, OK),
    "204": Good(b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    "304": Good(b"HTTP/1.1 304 Not Modified\r\n\r\n", status=304),
    "304_with_length": Good(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", status=304),
    "204_with_length_zero": Good(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", status=204),
    "keep_alive_header": Good(H + b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n"),
    "100_first": Good(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
    "103_first": Good(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, b"ok"),
    "102_103_first": Good(b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nX: y\r\n\r\n" + OK, b"ok"),
    "unknown_1xx_first": Good(b"HTTP/1.1 199 What\r\n\r\n" + OK, b"ok"),
    "most_interim": Good(b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM + OK, b"ok"),
    "closed_by_end": Good(H + b"\r\nok", b"ok", reused=False),
    "closed_by_end_empty": Good(H + b"\r\n", reused=False),
    "closed_by_end_other_coding": Good(H + b"Transfer-Encoding: gzip\r\n\r\nok", b"ok", reused=False),
    "closed_by_end_chunked_not_last": Good(H + b"Transfer-Encoding: chunked, gzip\r\n\r\nok", b"ok", reused=False),
    "connection_close": Good(H + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", reused=False),
    "connection_close_capitals": Good(H + b"Connection: CLOSE\r\nContent-Length: 2\r\n\r\nok", b"ok", reused=False),
    "connection_close_in_list": Good(H + b"Connection: x, close\r\nContent-Length: 0\r\n\r\n", reused=False),
    "connection_close_chunked": Good(
        H + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"ok",
        reused=False,
    ),
    "http_1_0": Good(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", reused=False),
    "http_1_0_to_the_end": Good(b"HTTP/1.0 200 OK\r\n\r\nok", b"ok", reused=False),
    "http_1_0_keep_alive": Good(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok", reused=False
    ),
    "http_1_0_chunked": Good(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", reused=False
    ),
    "101": Good(b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", status=101, reused=False),
    "101_with_data": Good(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\0\1", status=101, reused=False),
    "101_without_upgrade": Good(b"HTTP/1.1 101 Switch\r\n\r\njunk", status=101, reused=False),
    "200_with_upgrade": Good(H + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "junk_behind": Good(length(2) + b"okJUNK", b"ok", reused=False),
    "junk_behind_chunked": Good(CHUNKED + b"2\r\nok\r\n0\r\n\r\nJUNK", b"ok", reused=False),
    "junk_behind_204": Good(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", status=204, reused=False),
    "junk_behind_close": Good(H + b"Connection: close\r\nContent-Length: 2\r\n\r\nokJUNK", b"ok", reused=False),
    "second_answer_behind": Good(length(2) + b"ok" + OK, b"ok", reused=False),
    "start_of_an_answer_behind": Good(length(2) + b"okHTTP/1.1 2", b"ok", reused=False),
    "interim_behind": Good(length(2) + b"okHTTP/1.1 100 Continue\r\n\r\n", b"ok", reused=False),
    "broken_answer_behind": Good(length(2) + b"okHTTP/1.1 999 x\r\n\r\n", b"ok", reused=False),
    **{
        str(status): Good(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status, status=status)
        for status in (
            200,
            201,
            202,
            299,
            301,
            302,
            307,
            400,
            401,
            404,
            410,
            418,
            429,
            489,
            500,
            502,
            503,
            599,
        )
    },
}

P, T, R = ErrorCode.PROTOCOL, ErrorCode.TOO_LARGE, ErrorCode.RESET


class Bad(NamedTuple):
    stream: bytes
    code: ErrorCode = P
    says: str = "malformed HTTP/1.1"
    status: int | None = None


BAD = {
    # name: (stream, code, words of the message, status that was read nevertheless)
    "nothing": Bad(b"", R, "before it answered"),
    "status_000": Bad(b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", says="status 000"),
    "status_001": Bad(b"HTTP/1.1 001 X\r\nContent-Length: 0\r\n\r\n", says="status 001"),
    "status_099": Bad(b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", says="status 099"),
    "status_600": Bad(b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", says="status 600"),
    "status_999": Bad(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", says="status 999"),
    "status_20": Bad(b"HTTP/1.1 20 OK\r\n\r\n"),
    "status_2000": Bad(b"HTTP/1.1 2000 OK\r\n\r\n"),
    "status_negative": Bad(b"HTTP/1.1 -20 OK\r\n\r\n"),
    "status_word": Bad(b"HTTP/1.1 abc OK\r\n\r\n"),
    "status_missing": Bad(b"HTTP/1.1 \r\n\r\n"),
    "two_spaces": Bad(b"HTTP/1.1  200 OK\r\n\r\n"),
    "tab_for_a_space": Bad(b"HTTP/1.1\t200 OK\r\n\r\n", says="not answer with HTTP/1.1"),
    "only_cr": Bad(b"HTTP/1.1 200 OK\rContent-Length: 0\r\r"),
    "lengths_differ": Bad(H + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk"),
    "length_twice": Bad(H + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    "length_list": Bad(H + b"Content-Length: 2, 2\r\n\r\nok"),
    "length_negative": Bad(H + b"Content-Length: -2\r\n\r\nok"),
    "length_plus": Bad(H + b"Content-Length: +2\r\n\r\nok"),
    "length_hex": Bad(H + b"Content-Length: 0x2\r\n\r\nok"),
    "length_fraction": Bad(H + b"Content-Length: 2.0\r\n\r\nok"),
    "length_word": Bad(H + b"Content-Length: two\r\n\r\nok"),
    "length_empty": Bad(H + b"Content-Length:\r\n\r\nok"),
    "length_gap": Bad(H + b"Content-Length: 1 2\r\n\r\nok"),
    "length_overflow": Bad(H + b"Content-Length: 18446744073709551616\r\n\r\nok"),
    "length_overflow_by_far": Bad(H + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nok"),
    "length_then_chunked": Bad(H + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked_then_length": Bad(H + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n"),
    "gzip_and_length": Bad(H + b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"),
    "chunk_size_word": Bad(CHUNKED + b"zz\r\nok\r\n0\r\n\r\n", status=200),
    "chunk_size_negative": Bad(CHUNKED + b"-2\r\nok\r\n0\r\n\r\n", status=200),
    "chunk_size_plus": Bad(CHUNKED + b"+2\r\nok\r\n0\r\n\r\n", status=200),
    "chunk_size_0x": Bad(CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n", status=200),
    "chunk_size_space": Bad(CHUNKED + b"2 \r\nok\r\n0\r\n\r\n", status=200),
    "chunk_size_empty": Bad(CHUNKED + b"\r\nok\r\n0\r\n\r\n", status=200),
    "chunk_size_overflow": Bad(CHUNKED + b"fffffffffffffffff\r\nok\r\n", status=200),
    "chunk_too_long": Bad(CHUNKED + b"2\r\nokk\r\n0\r\n\r\n", status=200),
    "chunk_too_short": Bad(CHUNKED + b"4\r\nok\r\n0\r\n\r\n", status=200),
    "chunk_without_end": Bad(CHUNKED + b"2\r\nok0\r\n\r\n", status=200),
    "chunk_bad_trailer": Bad(CHUNKED + b"0\r\nbad trailer\r\n\r\n", status=200),
    "length_in_trailer": Bad(CHUNKED + b"0\r\nContent-Length: 2\r\n\r\nok", status=200),
    "no_header_name": Bad(H + b": x\r\n\r\n"),
    "no_colon": Bad(H + b"Header\r\n\r\n"),
    "space_in_name": Bad(H + b"Bad Header: x\r\n\r\n"),
    "space_before_colon": Bad(H + b"Content-Length : 2\r\n\r\nok"),
    "zero_in_name": Bad(H + b"A\0B: x\r\n\r\n"),
    "zero_in_value": Bad(H + b"A: b\0c\r\n\r\n"),
    "control_in_value": Bad(H + b"A: b\x01c\r\n\r\n"),
    "cr_in_value": Bad(H + b"A: b\rc\r\n\r\n"),
    "utf_8_name": Bad(H + "Ä: b\r\n\r\n".encode()),
    "folded": Bad(H + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    "folded_first": Bad(H + b" A: b\r\nContent-Length: 0\r\n\r\n"),
    "interim_with_length": Bad(b"HTTP/1.1 103 E\r\nContent-Length: 2\r\n\r\nok" + OK, says="interim answer (103)"),
    "interim_hides_answer": Bad(b"HTTP/1.1 150 E\r\nContent-Length: 40\r\n\r\n" + OK, says="interim answer (150)"),
    "interim_chunked": Bad(b"HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK, says="interim"),
    "interim_storm": Bad(b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + OK, says="more than 16"),
    "interim_only": Bad(b"HTTP/1.1 100 Continue\r\n\r\n", says="within the head"),
    "interim_http_1_0": Bad(b"HTTP/1.0 100 Continue\r\n\r\n" + OK),
    "cut_in_opening": Bad(b"HTT", says="within the head"),
    "cut_in_status": Bad(b"HTTP/1.1 20", says="within the head"),
    "cut_in_header_name": Bad(H + b"Conte", says="within the head"),
    "cut_in_header": Bad(H + b"Content-Length: 2", says="within the head"),
    "cut_before_empty_line": Bad(H + b"Content-Length: 2\r\n", says="within the head"),
    "cut_in_body": Bad(length(5) + b"ok", says="after 2 of 5 bytes", status=200),
    "cut_before_body": Bad(length(5), says="after 0 of 5 bytes", status=200),
    "cut_in_chunk": Bad(CHUNKED + b"5\r\nok", says="after 2 bytes, before its last chunk", status=200),
    "cut_in_chunk_size": Bad(CHUNKED + b"5", says="before its last chunk", status=200),
    "cut_before_chunk": Bad(CHUNKED, says="before its last chunk", status=200),
    "cut_before_last_chunk": Bad(CHUNKED + b"2\r\nok\r\n", says="before its last chunk", status=200),
    "cut_in_trailer": Bad(CHUNKED + b"2\r\nok\r\n0\r\nX: y", says="before its last chunk", status=200),
    "cut_before_the_end_of_trailers": Bad(CHUNKED + b"2\r\nok\r\n0\r\n", says="before its last chunk", status=200),
    "too_many_headers": Bad(H + b"X: y\r\n" * (MAX_HEADERS + 1) + b"\r\n", T, "head of the answer"),
    "header_too_large": Bad(H + b"X: " + b"y" * HEAD_LIMIT + b"\r\n\r\n", T, "head of the answer"),
    "name_too_large": Bad(H + b"y" * HEAD_LIMIT + b": x\r\n\r\n", T, "head of the answer"),
    "headers_too_large": Bad(H + (b"X: " + b"y" * 900 + b"\r\n") * 50 + b"\r\n", T, "head of the answer"),
    "endless_header": Bad(H + b"X: " + b"y" * 400_000, T, "head of the answer"),
    "endless_reason": Bad(b"HTTP/1.1 200 " + b"y" * 400_000, T, "head of the answer"),
    "endless_extension": Bad(CHUNKED + b"2;" + b"y" * 400_000, T, "trailer or chunk extension", 200),
    "endless_trailer": Bad(CHUNKED + b"0\r\nX: " + b"y" * 400_000, T, "trailer or chunk extension", 200),
    "garbage": Bad(b"\xde\xad\xbe\xef" * 8, says="not answer with HTTP/1.1"),
    "zeros": Bad(bytes(64), says="not answer with HTTP/1.1"),
    "empty_lines_first": Bad(b"\r\n\r\n" + OK, says="not answer with HTTP/1.1"),
    "lower_case": Bad(b"http/1.1 200 OK\r\n\r\n", says="'http/1.1'"),
    "http_0_9": Bad(b"<html>hello</html>", says="'<html>hello</htm'"),
    "http_0_9_named": Bad(b"HTTP/0.9 200 OK\r\n\r\n", says="'HTTP/0.9'"),
    "http_1_2": Bad(b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", says="'HTTP/1.2'"),
    "http_2_0": Bad(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", says="HTTP/2 only"),
    "http_2": Bad(b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", says="HTTP/2 only"),
    "http_2_settings": Bad(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80", says="HTTP/2 only"),
    "http_2_preface": Bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", says="HTTP/2 only"),
    "http_3": Bad(b"HTTP/3.0 200 OK\r\n\r\n", says="'HTTP/3.0'"),
    "tls_alert": Bad(b"\x15\x03\x01\0\x02\x02\x46", says="begin with https://"),
    "tls_handshake": Bad(b"\x16\x03\x03\0\x31\x02\0", says="begin with https://"),
    "ssh": Bad(b"SSH-2.0-OpenSSH_9.6\r\n", says="'SSH-2.0-OpenSSH_'"),
    "smtp": Bad(b"220 mail.example.org ESMTP\r\n", says="'220'"),
    "redis": Bad(b"-ERR unknown command\r\n", says="'-ERR'"),
    "icecast": Bad(b"ICY 200 OK\r\n\r\n", says="'ICY'"),
    "rtsp": Bad(b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", says="'RTSP/1.0'"),
    "ice": Bad(b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", says="'ICE/1.0'"),
    "a_request": Bad(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", says="'POST'"),
    "an_echo": Bad(b"GET /?secret=1 HTTP/1.1\r\n\r\n", says="'GET'"),
    "an_echo_without_a_space": Bad(b"GET\t/?secret=1\t", says="'GET'"),
}


def slowly(stream: bytes) -> Script:
    """Say the stream byte by byte, each its own write."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for i in range(len(stream)):
            await peer.say(stream[i : i + 1])

    return script


def assert_bad(response: Response, case: Bad) -> None:
    assert response.failure is not None
    assert (response.failure.code, response.status) == (case.code, case.status)
    assert case.says in response.failure.message
    assert "secret" not in response.failure.message
    assert response.failure.message.endswith(".")


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
async def test_an_answer_is_read_and_its_connection_reused(sender: WireSender, serve: Serve, case: Good) -> None:
    """The same answer comes twice; only a clean connection is used for both."""
    ends = not case.reused
    server = await serve(answer_and_close(case.stream) if ends else answer(case.stream))
    for _ in range(2):
        response = await sender.send(get(server.url()))
        assert response.failure is None
        assert (response.status, response.body, response.truncated) == (case.status, case.body, False)
    assert server.connections == (1 if case.reused else 2)
    assert len(server.requests) == 2


@pytest.mark.parametrize("case", [case for case in GOOD.values() if not case.reused and case.status != 101])
async def test_an_unclean_connection_is_not_reused_though_the_server_keeps_it(
    sender: WireSender, serve: Serve, case: Good
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(case.stream)
        if b"close" not in case.stream.lower() and b"ength" not in case.stream and b"unked\r" not in case.stream:
            return  # only the end of the stream ends this body
        await peer.until_closed()

    server = await serve(script)
    for _ in range(2):
        assert (await sender.send(get(server.url()))).body == case.body
    assert server.connections == 2


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
async def test_a_bad_answer_is_a_failure_that_says_why(sender: WireSender, serve: Serve, case: Bad) -> None:
    server = await serve(answer_and_close(case.stream))
    assert_bad(await sender.send(get(server.url("/?secret=1"))), case)
    assert len(server.requests) == server.connections == 1
    assert sender.idle_connections == 0


SHORT_GOOD = {name: case for name, case in GOOD.items() if len(case.stream) < 120}
SHORT_BAD = {name: case for name, case in BAD.items() if len(case.stream) < 120}


@pytest.mark.parametrize("case", SHORT_GOOD.values(), ids=SHORT_GOOD)
async def test_a_good_answer_may_drip(sender: WireSender, serve: Serve, case: Good) -> None:
    server = await serve(slowly(case.stream))
    response = await sender.send(get(server.url()))
    assert (response.failure, response.status, response.body) == (None, case.status, case.body)


@pytest.mark.parametrize("case", SHORT_BAD.values(), ids=SHORT_BAD)
async def test_a_bad_answer_is_bad_byte_by_byte_too(sender: WireSender, serve: Serve, case: Bad) -> None:
    server = await serve(slowly(case.stream))
    response = await sender.send(get(server.url()))
    assert response.failure is not None
    assert response.status == case.status
    # Early bytes can end the exchange while the server still writes, which it may answer with a reset.
    assert response.failure.code is case.code
    assert sender.idle_connections == 0
