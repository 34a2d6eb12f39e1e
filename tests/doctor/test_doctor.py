"""`fliqd doctor`: what is wrong is found and told with what to do, and nothing secret with it."""

import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from fliqd import config as configuration
from fliqd.core.signing import new_secret
from fliqd.doctor import disk, network, process, versions
from fliqd.doctor.examine import examine
from fliqd.doctor.finding import Finding, Level, Subject
from tests.cli.running import Ended, environment, run, serve

LEVELS = {str(level) for level in Level}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("stopped") / "state"
    with serve(state):
        pass
    (state / "stderr").unlink()
    return state


@pytest.fixture
def state(tmp_path: Path, stopped: Path) -> Path:
    """What a daemon left that has stopped."""
    return shutil.copytree(stopped, tmp_path / "state")


def doctor(state: Path, *args: str, **env: str) -> Ended:
    listen = {"FLIQD_SERVER__LISTEN": f"127.0.0.1:{free_port()}"}
    return run("doctor", *args, env=environment(STATE_DIRECTORY=str(state), **(listen | env)))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def found(ended: Ended) -> dict[str, list[dict[str, Any]]]:
    """Return the findings by what was looked at."""
    by_check: dict[str, list[dict[str, Any]]] = {}
    for one in ended.json["findings"]:
        by_check.setdefault(one["check"], []).append(one)
    return by_check


def look(state: Path, **env: str) -> list[Finding]:
    """Examine a state directory without a daemon, in this process."""
    config = configuration.load(None, environment(STATE_DIRECTORY=str(state), FLIQD_SERVER__LISTEN="127.0.0.1:0") | env)
    return list(examine(Subject(config, None, "not asked")))


def secrets_in(state: Path) -> list[str]:
    return [(state / name).read_text().strip() for name in ("token.key", "signing.secret", "admin.token")]


def test_all_is_well_with_a_running_daemon(tmp_path: Path) -> None:
    with serve(tmp_path / "state") as daemon:
        ended = daemon("doctor", "-o", "json")
    assert ended.code == 0, ended
    seen = found(ended)
    assert seen["daemon"][0]["level"] == "ok"
    assert {"store", "sqlite", "aiohttp", "python", "clock", "file system", "disk", "permissions", "listen", "tokens",
            "egress", "open files", "hardening"} <= seen.keys()  # fmt: skip
    assert ended.json["ok"] is True


def test_every_finding_that_is_not_fine_says_what_to_do(state: Path) -> None:
    ended = doctor(state, "-o", "jsonl", FLIQD_EGRESS__POLICY="open", FLIQD_RETENTION__MAX_DB_SIZE="1TiB")
    assert ended.code == 0
    assert {line["level"] for line in ended.lines} <= LEVELS
    assert [line for line in ended.lines if line["level"] in ("warning", "wrong") and not line["do"]] == []
    plain = doctor(state)
    assert "daemon: http://127.0.0.1:" in plain.out
    assert "→ start it" in plain.out


def test_before_the_first_start(tmp_path: Path) -> None:
    """Nothing is there, nothing is wrong, and nothing is made."""
    ended = doctor(tmp_path / "state", "-o", "json")
    assert ended.code == 0, ended
    assert found(ended)["state directory"][0]["level"] == "note"
    assert not (tmp_path / "state").exists()


def open_the_folder(state: Path) -> None:
    state.chmod(0o777)


def open_a_key(state: Path) -> None:
    (state / "token.key").chmod(0o644)


def empty_a_key(state: Path) -> None:
    (state / "signing.secret").write_text("")


def second_name(state: Path) -> None:
    (state / "again.db").hardlink_to(state / "fliqd.db")


def newer(state: Path) -> None:
    with sqlite3.connect(state / "fliqd.db") as plain:
        plain.execute("PRAGMA user_version = 99")
    plain.close()


def damaged(state: Path) -> None:
    (state / "fliqd.db").write_bytes(b"milk and bread\n" * 1000)


def gone(state: Path) -> None:
    (state / "fliqd.db").unlink()


def exchanged(state: Path) -> None:
    """The store of another state directory."""
    with sqlite3.connect(state / "fliqd.db") as plain:
        plain.execute("UPDATE meta SET value = 'another' WHERE key = 'store_id'")
    plain.close()


