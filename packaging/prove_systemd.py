"""The long proof: the package in a Debian of its own, booted with a real systemd. Needs root; takes some minutes.

Needs systemd-container and debootstrap, and what `make deb onefile pyz` has built. The Debian is made once, in
build/debian; each run has what it writes in memory alone.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEBIAN = Path(os.environ.get("DEBIAN_ROOT", ROOT / "build/debian"))
DIST = ROOT / "dist"
PACKAGES = "systemd,systemd-sysv,dbus,python3-minimal,libpython3-stdlib"
NAME = "fliqd-proof"
URL = "http://127.0.0.1:3547"
PATIENCE_S = 90.0
TARGET = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        print(self.path, flush=True)
        if self.path.startswith("/slow"):
            time.sleep(6)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""
# Asks again and again, each time on a new connection, until its stdin ends; prints what went wrong, then how many.
CLIENT = """
import http.client, json, sys, threading
token, stop, made, wrong = sys.argv[1], threading.Event(), [], []
body = json.dumps({"url": "http://127.0.0.1:8000/later", "delay": "1h"})
def work():
    while not stop.is_set():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 3547, timeout=60)
            headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json", "Connection": "close"}
            connection.request("POST", "/v1/jobs", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            (made if answer.status == 201 else wrong).append(text.decode())
        except OSError as err:
            wrong.append(repr(err))
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
sys.stdin.read()
stop.set()
[thread.join() for thread in threads]
print(json.dumps({"made": len(made), "wrong": wrong[:5]}))
"""


class Machine:
    """The booted Debian."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-p", "-n", "-C", "--"]
        self._network = ["nsenter", "-t", str(pid), "-n", "--"]
        self._target = subprocess.Popen(
            [*self._network, sys.executable, "-c", TARGET], stdout=subprocess.PIPE, text=True
        )
        self.hits: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._target.stdout is not None  # noqa: S101 -- it is a pipe
        for line in self._target.stdout:
            self.hits.append(line.strip())

    def close(self) -> None:
        """End what calls are made to."""
        self._target.kill()
        self._target.wait()

    def __call__(self, command: str, *, fails: bool = False) -> str:
        """Run a shell command inside; return what it said."""
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": "/root",
        }
        done = subprocess.run(
            [*self._enter, "sh", "-c", command], env=env, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=PATIENCE_S * 2,
        )  # fmt: skip
        if (done.returncode != 0) != fails:
            raise SystemExit(f"{command!r} ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout + (done.stderr if fails else "")

    def journal(self) -> str:
        """Return the last lines of the service's log."""
        command = [*self._enter, "journalctl", "-u", "fliqd.service", "-n", "30", "--no-pager"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def show(self, *properties: str) -> dict[str, str]:
        """Return properties of the service, as systemd sees it."""
        lines = self(f"systemctl show fliqd.service -p {','.join(properties)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until(self, ask: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not ask():
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} did not happen\n{self.journal()}")
            time.sleep(0.1)

    def is_active(self) -> bool:
        """Whether systemd takes the service for ready."""
        return self.show("ActiveState")["ActiveState"] == "active"

    def job(self, path: str, delay: str = "0s") -> str:
        """Have the target called."""
        return self(f"fliqd jobs create http://127.0.0.1:8000{path} --delay {delay}").strip()

    def drop_in(self, name: str, text: str) -> None:
        """Change the unit."""
        self(f"mkdir -p /etc/systemd/system/fliqd.service.d && printf '%s\\n' '{text}' "
             f"> /etc/systemd/system/fliqd.service.d/{name}.conf && systemctl daemon-reload")  # fmt: skip

    def undo(self, name: str) -> None:
        """Take such a change back."""
        self(f"rm /etc/systemd/system/fliqd.service.d/{name}.conf && systemctl daemon-reload")

    @contextlib.contextmanager
    def clients(self, token: str) -> Iterator[dict[str, object]]:
        """Create jobs all the time; what became of it is known at the end."""
        result: dict[str, object] = {}
        command = [*self._network, sys.executable, "-c", CLIENT, token]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            yield result
            out, _ = client.communicate("", timeout=PATIENCE_S)
            result.update(json.loads(out))


def expect(what: str, *, holds: bool, seen: object = "") -> None:
    """Say what was proven, or end."""
    if not holds:
        raise SystemExit(f"NOT {what}: {seen}")
    print(f"  {what}", flush=True)


def install(machine: Machine) -> None:
    """From the file to the first job, on a machine without Python."""
    machine("mkdir /var/hidden && (mv /usr/bin/python3* /var/hidden/ || true)")
    started = time.monotonic()
    machine("dpkg -i /mnt/dist/fliqd_*.deb")
    machine.until(machine.is_active, "the start")
    machine.job("/first")
    machine.until(lambda: "/first" in machine.hits, "the first job")
    print(f"  from the package to the first delivered job: {time.monotonic() - started:.1f} s")
    shown = machine.show("Type", "User", "StatusText", "NRestarts", "UnitFileState")
    expect(
        "it is enabled, and runs as its own user",
        holds=shown["UnitFileState"] == "enabled" and shown["User"] == "fliqd",
        seen=shown,
    )
    machine.until(lambda: "in flight" in machine.show("StatusText")["StatusText"], "a status")
    expect(
        "the configuration is root's and readable for it",
        holds="root:fliqd 640" in machine("stat -c '%U:%G %a' /etc/fliqd/config.toml"),
    )
    expect("its state is its own", holds="fliqd:fliqd 700" in machine("stat -c '%U:%G %a' /var/lib/fliqd"))
    expect(
        "the command line finds the daemon and its token",
        holds="running" not in machine("fliqd status") and "ok" in machine("fliqd status"),
    )
    expect("its files are whole", holds=machine("dpkg --verify fliqd | grep -v /usr/share || true") == "")


def reload(machine: Machine) -> None:
    """`systemctl reload` returns when it is done, in the same process."""
    before = machine.show("MainPID")
    machine("systemctl reload fliqd")
    expect("a reload keeps the process", holds=machine.show("MainPID") == before and machine.is_active())


def crash(machine: Machine) -> None:
    """Killed, it is back, and what was due is done."""
    machine.job("/after-the-crash", "3s")
    pid = machine.show("MainPID")["MainPID"]
    machine(f"kill -9 {pid}")
    machine.until(lambda: machine.is_active() and machine.show("MainPID")["MainPID"] not in ("0", pid), "the restart")
    machine.until(lambda: "/after-the-crash" in machine.hits, "the job")
    expect("kill -9: restarted, and the job was done", holds=machine.show("NRestarts")["NRestarts"] == "1")


def watchdog(machine: Machine) -> None:
    """Hanging, it is ended and started again; working, it is not, for many times the watchdog's patience."""
    machine.drop_in("watchdog", "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s")
    machine("systemctl restart fliqd && systemctl reset-failed fliqd")
    pid = machine.show("MainPID")["MainPID"]
    time.sleep(7)
    expect("it feeds the watchdog", holds=machine.show("MainPID")["MainPID"] == pid)
    machine(f"kill -STOP {pid}")
    machine.until(lambda: machine.is_active() and machine.show("MainPID")["MainPID"] not in ("0", pid), "the restart")
    expect(
        "a hanging one is ended by the watchdog", holds="Watchdog timeout" in machine("journalctl -u fliqd --no-pager")
    )
    machine.undo("watchdog")
    machine("systemctl restart fliqd")


def wrong_configuration(machine: Machine) -> None:
    """It is refused once, with its problems in the log, and not tried again."""
    machine("cp -p /etc/fliqd/config.toml /root/ && printf '[server]\\nlisen = 1\\n' > /etc/fliqd/config.toml")
    machine("systemctl reset-failed fliqd; systemctl restart fliqd", fails=True)
    time.sleep(4)
    shown = machine.show("ActiveState", "ExecMainStatus", "NRestarts")
    expect(
        "a wrong configuration is not tried again",
        holds=shown == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"},
        seen=shown,
    )
    expect("and the log says what is wrong", holds="did you mean" in machine.journal())
    machine("cp -p /root/config.toml /etc/fliqd/ && systemctl start fliqd")


def credentials(machine: Machine) -> None:
    """An admin token from /etc/credstore is let in while it is there."""
    token = "fliq_sk_" + "c" * 64
    machine(f"umask 077 && mkdir -p /etc/credstore && echo {token} > /etc/credstore/fliqd.admin-token")
    machine("systemctl restart fliqd")
    listed = machine(f"FLIQD_TOKEN={token} fliqd tokens list")
    expect("a credential is let in", holds="credential" in listed, seen=listed)
    machine("rm /etc/credstore/fliqd.admin-token && systemctl restart fliqd")
    refused = machine(f"FLIQD_TOKEN={token} fliqd tokens list", fails=True)
    expect("and no longer without it", holds="not known" in refused, seen=refused)


def grace(machine: Machine) -> None:
    """What is under way finishes, though the unit alone would not have waited so long."""
    machine.drop_in("grace", "[Service]\nTimeoutStopSec=2s\nEnvironment=FLIQD_DISPATCH__SHUTDOWN_GRACE=15s")
    machine("systemctl restart fliqd")
    job = machine.job("/slow")
    machine.until(lambda: "/slow" in machine.hits, "the slow job")
    machine("systemctl stop fliqd")
    shown = machine.show("Result", "ExecMainStatus")
    expect(
        "a stop waits for what is under way", holds=shown == {"Result": "success", "ExecMainStatus": "0"}, seen=shown
    )
    machine.undo("grace")
    machine("systemctl start fliqd")
    expect("which has become a success", holds='"status": "success"' in machine(f"fliqd jobs get {job} -o json"))


def socket_activation(machine: Machine) -> None:
    """The socket starts it, and over restarts no connection is lost."""
    machine("systemctl stop fliqd && systemctl enable --now fliqd.socket")
    expect("it is not running", holds=not machine.is_active())
    machine("fliqd status")
    expect("a connection has started it", holds=machine.is_active())
    token = machine("cat /var/lib/fliqd/admin.token").strip()
    with machine.clients(token) as result:
        for _ in range(5):
            time.sleep(1)
            machine("systemctl restart fliqd")
        time.sleep(1)
    expect(
        f"five restarts, no connection lost ({result['made']} jobs made meanwhile)",
        holds=not result["wrong"],
        seen=result,
    )
    machine("systemctl disable --now fliqd.socket fliqd && systemctl enable --now fliqd")


def upgrade(machine: Machine) -> None:
    """A newer package over a changed conffile and a full store, with jobs due meanwhile: none missed, none twice."""
    machine("dpkg-deb -R /mnt/dist/fliqd_*.deb /root/newer")
    machine("sed -i 's/^Version: .*/Version: 99.0-1/' /root/newer/DEBIAN/control")
    machine("echo '# new in 99' >> /root/newer/etc/fliqd/config.toml")
    machine("dpkg-deb --root-owner-group -Znone --build /root/newer /root/newer.deb && rm -r /root/newer")
    machine("echo '# mine' >> /etc/fliqd/config.toml")
    paths = [f"/upgrade-{number}" for number in range(40)]
    for number, path in enumerate(paths):
        machine.job(path, f"{4 + number * 0.1:.1f}s")
    pid = machine.show("MainPID")
    machine("DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i /root/newer.deb")
    expect("the upgrade has restarted it", holds=machine.is_active() and machine.show("MainPID") != pid)
    machine.until(lambda: set(paths) <= set(machine.hits), "all jobs")
    time.sleep(1)
    hits = [hit for hit in machine.hits if hit in paths]
    expect(
        "40 jobs due during the upgrade: none missed, none twice", holds=sorted(hits) == sorted(paths), seen=len(hits)
    )
    kept = machine("tail -1 /etc/fliqd/config.toml; tail -1 /etc/fliqd/config.toml.dpkg-dist")
    expect("the changed conffile is kept, the new one beside it", holds=kept == "# mine\n# new in 99\n", seen=kept)


def remove(machine: Machine) -> None:
    """Remove: it stops and leaves what is the operator's. Purge: it leaves nothing."""
    machine("dpkg -r fliqd")
    expect(
        "removed: it is stopped, its state is kept",
        holds=not machine.is_active() and "fliqd.db" in machine("ls /var/lib/fliqd /etc/fliqd/config.toml"),
    )
    machine("dpkg -P fliqd")
    ours = ("/var/lib/dpkg/*", "/var/log/*", "/etc/systemd/system/fliqd.service.d*")  # of dpkg, the journal, this proof
    left = machine("find /etc /usr /var -name '*fliqd*'" + "".join(f" -not -path '{path}'" for path in ours))
    expect("purged: nothing is left", holds=left == "", seen=left)


def other_forms(machine: Machine) -> None:
    """Run the file for many Pythons and the one without, under the same unit."""
    machine("mv /var/hidden/python3* /usr/bin/")
    machine("cp /mnt/systemd/fliqd.service /mnt/systemd/fliqd.socket /etc/systemd/system/")
    machine("systemd-sysusers /mnt/systemd/fliqd.sysusers && mkdir -p /etc/fliqd && touch /etc/fliqd/config.toml")
    for form, file in (("pyz", "fliqd.pyz"), ("onefile", "fliqd-onefile")):
        pattern = "fliqd.pyz" if form == "pyz" else "fliqd-*-linux-*[!z]"
        machine(f"cp /mnt/dist/{pattern} /usr/local/bin/{file} && chmod 755 /usr/local/bin/{file}")
        text = (ROOT / f"systemd/{form}.conf").read_text()
        machine.drop_in(form, text + "WatchdogSec=3s")
        machine("systemctl start fliqd")
        pid = machine.show("MainPID")
        time.sleep(8)
        machine("systemctl reload fliqd")
        expect(
            f"{form}: ready, feeds the watchdog, reloads", holds=machine.show("MainPID") == pid and machine.is_active()
        )
        machine("systemctl stop fliqd")
        shown = machine.show("Result", "NRestarts")
        expect(f"{form}: stops well", holds=shown == {"Result": "success", "NRestarts": "0"}, seen=shown)
        machine.undo(form)


PROOFS = (
    install,
    reload,
    crash,
    watchdog,
    wrong_configuration,
    credentials,
    grace,
    socket_activation,
    upgrade,
    remove,
    other_forms,
)


@contextlib.contextmanager
def boot() -> Iterator[Machine]:
    """Start the Debian, on memory laid over it, without any network but its own loopback."""
    if not (DEBIAN / "etc/debian_version").exists():
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", DEBIAN], check=True)
    (DEBIAN / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    command = [
        "systemd-nspawn", "--quiet", "-D", str(DEBIAN), "--boot", "--register=no", "--keep-unit", f"--machine={NAME}",
        "--private-network", "--volatile=overlay", "--console=pipe", f"--bind-ro={DIST}:/mnt/dist",
        f"--bind-ro={ROOT / 'systemd'}:/mnt/systemd",
    ]  # fmt: skip
    with (ROOT / "build/boot.log").open("wb") as log:
        nspawn = subprocess.Popen(
            command,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        machine = Machine(_init_of(nspawn))
        try:
            machine.until(lambda: re.match("running|degraded", _state(machine)), "the boot")
            yield machine
        finally:
            machine.close()
    finally:
        nspawn.terminate()
        nspawn.wait()


def _state(machine: Machine) -> str:
    return machine("systemctl is-system-running || true")


def _init_of(nspawn: subprocess.Popen[bytes]) -> int:
    """Return the pid that its systemd has out here."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and nspawn.poll() is None:
        for child in Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    time.sleep(1)
                    return int(child)
        time.sleep(0.1)
    raise SystemExit(f"it does not boot: {(ROOT / 'build/boot.log').read_text()}")


def main() -> None:
    """Prove one thing after the other."""
    missing = [tool for tool in ("systemd-nspawn", "debootstrap", "nsenter") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        raise SystemExit(
            f"needs root and {', '.join(missing) or 'nothing else'}: apt install systemd-container debootstrap"
        )
    wanted = sys.argv[1:]
    with boot() as machine:
        print(machine("systemctl --version | head -1").strip())
        for proof in PROOFS:
            if not wanted or proof.__name__ in wanted:
                print(f"{proof.__name__}: {proof.__doc__}", flush=True)
                proof(machine)
    print("proven")


if __name__ == "__main__":
    main()
