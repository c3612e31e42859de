"""A real kube-apiserver with its etcd on loopback, for tests: what controller-runtime calls envtest.

The binaries are found in `$KUBEBUILDER_ASSETS` (then on PATH). Everything lives in a temporary folder and dies with
the process: nothing is installed, no root is needed, and the data is thrown away.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# What a cluster does besides storing objects, as far as tests of controllers need it.
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "deployment-controller",
    "replicaset-controller",
)

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def find_binary(name: str, assets: str | None = None) -> str | None:
    """The path of an envtest binary in `assets` or `$KUBEBUILDER_ASSETS`, else on PATH, else None."""
    folder = assets or os.environ.get("KUBEBUILDER_ASSETS")
    if folder and os.access(Path(folder) / name, os.X_OK):
        return str(Path(folder) / name)
    return shutil.which(name)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class KubeServer:
    """A private kube-apiserver, its etcd and, if asked for, kube-controller-manager.

    Attributes:
        url: "https://127.0.0.1:PORT".
        token: a bearer token of a member of system:masters.
        ca: the server's certificate in PEM, which signs itself.
        kubeconfig: path of a kubeconfig with all three.
        audit_log: with `audit`, path of a log with a line of JSON for each answered request, without bodies; else "".

    Example:
        with KubeServer() as server:
            subprocess.run(["kubectl", "--kubeconfig", server.kubeconfig, "get", "ns"])

    Raises:
        FileNotFoundError: a binary is missing; the message says where it was looked for.
        RuntimeError: a process died or was not ready in time; the message ends with its log.
    """

    def __init__(
        self,
        *,
        assets: str | None = None,
        controllers: tuple[str, ...] = (),
        ready_timeout: float = 60.0,
        audit: bool = False,
    ) -> None:
        self._assets = assets
        self._controllers = controllers
        self._ready_timeout = ready_timeout
        self._audit = audit
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._commands: dict[str, tuple[str, ...]] = {}
        self._folder: Path | None = None
        self.token = secrets.token_urlsafe(24)
        self.url = ""
        self.ca = ""
        self.kubeconfig = ""
        self.audit_log = ""

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part, by name: tests kill them, benchmarks read their CPU time."""
        return {name: process.pid for name, process in self._processes}

    def start(self) -> Self:
        """Start every part and return when `/readyz` answers 200, about 3 seconds later."""
        binaries = {name: self._binary(name) for name in [*self._names(), "openssl"]}
        self._folder = folder = Path(tempfile.mkdtemp(prefix="fastcore-kube-"))
        try:
            self._start(binaries, folder)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill every part and remove the folder; safe to call twice."""
        processes = [process for _, process in reversed(self._processes)]
        self._processes.clear()
        try:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()
        finally:  # also at a second Ctrl-C
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def kill(self, name: str) -> None:
        """Kill a part at once, as a crash does; `revive` starts it again, with its data.

        Raises:
            KeyError: there is no such part; `pids` names them.
        """
        process = dict(self._processes)[name]
        process.kill()
        process.wait()

    def revive(self, name: str) -> None:
        """Start a part again that was killed or has ended; returns at once, `wait_ready` waits.

        Raises:
            KeyError: there is no such part.
        """
        command = self._commands[name]
        self._processes = [(other, process) for other, process in self._processes if other != name]
        self._spawn(name, *command)

    def wait_ready(self) -> None:
        """Return when `/readyz` answers 200; raises as `start` does."""
        assert self._folder is not None
        self._wait_ready(self._folder / "certificates" / "apiserver.crt")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _names(self) -> list[str]:
        return ["etcd", "kube-apiserver"] + (["kube-controller-manager"] if self._controllers else [])

    def _binary(self, name: str) -> str:
        found = find_binary(name, self._assets)
        if found is None:
            where = self._assets or os.environ.get("KUBEBUILDER_ASSETS") or "(unset)"
            raise FileNotFoundError(f"{name} is neither in KUBEBUILDER_ASSETS={where} nor on PATH")
        return found

    def _start(self, binaries: dict[str, str], folder: Path) -> None:
        client_port, peer_port, port = free_port(), free_port(), free_port()
        etcd = f"http://127.0.0.1:{client_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        key = folder / "service-account.key"
        subprocess.run([binaries["openssl"], "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens = folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n', encoding="utf-8")
        certificates = folder / "certificates"
        self._spawn(
            "etcd", binaries["etcd"], "--unsafe-no-fsync", f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        )  # fmt: skip
        audit: tuple[str, ...] = ()
        if self._audit:
            policy = folder / "audit.json"
            policy.write_text(json.dumps(_AUDIT_POLICY), encoding="utf-8")
            self.audit_log = str(folder / "audit.log")
            audit = (f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-maxsize=4096")
        self._spawn(
            "kube-apiserver", binaries["kube-apiserver"], f"--etcd-servers={etcd}", "--bind-address=127.0.0.1",
            f"--secure-port={port}", f"--cert-dir={certificates}", f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--disable-admission-plugins=ServiceAccount",
            *audit,
        )  # fmt: skip
        self.url = f"https://127.0.0.1:{port}"
        self._wait_ready(certificates / "apiserver.crt")
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self._kubeconfig()), encoding="utf-8")
        self.kubeconfig = str(path)
        if self._controllers:
            self._spawn(
                "kube-controller-manager", binaries["kube-controller-manager"], f"--kubeconfig={path}",
                "--leader-elect=false", f"--controllers={','.join(self._controllers)}", "--bind-address=127.0.0.1",
                f"--secure-port={free_port()}", f"--cert-dir={folder / 'manager'}",
            )  # fmt: skip

    def _spawn(self, name: str, *command: str) -> None:
        assert self._folder is not None
        self._commands[name] = command
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._processes.append((name, process))

    def _wait_ready(self, certificate: Path) -> None:
        deadline = time.monotonic() + self._ready_timeout
        while time.monotonic() < deadline:
            for name, process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with status {process.returncode}:\n{self.log(name)}")
            if certificate.exists():
                self.ca = certificate.read_text(encoding="ascii")
                with contextlib.suppress(urllib.error.URLError, OSError, ssl.SSLError):
                    self._get("/readyz")
                    return
            time.sleep(0.05)
        raise RuntimeError(f"kube-apiserver was not ready in {self._ready_timeout} s:\n{self.log('kube-apiserver')}")

    def _get(self, path: str) -> bytes:
        context = ssl.create_default_context(cadata=self.ca)
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            return bytes(response.read())

    def log(self, name: str) -> str:
        """The end of what a part has printed."""
        assert self._folder is not None
        return (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def _kubeconfig(self) -> dict[str, Any]:
        authority = base64.b64encode(self.ca.encode()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "fastcore", "cluster": {"server": self.url, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "fastcore", "context": {"cluster": "fastcore", "user": "admin"}}],
            "current-context": "fastcore",
        }


def main() -> None:
    """Run a server until SIGINT or SIGTERM; print its URL and the path of its kubeconfig."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with contextlib.suppress(KeyboardInterrupt), KubeServer(controllers=CONTROLLERS) as server:
            print(f"{server.url}\nKUBECONFIG={server.kubeconfig}", flush=True)
            while True:
                time.sleep(3600)
    except (FileNotFoundError, RuntimeError) as error:
        sys.exit(f"fastcore.testing.kube: {error}")


if __name__ == "__main__":
    main()