def of_another(state: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(state / "fliqd.db", 1234, 1234)


@pytest.mark.parametrize(
    ("harm", "check", "says"),
    [
        (open_the_folder, "state directory", "others may write to"),
        (open_a_key, "key files", "others may read"),
        (empty_a_key, "key files", "signing.secret is empty"),
        (second_name, "store", "has a second name"),
        (newer, "store", "has schema 99"),
        (damaged, "store", "is damaged"),
        (gone, "store", "is not there, although there was one since"),
        (exchanged, "store", "is not the one that this state directory belongs to"),
        (of_another, "owners", "another user"),
    ],
)
def test_what_is_wrong_with_files(state: Path, harm: Callable[[Path], None], check: str, says: str) -> None:
    secrets = secrets_in(state)
    harm(state)
    seen = look(state)
    wrong = [one for one in seen if one.check == check and one.level is Level.WRONG]
    assert any(says in one.says for one in wrong), seen
    assert all(one.do for one in wrong)
    assert not any(secret in one.says + one.do for secret in secrets for one in seen)


def test_a_socket_for_others_where_they_cannot_go(state: Path) -> None:
    place = {"FLIQD_SERVER__LISTEN": f"unix:{state}/fliqd.sock"}
    assert not [one for one in look(state, **place) if one.check == "unix socket"]
    [one] = [one for one in look(state, **place, FLIQD_SERVER__LISTEN_MODE="0660") if one.check == "unix socket"]
    assert one.level is Level.WARNING
    assert "they may not enter /" in one.says


def test_what_is_wrong_with_the_configuration(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "fliqd.toml"
    file.write_text('[server]\nlisen = "x"\n[store]\ndurability = "half"\n')
    ended = doctor(state, "--config", str(file), "-o", "json")
    assert ended.code == 1
    assert len(found(ended)["configuration"]) == 2
    secret = new_secret(b"x" * 32)
    file.write_text(f'[signing]\nsecret = "{secret}"\n')
    file.chmod(0o644)
    ended = doctor(state, "--config", str(file), "-o", "json")
    assert "everyone may read" in found(ended)["configuration"][0]["says"]
    assert secret not in ended.out
    file.chmod(0o660)
    assert "others may write" in doctor(state, "--config", str(file)).out


def test_another_program_at_its_address(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"

        def hang_up() -> None:
            server.accept()[0].close()

        threading.Thread(target=hang_up).start()
        ended = doctor(state, "-o", "json", FLIQD_SERVER__LISTEN=place)
    assert ended.code == 1
    assert "it is not this fliqd" in found(ended)["listen"][0]["says"]


@pytest.mark.parametrize(
    ("env", "check", "level"),
    [
        ({"FLIQD_EGRESS__POLICY": "open"}, "egress", "warning"),
        ({"FLIQD_EGRESS__ALLOW": "10.0.0.0/8", "FLIQD_EGRESS__ALLOW_PORTS": "25"}, "egress", "ok"),
        ({"FLIQD_AUTH__MODE": "none"}, "tokens", "note"),
        ({"FLIQD_SERVER__LISTEN": "0.0.0.0:0"}, "listen", "warning"),
        ({"FLIQD_RETENTION__MAX_DB_SIZE": "1024GiB"}, "disk", "warning"),
        ({"FLIQD_STORE__PATH": "/proc/fliqd.db"}, "disk", "wrong"),
        ({"FLIQD_DISPATCH__MAX_IN_FLIGHT": "10000"}, "open files", ""),
    ],
)
def test_what_settings_come_to(state: Path, env: dict[str, str], check: str, level: str) -> None:
    one = next(one for one in look(state, **env) if one.check == check)
    assert one.level == level or not level


def test_a_disk_in_memory_is_told(tmp_path: Path) -> None:
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mounting, check=False).returncode != 0:
        pytest.skip("only root can mount a disk")
    try:
        seen = found(doctor(tmp_path / "state", "-o", "json"))
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # noqa: S607 -- wherever it is
    assert "tmpfs" in seen["file system"][0]["says"]
    assert seen["disk"][0]["level"] == "wrong"


def test_kinds_of_disks() -> None:
    kinds = {"nfs4": "wrong", "fuse.sshfs": "wrong", "fuse.mergerfs": "warning", "vfat": "warning", "ext4": "ok"}
    assert {kind: str(disk._kind(kind, Path("/x")).level) for kind in kinds} == kinds  # noqa: SLF001 -- a table of its own


def levels(findings: Iterator[Finding]) -> list[str]:
    return [str(one.level) for one in findings]


def test_versions_with_known_faults() -> None:
    sqlite = {"3.34.1": "wrong", "3.40.1": "note", "3.44.6": "ok", "3.50.6": "note", "3.50.7": "ok", "3.51.2": "note",
              "3.51.3": "ok", "3.53.0": "ok"}  # fmt: skip
    assert {text: levels(versions.sqlite(text))[0] for text in sqlite} == sqlite
    python = {(3, 11, 4): ["warning", "warning"], (3, 11, 14): ["ok"], (3, 12, 1): ["warning"], (3, 14, 0): ["ok"]}
    assert {found: levels(versions.python(found, "2027-01-01")) for found in python} == python
    assert levels(versions.python((3, 11, 14), "2027-11-01")) == ["warning"]
    assert levels(versions.python((3, 11, 2), "2027-11-01", by_distribution=True)) == ["note", "note"]


@contextmanager
def https(cert: trustme.LeafCert) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            try:
                context.wrap_socket(server.accept()[0], server_side=True).close()
            except OSError:
                return  # the client did not like it

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    with https(authority.issue_cert("127.0.0.1")) as url:
        assert network.certificate(url).level is Level.WRONG
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with https(authority.issue_cert("127.0.0.1")) as url:
        assert network.certificate(url).level is Level.OK
    with https(authority.issue_cert("nas.lan")) as url:
        assert "not trusted" in network.certificate(url).says
    assert network.certificate(f"https://127.0.0.1:{free_port()}").level is Level.WARNING


def test_the_certificate_of_the_daemon_itself(state: Path, tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("nas.lan", not_after=datetime.now(UTC) + timedelta(days=3))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(cert)
    made.private_key_pem.write_to_path(key)
    served = {"FLIQD_SERVER__TLS_CERT": str(cert), "FLIQD_SERVER__TLS_KEY": str(key)}
    [soon] = found(doctor(state, "-o", "json", **served))["tls"]
    assert (soon["level"], "expires at" in soon["says"]) == ("warning", True)
    key.write_text("no key")
    [broken] = found(doctor(state, "-o", "json", **served))["tls"]
    assert (broken["level"], "see that both files" in broken["do"]) == ("wrong", True)


def test_with_tls_others_may_come_in(state: Path, tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("nas.lan")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    served = {f"FLIQD_SERVER__TLS_{part.upper()}": str(tmp_path / f"{part}.pem") for part in ("cert", "key")}
    wide = found(doctor(state, "-o", "json", FLIQD_SERVER__LISTEN=f"0.0.0.0:{free_port()}", **served))
    assert ([one["level"] for one in wide["listen"]], wide["tls"][0]["level"]) == (["ok"], "ok")


def test_hardening_as_the_kernel_tells_it(tmp_path: Path) -> None:
    proc = tmp_path / "1"
    proc.mkdir()
    good = {"Uid": "990\t990\t990\t990", "CapEff": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}

    def look(**changes: str) -> Finding:
        (proc / "status").write_text("".join(f"{name}:\t{value}\n" for name, value in (good | changes).items()))
        (proc / "cgroup").write_text("0::/system.slice/fliqd.service\n")
        [one] = process.hardening(proc)
        return one

    assert look().level is Level.OK
    bad = look(Uid="0\t0\t0\t0", NoNewPrivs="0", Seccomp="0")
    assert bad.level is Level.WARNING
    assert "fliqd.service runs as root, may gain privileges, may make every system call" in bad.says
    assert "systemd-analyze security fliqd.service" in bad.do
    assert "has capabilities" in look(CapEff="0000000000000400").says


def test_a_daemon_that_does_not_let_it_in_is_not_taken_for_another_program(tmp_path: Path) -> None:
    with serve(tmp_path / "state") as daemon:
        listen = daemon.url.removeprefix("http://")
        ended = doctor(tmp_path / "state", "-o", "json", FLIQD_SERVER__LISTEN=listen, FLIQD_TOKEN="fliq_sk_0")
    seen = found(ended)
    assert ended.code == 1
    assert (
        f"serves {tmp_path}/state/fliqd.db, and its status could not be had: not allowed" in seen["daemon"][0]["says"]
    )
    assert seen["listen"][0]["level"] == "ok"


def test_it_sees_which_store_the_daemon_has(tmp_path: Path, state: Path) -> None:
    with serve(tmp_path / "other") as daemon:
        token = (tmp_path / "other" / "admin.token").read_text().strip()
        ended = doctor(state, "-o", "json", "--url", daemon.url, "--token", token)
    assert "the daemon serves" in found(ended)["store"][0]["says"]


def test_the_json_is_all_of_it(state: Path) -> None:
    assert json.loads(doctor(state, "-o", "json").out).keys() == {"ok", "findings"}
