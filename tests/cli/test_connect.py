"""Finding the daemon and its token; what is told when either is not there."""

import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fliqd.cli.client import Client
from fliqd.cli.connect import connect, place_of
from fliqd.cli.errors import NotAllowedError, UnreachableError
from fliqd.cli.places import parse_place

from .running import Daemon, Target, environment, run, serve

OK = b'HTTP/1.0 200 OK\r\n\r\n{"status": "ok", "uptime_seconds": 1}'


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    file = folder / "fliqd.toml"
    file.write_text(f'server.listen = ["unix:{folder}/fliqd.sock", "127.0.0.1:0"]\n')
    return file


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[Daemon]:
    with serve(tmp_path_factory.mktemp("state"), "--config", str(config)) as running:
        yield running


def test_over_a_unix_socket(daemon: Daemon) -> None:
    assert daemon.url.startswith("unix:/")
    status = daemon("status", "--output", "json")
    assert status.code == 0
    assert status.json["listen"][0] == daemon.url


def test_found_by_the_configuration(daemon: Daemon, config: Path) -> None:
    assert daemon("status", "--config", str(config), FLIQD_URL="").code == 0
    assert daemon("status", FLIQD_CONFIG=str(config), FLIQD_URL="").code == 0


def test_a_wrong_configuration_is_78(daemon: Daemon) -> None:
    ended = daemon("status", FLIQD_URL="", FLIQD_SERVER__LISTEN="nowhere", FLIQD_LOG__LEVLE="info")
    assert ended.code == 78
    assert [line[:7] for line in ended.err.splitlines()] == ["fliqd: ", "fliqd: "]


def test_nobody_there_is_69() -> None:
    ended = run("status", env=environment(FLIQD_URL="http://127.0.0.1:1", FLIQD_TOKEN="t"))
    assert ended.code == 69
    assert ended.err == (
        "fliqd: http://127.0.0.1:1 cannot be reached (Connection refused); is `fliqd serve` running?\n"
    )


def test_a_wrong_token_is_77_and_says_where_it_came_from(daemon: Daemon) -> None:
    ended = daemon("status", FLIQD_TOKEN="fliq_sk_0")
    assert ended.code == 77
    assert ended.err.count("\n") == 1
    assert "check --token or $FLIQD_TOKEN" in ended.err


def test_no_token_is_77_and_says_where_it_was_looked_for(daemon: Daemon, tmp_path: Path) -> None:
    ended = daemon("status", STATE_DIRECTORY=str(tmp_path))
    assert ended.code == 77
    assert f"there is no {tmp_path}/admin.token" in ended.err


def test_a_token_file_that_cannot_be_read_is_77(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "admin.token").mkdir()
    ended = daemon("status", STATE_DIRECTORY=str(tmp_path))
    assert ended.code == 77
    assert "cannot be read (Is a directory)" in ended.err


def test_a_proxy_of_the_environment_is_not_used(stranger: Target) -> None:
    stranger.answer = OK
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    assert run("status", env=environment(FLIQD_URL=stranger.url, FLIQD_TOKEN="t", **proxies)).code == 0


def test_a_sub_path_goes_before_v1(stranger: Target) -> None:
    stranger.answer = OK
    for url in ("/fliqd", "/fliqd/", "/fliqd/v1"):
        Client(parse_place(stranger.url + url), "secret").get("/status", expects="status")
    assert {hit.path for hit in stranger.hits} == {"/fliqd/v1/status"}
    assert {hit.headers["Authorization"] for hit in stranger.hits} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "answered 200 with text/html"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n{}", "which is not fliqd's API; check --url"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"hello": 1}', "which is not fliqd's API"),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", "which is not fliqd's API"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "the proxy at"),
        (b"HTTP/1.0 308 Moved\r\nLocation: https://elsewhere/\r\n\r\n", "redirects to https://elsewhere/"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\n{", "broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off"),
        (b"", "broke off"),
    ],
)
def test_what_is_not_fliqd_is_told(stranger: Target, answer: bytes, told: str) -> None:
    stranger.answer = answer
    with pytest.raises(UnreachableError) as raised:
        Client(parse_place(stranger.url), None).get("/status", expects="status")
    assert told in str(raised.value)


def test_a_server_that_keeps_silent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        client = Client(parse_place(f"unix:{tmp_path}/s"), None, answer_s=0.05)
        with pytest.raises(UnreachableError, match=r"did not answer within 0.05 s; it may have been done all the same"):
            client.call("POST", "/jobs", b"{}")


@pytest.mark.parametrize(
    "url", ["localhost:1", "ftp://x", "http://", "unix:x", "http://a b", "http://u:p@x", "http://x?y"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(click.BadParameter):
        connect(url, "t", None)


def test_the_local_token_stays_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: Target
) -> None:
    (tmp_path / "admin.token").write_text("fliq_sk_1\n")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    stranger.answer = OK
    connect(stranger.url, None, None).get("/status", expects="status")
    assert stranger.hits[0].headers["Authorization"] == "Bearer fliq_sk_1"
    assert connect("http://192.0.2.1", None, None)._token is None  # noqa: SLF001 -- it must not be sent to find out


def test_a_token_that_would_break_the_header() -> None:
    with pytest.raises(NotAllowedError):
        connect("http://localhost", "a\r\nHost: b", None)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("http://0.0.0.0:1", "http://127.0.0.1:1"),
        ("http://[::]:1", "http://[::1]:1"),
        ("http://192.0.2.1:1", "http://192.0.2.1:1"),
        ("unix:/run/s", "unix:/run/s"),
    ],
)
def test_where_to_reach_what_listens(listen: str, url: str) -> None:
    assert place_of(listen).url == url


def test_a_port_that_is_picked_cannot_be_known() -> None:
    with pytest.raises(click.UsageError, match="give --url"):
        place_of("http://127.0.0.1:0")
