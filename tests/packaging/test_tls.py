"""https: the certificate of the configuration, renewed without a restart, and told to the local command line."""

import asyncio
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from fliqd.core.certificates import expiry_ms, leaf
from fliqd.errors import ConfigError
from fliqd.tls import Certificate
from tests.support import PATIENCE_S, FakeClock, FliqdProcess, RunningDaemon, process, until

CA = trustme.CA()


@dataclass
class Files:
    """A certificate and its key, as whoever renews them writes them."""

    cert: Path
    key: Path

    def write(self, *names: str, ca: trustme.CA = CA, not_after: datetime | None = None) -> None:
        issued = ca.issue_cert(*names, not_after=not_after)
        self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())

    @property
    def env(self) -> dict[str, str]:
        return {"FLIQD_SERVER__TLS_CERT": str(self.cert), "FLIQD_SERVER__TLS_KEY": str(self.key)}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "cert.pem", tmp_path / "key.pem")
    files.write("127.0.0.1")
    return files


@asynccontextmanager
async def https(state: Path, **env: str) -> AsyncIterator[FliqdProcess]:
    async with process(state, **env) as fliqd:
        await fliqd.start()
        yield fliqd


async def shown(url: str) -> bytes:
    """Return the certificate that a client is shown, once its chain is verified."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return der


def cli(fliqd: FliqdProcess, files: Files, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as on the daemon's machine: it finds everything from the configuration."""
    listen = fliqd.url.removeprefix("https://")
    its_env = {"STATE_DIRECTORY": str(fliqd.state_dir), "FLIQD_SERVER__LISTEN": listen} | files.env | env
    return subprocess.run(
        [sys.executable, "-m", "fliqd", "status"],
        env=its_env, capture_output=True, timeout=PATIENCE_S, check=False, encoding="utf-8",
    )  # fmt: skip


async def test_a_renewed_certificate_is_taken_up(tmp_path: Path, files: Files) -> None:
    """By itself, on a hangup too, and not when what is there is no pair."""
    async with https(tmp_path / "state", NOTIFY_SOCKET="", WATCHDOG_USEC="90000", **files.env) as fliqd:
        assert fliqd.url.startswith("https://127.0.0.1:")
        first = await shown(fliqd.url)
        assert first == leaf(files.cert.read_text())

        files.cert.write_text("half of what was to be written")

        async def told() -> bool | None:
            return any(event["event"] == "tls.not_reloaded" for event in fliqd.log) or None

        await until(told, "the word that it cannot be used")
        assert await shown(fliqd.url) == first

        files.write("127.0.0.1")
        second = leaf(files.cert.read_text())

        async def taken() -> bool | None:
            return (await shown(fliqd.url)) == second or None

        await until(taken, "the new certificate")

        def reloads() -> int:
            return sum(event["event"] == "tls.reloaded" for event in fliqd.log)

        before = reloads()
        assert fliqd.process is not None
        fliqd.process.send_signal(signal.SIGHUP)

        async def reloaded() -> bool | None:
            return reloads() > before or None

        await until(reloaded, "the reload")


async def test_the_command_line_trusts_the_certificate_of_the_configuration(tmp_path: Path, files: Files) -> None:
    """It knows which one to expect, whatever name is in it, and sends its token to nobody else."""
    files.write("nas.example")
    async with https(tmp_path / "state", **files.env) as fliqd:
        done = await asyncio.to_thread(cli, fliqd, files)
        assert done.returncode == 0, done.stderr
        assert f"at {fliqd.url}" in done.stdout
        files.write("nas.example")
        refused = await asyncio.to_thread(cli, fliqd, files)
        assert refused.returncode == 69
        assert "another certificate than" in refused.stderr


async def test_the_command_line_takes_an_https_url(tmp_path: Path, files: Files) -> None:
    roots = tmp_path / "roots.pem"
    CA.cert_pem.write_to_path(str(roots))
    async with https(tmp_path / "state", **files.env) as fliqd:
        url = {"FLIQD_URL": fliqd.url, "FLIQD_TOKEN": str(fliqd.token)}
        assert (await asyncio.to_thread(cli, fliqd, files, **url, SSL_CERT_FILE=str(roots))).returncode == 0
        refused = await asyncio.to_thread(cli, fliqd, files, **url)
        assert refused.returncode == 69
        assert "not trusted" in refused.stderr


async def test_the_status_tells_when_it_expires(tmp_path: Path, clock: FakeClock, files: Files) -> None:
    files.write("127.0.0.1", not_after=datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC))
    fliqd = RunningDaemon(tmp_path / "state", clock, files.env | {"FLIQD_SERVER__LISTEN": f"unix:{tmp_path}/s"})
    await fliqd.start()
    assert fliqd.daemon is not None
    tls = fliqd.daemon.status()["tls"]
    assert tls == {"certificate": str(files.cert), "expires_at": "2031-05-06T07:08:09.000Z"}
    assert fliqd.url == f"unix:{tmp_path}/s"  # what is on a unix socket stays on the machine
    await fliqd.stop()
    await fliqd.close()


async def test_without_tls_the_status_says_so(fliqd: RunningDaemon) -> None:
    assert (await fliqd("GET", "/v1/status")).body["tls"] is None


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda files: files.cert.unlink(), "server.tls_cert: .* cannot be read: No such file"),
        (lambda files: files.key.unlink(), "server.tls_key: .* cannot be read: No such file"),
        (lambda files: files.cert.write_text("x"), "server.tls_cert: .* holds no certificate in PEM"),
        (lambda files: files.cert.write_bytes(b"\xff"), "server.tls_cert: .* holds no certificate in PEM"),
        (lambda files: files.key.write_text("x"), "server.tls_key: .* is not the key of"),
        (lambda files: Files(files.cert.with_name("other"), files.key).write("x"), "server.tls_key: .* key values"),
    ],
)
def test_what_cannot_be_used_is_named(files: Files, harm: object, problem: str) -> None:
    assert callable(harm)
    harm(files)
    with pytest.raises(ConfigError, match=problem):
        Certificate(str(files.cert), str(files.key))


@pytest.mark.parametrize("year", [2049, 2050, 2099])
def test_the_end_of_a_certificate(files: Files, year: int) -> None:
    """Both of X.509's ways to write a time: with two digits for the year until 2049, with four from 2050 on."""
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    files.write("127.0.0.1", not_after=end)
    assert expiry_ms(leaf(files.cert.read_text())) == end.timestamp() * 1000


def test_the_expiry_agrees_with_what_openssl_shows_of_a_peer(files: Files) -> None:
    files.write("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=90))
    client, server = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.configure_trust(client)
    server.load_cert_chain(files.cert, files.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    peer = ours.getpeercert()
    assert peer is not None
    assert ssl.cert_time_to_seconds(str(peer["notAfter"])) * 1000 == expiry_ms(leaf(files.cert.read_text()))
