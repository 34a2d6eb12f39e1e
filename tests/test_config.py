"""The configuration: everything that is wrong at once, where it is looked for, what overrides it."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from fliqd import config
from fliqd.errors import ConfigError
from fliqd.settings import SECTIONS, Settings

ROOT = Path(__file__).parent.parent


def problems(document: Mapping[str, object], env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse(document, env or {})
    return [str(problem) for problem in caught.value.problems]


def test_nothing_is_fine() -> None:
    assert config.parse({}, {}) == Settings()


def test_the_example_shows_every_key_with_its_default() -> None:
    document = tomllib.loads((ROOT / "config.example.toml").read_text())
    assert {name: set(section) for name, section in document.items()} == {
        name: {key.name for key in fields(section)} for name, section in SECTIONS.items()
    }
    assert config.parse(document, {}) == Settings()


def test_all_problems_at_once() -> None:
    assert problems(
        {
            "server": {"lisen": "127.0.0.1:1", "listen": ["127.0.0.1:99999"], "max_body": "1 parsec"},
            "dispatch": {"max_in_flight": 0, "timeout": "0.5s"},
            "auth": {"mode": "maybe"},
            "signing": {"enabled": "perhaps"},
            "servr": {},
            "log": "loud",
        },
        {"FLIQD_DISPATCH__MAX_IN_FLIHT": "5", "FLIQD_LOG__FORMAT": "xml", "FLIQD_TOKEN": "not a setting"},
    ) == [
        'servr: unknown section; did you mean "server"?',
        'FLIQD_DISPATCH__MAX_IN_FLIHT: max_in_fliht: unknown key; did you mean "max_in_flight"?',
        'server.lisen: unknown key; did you mean "listen"?',
        (
            'server.listen: got [\'127.0.0.1:99999\'], expected "ADDRESS:PORT" such as "127.0.0.1:3547" or'
            ' "[::1]:3547", or "unix:/path"'
        ),
        'server.max_body: got "1 parsec", expected a size such as "1MiB", "64KiB" or a number of bytes',
        'auth.mode: got "maybe", expected token or none',
        "dispatch.max_in_flight: got 0, expected a whole number from 1 to 10000",
        'dispatch.timeout: got "0.5s", expected a duration from 1s to 1h',
        'signing.enabled: got "perhaps", expected true or false',
        "log: expected a section, written [log]",
        'FLIQD_LOG__FORMAT: got "xml", expected auto, console, json or logfmt',
    ]


def test_the_environment_overrides() -> None:
    settings = config.parse(
        {"dispatch": {"max_in_flight": 5, "timeout": "5s"}, "signing": {"enabled": True}},
        {
            "FLIQD_DISPATCH__MAX_IN_FLIGHT": "7",
            "FLIQD_DISPATCH__SHUTDOWN_GRACE": "1.5",
            "FLIQD_SIGNING__ENABLED": "false",
        },
    )
    assert (settings.dispatch.max_in_flight, settings.dispatch.timeout) == (7, 5_000)
    assert settings.dispatch.shutdown_grace == 1_500
    assert settings.signing.enabled is False


def test_the_environment_has_lists_too() -> None:
    settings = config.parse({}, {"FLIQD_SERVER__LISTEN": "127.0.0.1:80, unix:/x", "FLIQD_EGRESS__ALLOW_PORTS": "25"})
    assert [place.url for place in settings.server.listen] == ["http://127.0.0.1:80", "unix:/x"]
    assert settings.egress.allow_ports == {25}


def test_references_are_resolved_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_c2VjcmV0\n")
    assert config.parse({"signing": {"secret": f"${{file:{secret}}}"}}, {}).signing.secret == "whsec_c2VjcmV0"
    assert config.parse({"store": {"path": "${env:NAME}.db"}}, {"NAME": "x"}).store.path == "x.db"
    refused = "signing.secret: the file /none cannot be read: No such file or directory"
    assert problems({"signing": {"secret": "${file:/none}"}}) == [refused]
    assert problems({"store": {"path": "${env:NONE}"}}) == [
        'store.path: got "${env:NONE}", the environment has no NONE'
    ]
    secret.write_text("hunter2")
    said = problems({"signing": {"secret": f"${{file:{secret}}}"}})
    assert "hunter2" not in said[0]
    quoted = {"NAME": "hun\"ter'2\n\u00e4"}
    assert problems({"defaults": {"timezone": "${env:NAME}"}}, quoted) == [
        "defaults.timezone: got \"${env:NAME}\", '${env:NAME}' is not a time zone"
    ]
    assert config.parse({"server": {"hosts": ["${env:NAME}.lan"]}}, {"NAME": "x"}).server.hosts == ("x.lan",)


@pytest.mark.parametrize(
    ("listen", "urls"),
    [
        ("127.0.0.1:3547", ["http://127.0.0.1:3547"]),
        ("localhost:1", ["http://127.0.0.1:1"]),
        ("[::1]:3547", ["http://[::1]:3547"]),
        (["127.0.0.1:0", "unix:/run/x.sock"], ["http://127.0.0.1:0", "unix:/run/x.sock"]),
    ],
)
def test_places_to_listen(listen: object, urls: list[str]) -> None:
    assert [place.url for place in config.parse({"server": {"listen": listen}}, {}).server.listen] == urls


@pytest.mark.parametrize(("text", "mode"), [("0600", 0o600), ("660", 0o660), ("0666", 0o666), ("0777", 0o777)])
def test_who_may_connect_to_a_unix_socket(text: str, mode: int) -> None:
    assert config.parse({"server": {"listen_mode": text}}, {}).server.listen_mode == mode


@pytest.mark.parametrize("mode", ["", "0060", "0400", "888", "0o660", "07777", "rw", 0o660, 660])
def test_what_is_no_mode_of_a_socket(mode: object) -> None:
    [said] = problems({"server": {"listen_mode": mode}})
    assert said.startswith("server.listen_mode: got ")
    assert said.endswith('expected octal digits as a text, "0600" or more, such as "0660"')


@pytest.mark.parametrize("listen", ["", ":80", "::1:80", "127.0.0.1", "example.com:80", "1.2.3.4:-1", "unix:x", [], 5])
def test_what_is_no_place(listen: object) -> None:
    assert problems({"server": {"listen": listen}})[0].startswith("server.listen: got ")


@pytest.mark.parametrize("listen", ["0.0.0.0:3547", "192.168.1.5:3547", "[::]:3547"])
def test_no_tokens_only_on_this_machine(listen: str) -> None:
    document = {"auth": {"mode": "none"}, "server": {"listen": listen}}
    assert problems(document)[0].startswith('auth.mode: got "none", which is for loopback')
    config.parse({"auth": {"mode": "none"}, "server": {"listen": ["127.0.0.1:1", "[::1]:1", "unix:/x"]}}, {})


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert config.find(None, env) is None
    (tmp_path / "xdg/fliqd").mkdir(parents=True)
    (tmp_path / "xdg/fliqd/config.toml").touch()
    assert config.find(None, env) == tmp_path / "xdg/fliqd/config.toml"
    (tmp_path / "fliqd.toml").touch()
    assert config.find(None, env) == Path("fliqd.toml")
    assert config.find(None, env | {"FLIQD_CONFIG": "/a"}) == Path("/a")
    assert config.find("/b", env | {"FLIQD_CONFIG": "/a"}) == Path("/b")


@pytest.mark.parametrize(
    ("env", "directory"),
    [
        ({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y", "XDG_STATE_HOME": "/z"}, "/var/lib/x"),
        ({"XDG_STATE_HOME": "/z"}, "/z/fliqd"),
    ],
)
def test_the_state_directory(env: dict[str, str], directory: str) -> None:
    assert config.state_dir(env) == Path(directory)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(str(tmp_path / "none.toml"), {})
    bad = tmp_path / "bad.toml"
    for content in (b"[server\n", b"\xff"):
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match="is not TOML"):
            config.load(str(bad), {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"x = {'9' * 5000}", "is not TOML: Exceeds the limit"),
        (f"[dispatch]\nmax_in_flight = 0x{'f' * 5000}", "dispatch.max_in_flight: is beyond the integers of TOML"),
        (f"[[schedules]]\nmax_retries = {'9' * 400}", "schedules[0].max_retries: is beyond the integers of TOML"),
        (f"[[schedules]]\njson = {'[' * 5000}{']' * 5000}", "is not TOML: maximum recursion depth"),
        (f"[[schedules]]\njson{'.a' * 5000} = 1", "has values inside of values deeper than 100 levels"),
        (f"[server{'.a' * 5000}]\nx = 1", "has values inside of values deeper than 100 levels"),
        (f"x = '{'x' * config.MOST_BYTES}'", "is larger than 16 MiB"),
    ],
)
def test_files_that_nothing_could_take(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(str(file), {})
    assert says in str(caught.value)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """Nothing comes out of it the second time, and nothing is not what its writer declared."""
    pipe, kept = tmp_path / "pipe", tmp_path / "kept"
    kept.write_text("")
    loaded = config.load(str(kept), {})
    kept.unlink()
    os.mkfifo(pipe)
    pipe.rename(kept)
    with pytest.raises(ConfigError, match="no regular file"):
        loaded.again()


def test_a_key_outside_its_section_is_sent_home() -> None:
    assert problems({"listen": "127.0.0.1:1"}) == ["listen: belongs under [server]"]


def test_tls_takes_a_certificate_and_its_key() -> None:
    assert problems({"server": {"tls_cert": "/etc/cert.pem"}}) == [
        "server.tls_key: is needed with tls_cert: TLS takes a certificate and its key"
    ]
    assert problems({"server": {"tls_key": "/etc/key.pem"}}) == [
        "server.tls_cert: is needed with tls_key: TLS takes a certificate and its key"
    ]
    assert problems({"server": {"tls_cert": "cert.pem", "public_url": "https://nas.lan/?a=b"}}) == [
        'server.public_url: got "https://nas.lan/?a=b", expected a URL without a query',
        'server.tls_cert: got "cert.pem", expected the path of a file, from the root on',
    ]
