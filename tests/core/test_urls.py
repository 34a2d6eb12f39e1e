"""URL syntax: what is taken apart and how, and what is refused with which hint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.urls import MAX_URL, Target, check_name, check_url, with_query

# URL, host, port, authority, target, is_ip
ACCEPTED: list[tuple[str, str, int, str, str, bool]] = [
    ("http://example.com", "example.com", 80, "example.com", "/", False),
    ("https://example.com/", "example.com", 443, "example.com", "/", False),
    ("HTTP://EXAMPLE.com/A", "example.com", 80, "example.com", "/A", False),
    ("https://example.com:443/", "example.com", 443, "example.com", "/", False),
    ("http://example.com:443/", "example.com", 443, "example.com:443", "/", False),
    ("https://example.com:80/", "example.com", 80, "example.com:80", "/", False),
    ("http://nas.lan:8080/backup", "nas.lan", 8080, "nas.lan:8080", "/backup", False),
    ("http://nas", "nas", 80, "nas", "/", False),
    ("http://localhost:3000/x", "localhost", 3000, "localhost:3000", "/x", False),
    ("http://my_nas.lan/", "my_nas.lan", 80, "my_nas.lan", "/", False),
    ("http://_x.lan/", "_x.lan", 80, "_x.lan", "/", False),
    ("http://example.com./", "example.com", 80, "example.com", "/", False),
    ("http://example.com.:81/", "example.com", 81, "example.com:81", "/", False),
    ("http://xn--mnchen-3ya.de/", "xn--mnchen-3ya.de", 80, "xn--mnchen-3ya.de", "/", False),
    ("http://r3---sn-x.example/", "r3---sn-x.example", 80, "r3---sn-x.example", "/", False),
    ("http://1password.example/", "1password.example", 80, "1password.example", "/", False),
    ("http://1e3/", "1e3", 80, "1e3", "/", False),
    ("http://1.2.3.4.example/", "1.2.3.4.example", 80, "1.2.3.4.example", "/", False),
    ("http://127.0.0.1.nip.io/", "127.0.0.1.nip.io", 80, "127.0.0.1.nip.io", "/", False),
    ("http://dead.beef/", "dead.beef", 80, "dead.beef", "/", False),
    ("http://x0x7f/", "x0x7f", 80, "x0x7f", "/", False),
    ("http://127.0.0.1/", "127.0.0.1", 80, "127.0.0.1", "/", True),
    ("http://0.0.0.0/", "0.0.0.0", 80, "0.0.0.0", "/", True),  # noqa: S104 - not bound to
    ("http://255.255.255.255:1/", "255.255.255.255", 1, "255.255.255.255:1", "/", True),
    ("http://169.254.169.254/latest", "169.254.169.254", 80, "169.254.169.254", "/latest", True),
    ("http://[::1]/", "::1", 80, "[::1]", "/", True),
    ("http://[::1]:65535/", "::1", 65535, "[::1]:65535", "/", True),
    ("https://[FD00::1]:443/x", "fd00::1", 443, "[fd00::1]", "/x", True),
    ("http://[0:0:0:0:0:0:0:1]/", "::1", 80, "[::1]", "/", True),
    ("http://[64:ff9b::8.8.8.8]/", "64:ff9b::808:808", 80, "[64:ff9b::808:808]", "/", True),
    ("http://[::]/", "::", 80, "[::]", "/", True),
    ("http://a?q=1", "a", 80, "a", "/?q=1", False),
    ("http://a/?", "a", 80, "a", "/?", False),
    ("http://a?", "a", 80, "a", "/?", False),
    ("http://a#f", "a", 80, "a", "/", False),
    ("http://a/#", "a", 80, "a", "/", False),
    ("http://a/p?q#f?g#h", "a", 80, "a", "/p?q", False),
    ("http://a/#/route?x", "a", 80, "a", "/", False),
    ("http://a//b//c", "a", 80, "a", "//b//c", False),
    ("http://a/../b/./c", "a", 80, "a", "/../b/./c", False),
    ("http://a/x@y:z", "a", 80, "a", "/x@y:z", False),
    ("http://a/?u=http://b@c/", "a", 80, "a", "/?u=http://b@c/", False),
    ("http://a?@b/", "a", 80, "a", "/?@b/", False),
    ("http://a#@b/", "a", 80, "a", "/", False),
    ("http://a/%20%ff%zz%", "a", 80, "a", "/%20%ff%zz%", False),
    ("http://a/%0d%0aX:%20y", "a", 80, "a", "/%0d%0aX:%20y", False),
    ("http://a/!$&'()*+,;=~-._", "a", 80, "a", "/!$&'()*+,;=~-._", False),
    ('http://a/{x}|^`"<>[y]', "a", 80, "a", '/{x}|^`"<>[y]', False),
    ("http://a?{x}=[y]|??", "a", 80, "a", "/?{x}=[y]|??", False),
    ("http://a:1", "a", 1, "a:1", "/", False),
    ("http://a:65535", "a", 65535, "a:65535", "/", False),
    ("http://a:22/", "a", 22, "a:22", "/", False),
    ("http://" + "a" * 63 + "/", "a" * 63, 80, "a" * 63, "/", False),
    ("http://" + "a." * 126 + "a/", "a." * 126 + "a", 80, "a." * 126 + "a", "/", False),
    ("http://a/" + "x" * (MAX_URL - 9), "a", 80, "a", "/" + "x" * (MAX_URL - 9), False),
]


@pytest.mark.parametrize(("url", "expected"), [(row[0], row[1:]) for row in ACCEPTED])
def test_accepted(url: str, expected: tuple[str, int, str, str, bool]) -> None:
    scheme = url.partition(":")[0].lower()
    assert check_url(url) == Target(scheme, *expected)


# URL, and what the message must say
REFUSED: list[tuple[str, str]] = [
    # Not an absolute http or https URL.
    ("", "empty"),
    ("foo", "must begin with"),
    ("example.com/x", "must begin with"),
    ("/x", "must begin with"),
    ("//example.com/x", "must begin with"),
    ("://example.com", "must begin with"),
    ("http:", "must begin with"),
    ("http:/example.com", "must begin with"),
    ("http:example.com", "must begin with"),
    ("http//example.com", "must begin with"),
    ("https:///x".replace("///", ":/"), "must begin with"),
    ("ftp://example.com/", "must begin with"),
    ("file:///etc/passwd", "must begin with"),
    ("gopher://127.0.0.1:6379/_x", "must begin with"),
    ("dict://127.0.0.1:11211/", "must begin with"),
    ("unix:///run/docker.sock", "must begin with"),
    ("http+unix://%2Frun/x", "must begin with"),
    ("javascript:alert(1)", "must begin with"),
    ("jar:http://a/!x", "must begin with"),
    ("http\u017f://a/", "must begin with"),
    ("url:http://a/", "must begin with"),
    ("ws://a/", "must begin with"),
    # No host.
    ("http://", "no host"),
    ("http:///x", "no host"),
    ("http://?q", "no host"),
    ("http://#f", "no host"),
    ("http://:80/", "no host"),
    ("https://///a", "no host"),
    # Spaces, control characters, backslashes, anywhere.
    (" http://a/", "white space around"),
    ("http://a/ ", "white space around"),
    ("http://a/\n", "white space around"),
    ("\thttp://a/", "white space around"),
    ("http://a b/", "a space at position 8"),
    ("http://a/b c", "%20"),
    ("http://a/?b c", "%20"),
    ("http://a/#b c", "a space"),
    ("http://a/\r\nX-Evil: 1", "control character '\\r'"),
    ("http://a\r\n/", "control character"),
    ("http://a/\x00", "control character"),
    ("http://a/\x00b", "%00"),
    ("http://a/\x7f.", "control character"),
    ("ht\ntp://a/", "control character"),
    ("http://a\t.example/", "control character"),
    ("http://a/?q=\x1fz", "control character"),
    ("http://a\\b/", "backslash"),
    ("http://good.example\\@evil.example/", "backslash"),
    ("http:\\\\a\\b", "backslash"),
    ("http://a/b\\c", "backslash"),
    ("http://a/#\\", "backslash"),
    # User info.
    ("http://user@a/", "user name or password"),
    ("http://user:secret@a/", "user name or password"),
    ("http://@a/", "user name or password"),
    ("http://:@a/", "user name or password"),
    ("http://good.example@evil.example/", "user name or password"),
    ("http://good.example:80@evil.example/", "user name or password"),
    ("http://a@b@c/", "user name or password"),
    ("http://1.1.1.1&@2.2.2.2#@3.3.3.3/", "user name or password"),
    ("http://[::1]@a/", "user name or password"),
    # Percent in the host.
    ("http://%61/", "% in its host"),
    ("http://a%2eexample/", "% in its host"),
    ("http://127.0.0.1%00.example/", "% in its host"),
    ("http://a%40b/", "% in its host"),
    ("http://localhost%23.example/", "% in its host"),
    # Not ASCII.
    ("http://münchen.de/", "xn--mnchen-3ya.de"),
    ("http://MÜNCHEN.de:80/", "xn--mnchen-3ya.de"),
    ("http://straße.de/", "xn--strae-oqa.de"),
    ("http://例え.jp/", "xn--r8jz45g.jp"),
    ("http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", "not ASCII"),
    ("http://①②⑦.0.0.1/", "not ASCII"),
    ("http://ⓔxample.com/", "not ASCII"),
    ("http://a。b/", "not ASCII"),
    ("http://exa\u00admple.com/", "not ASCII"),
    ("http://a\u2100b/", "not ASCII"),
    ("http://\u212aa/", "not ASCII"),
    ("http://\ud800/", "not ASCII"),
    ("http://a/ü", "%C3%BC"),
    ("http://a/?q=€", "%E2%82%AC"),
    ("http://a/#ü", "%C3%BC"),
    ("http://a/\u2028", "percent-encode"),
    ("http://a/\u00a0x", "percent-encode"),
    ("http://a/\ud800", "percent-encode"),
    ("http://a:\uff18\uff10/", "not a"),
    # IPv4 in any but the plain form.
    ("http://0x7f.1/", "ends in a number"),
    ("http://0x7f000001/", "ends in a number"),
    ("http://0X7F.0.0.0X1/", "ends in a number"),
    ("http://127.1/", "ends in a number"),
    ("http://127.0.1/", "ends in a number"),
    ("http://2130706433/", "ends in a number"),
    ("http://0/", "ends in a number"),
    ("http://017700000001/", "ends in a number"),
    ("http://0177.0.0.1/", "ends in a number"),
    ("http://127.0.0.01/", "ends in a number"),
    ("http://127.000.000.001/", "ends in a number"),
    ("http://127.0.0.1./", "ends in a number"),
    ("http://127.0.0.0x1/", "ends in a number"),
    ("http://127.0.0.0x/", "ends in a number"),
    ("http://256.0.0.1/", "ends in a number"),
    ("http://127.0.0.256/", "ends in a number"),
    ("http://1.2.3.4.5/", "ends in a number"),
    ("http://1.2.3/", "ends in a number"),
    ("http://4294967297/", "ends in a number"),
    ("http://foo.127/", "ends in a number"),
    ("http://foo.0x7f/", "ends in a number"),
    ("http://127..1/", "ends in a number"),
    ("http://127.0.0.1:80:80/", "more than one :"),
    ("http://127.0.0.1../", "not valid"),
    # IPv6.
    ("http://::1/", "in brackets"),
    ("http://fe80::1/", "in brackets"),
    ("http://[::1/", "no closing ]"),
    ("http://::1]/", "in brackets"),
    ("http://[]/", "no IPv6 address"),
    ("http://[:]/", "no IPv6 address"),
    ("http://[1::2::3]/", "no IPv6 address"),
    ("http://[12345::]/", "no IPv6 address"),
    ("http://[127.0.0.1]/", "no IPv6 address"),
    ("http://[::127.1]/", "no IPv6 address"),
    ("http://[::ffff:0177.0.0.1]/", "no IPv6 address"),
    ("http://[a.b]/", "no IPv6 address"),
    ("http://[v1.x]/", "no IPv6 address"),
    ("http://[localhost]/", "no IPv6 address"),
    ("http://[[::1]]/", "after the ]"),
    ("http://[::1]]/", "after the ]"),
    ("http://[fe80::1%eth0]/", "zone"),
    ("http://[fe80::1%25eth0]/", "zone"),
    ("http://[::1].example/", "after the ]"),
    ("http://[::1]80/", "after the ]"),
    ("http://x[::1]/", "more than one :"),
    # Ports.
    ("http://a:/", "without a port"),
    ("http://[::1]:/", "without a port"),
    ("http://a:0/", "port '0'"),
    ("http://a:00080/", "port '00080'"),
    ("http://a:080/", "without leading zeros"),
    ("http://a:65536/", "port '65536'"),
    ("http://a:99999/", "port '99999'"),
    ("http://a:100000/", "port '100000'"),
    ("http://a:+80/", "port '+80'"),
    ("http://a:-1/", "port '-1'"),
    ("http://a:80x/", "port '80x'"),
    ("http://a:http/", "port 'http'"),
    ("http://a:0x50/", "port '0x50'"),
    ("http://a:8_0/", "port '8_0'"),
    ("http://a:80;b/", "port '80;b'"),
    ("http://[::1]:x/", "port 'x'"),
    ("http://[::1]:70000/", "port '70000'"),
    ("http://a:80:90/", "more than one :"),
    # Labels.
    ("http://./", "not valid"),
    ("http://../", "not valid"),
    ("http://.a/", "not valid"),
    ("http://a..b/", "not valid"),
    ("http://a../", "not valid"),
    ("http://-a/", "not valid"),
    ("http://a-/", "not valid"),
    ("http://a.-b.c/", "not valid"),
    ("http://a.b-.c/", "not valid"),
    ("http://a!b/", "not valid"),
    ("http://a,b/", "not valid"),
    ("http://*.example/", "not valid"),
    ("http://a'b/", "not valid"),
    ("http://{host}/", "not valid"),
    ("http://$HOST/", "not valid"),
    ("http://a|b/", "not valid"),
    ("http://" + "a" * 64 + "/", "not valid"),
    ("http://" + "a." * 127 + "a/", "not valid"),
    # Too long.
    ("http://a/" + "x" * (MAX_URL - 8), "2049 characters"),
    ("x" * 1_000_000, "1000000 characters"),
]


def test_the_tables_are_as_long_as_promised() -> None:
    assert len({url for url, *_ in ACCEPTED} | {url for url, _ in REFUSED}) > 200


@pytest.mark.parametrize(("url", "says"), REFUSED)
def test_refused(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^the ") as caught:
        check_url(url)
    message = str(caught.value)
    assert says in message
    assert "secret" not in message
    assert len(message) < 300
    assert message.isprintable()


def test_every_forbidden_character_is_refused_wherever_it_stands() -> None:
    for code in [*range(0x21), 0x7F, 0x5C, *range(0x80, 0x180)]:
        for url in (
            "h{}ttp://a/",
            "http:{}//a/",
            "http://a{}b/",
            "http://a:8{}0/",
            "http://a/{}b",
            "http://a/?{}b",
            "http://a#{}b",
        ):
            with pytest.raises(ValueError, match=r"^the "):
                check_url(url.format(chr(code)))


def test_names() -> None:
    assert check_name("NAS.Lan.") == "nas.lan"
    for bad in ("", ".", "a b", "127.1", "1.2.3.4", "\u212aube", "a\n", "\u0661"):
        with pytest.raises(ValueError, match="the host"):
            check_name(bad)


@pytest.mark.parametrize(
    ("url", "pairs", "expected"),
    [
        ("http://a/p", [], "http://a/p"),
        ("http://a/p#f", [], "http://a/p#f"),
        ("http://a/p", [("k", "v")], "http://a/p?k=v"),
        ("http://a", [("k", "v")], "http://a?k=v"),
        ("http://a/p#f", [("k", "v")], "http://a/p?k=v#f"),
        ("http://a/p?x=1", [("k", "v")], "http://a/p?x=1&k=v"),
        ("http://a/p?x=%41+b#f#g", [("k", "v")], "http://a/p?x=%41+b&k=v#f#g"),
        ("http://a/p?", [("k", "v")], "http://a/p?k=v"),
        ("http://a/p?x&", [("k", "v")], "http://a/p?x&k=v"),
        ("http://a/p#f?g", [("k", "v")], "http://a/p?k=v#f?g"),
        ("http://a/p", [("k", ""), ("", "v")], "http://a/p?k=&=v"),
        ("http://a/p", [("k", "1"), ("k", "2")], "http://a/p?k=1&k=2"),
        (
            "http://a/p",
            [("a b", "c&d=e+f#g?h/ü€")],
            "http://a/p?a%20b=c%26d%3De%2Bf%23g%3Fh%2F%C3%BC%E2%82%AC",
        ),
        ("http://a/p", [("k", "a\r\nb\x00%")], "http://a/p?k=a%0D%0Ab%00%25"),
        ("http://a/p", [("k", "-._~")], "http://a/p?k=-._~"),
    ],
)
def test_with_query(url: str, pairs: list[tuple[str, str]], expected: str) -> None:
    assert with_query(url, pairs) == expected


def test_with_query_refuses_what_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        with_query("http://a/", [("k", "\ud800")])


# Close enough to a URL that a good part is accepted.
_hosts = st.from_regex(r"[a-zA-Z0-9_.-]{1,20}|\[[0-9a-f:.]{2,20}\]", fullmatch=True)
_urlish = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP"]),
    _hosts,
    st.sampled_from(["", ":80", ":443", ":8080", ":0", ":", ":65536"]),
    st.text(max_size=20).map(lambda text: "/" + text) | st.sampled_from(["", "?x", "#x"]),
)


@given(url=st.text(max_size=60) | _urlish)
def test_what_is_accepted_is_safe_to_send(url: str) -> None:
    try:
        target = check_url(url)
    except ValueError as err:
        assert str(err)  # noqa: PT017 - either way is fine, this is what must hold
        return
    for text in (url, target.host, target.authority, target.target):
        assert text.isascii()
        assert not any(char <= " " or char in "\x7f\\" for char in text)
    assert target.target.startswith("/")
    assert "#" not in target.target
    assert 1 <= target.port <= 65535
    # The authority alone says the same again, and saying it twice changes nothing.
    again = check_url(f"{target.scheme}://{target.authority}{target.target}")
    assert again == target


@given(url=_urlish, pairs=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=4))
def test_a_query_changes_nothing_else(url: str, pairs: list[tuple[str, str]]) -> None:
    try:
        before = check_url(url)
        longer = with_query(url, pairs)
    except ValueError:
        return
    after = check_url(longer)
    assert (after.scheme, after.host, after.port) == (before.scheme, before.host, before.port)
    assert after.target.startswith(before.target)
