"""HTTPS: certificates that clients can trust, and nobody else's."""

import base64
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from apiserver.conftest import MAPS, config_map
from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer, tls
from fastcore.testing.plugin import need


@pytest.fixture(autouse=True)
def _openssl() -> None:
    need("openssl", "openssl")


def ask(url: str, ca: str) -> int:
    client = Client(url, "", ca)
    try:
        return client.get(MAPS).code
    finally:
        client.close()


@pytest.mark.api_server(tls=True)
def test_trusted(api_server: APIServer) -> None:
    """Group 12: the authority of the server vouches for it, strictly checked, and for a watch as well."""
    assert api_server.url.startswith("https://127.0.0.1:")
    client = Client(api_server.url, "", api_server.ca)
    assert client._context is not None
    client._context.verify_flags |= ssl.VERIFY_X509_STRICT
    client.post(MAPS, config_map("a"))
    with client.watch(MAPS) as events:
        assert next(events)["object"]["metadata"]["name"] == "a"
    client.close()


@pytest.mark.api_server(tls=True)
def test_untrusted(api_server: APIServer) -> None:
    """Group 12: the authority of another server does not."""
    other = tls.make_certificates("127.0.0.1").ca
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(api_server.url, other)


def test_restart_keeps_the_authority() -> None:
    """Group 12: after an outage clients trust the server as before."""
    server = APIServer(tls=True)
    with server:
        ca, url = server.ca, server.url
        assert ask(url, ca) == 200
    with server:
        assert (server.url, ask(url, ca)) == (url, 200)


def test_names() -> None:
    """Group 12: certificates name loopback, and the host where it is another."""
    assert tls._names("127.0.0.1") == "DNS:localhost,IP:127.0.0.1,IP:::1"
    assert tls._names("api.test").endswith(",DNS:api.test")
    assert tls._names("::2").endswith(",IP:::2")


def test_no_openssl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Group 12: without openssl the start fails with advice; so it does when openssl fails."""
    monkeypatch.setattr(tls, "find_binary", lambda name: None)
    server = APIServer(tls=True)
    with pytest.raises(FileNotFoundError, match="install it, or do without TLS"):
        server.start()
    monkeypatch.setattr(tls, "find_binary", lambda name: sys.executable)
    with pytest.raises(OSError, match="openssl failed with status 2"):
        server.start()


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM")
def test_command(tmp_path: Path) -> None:
    """Group 12: `--tls` writes a kubeconfig that the client library accepts; `--faults` serves its path."""
    place = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "fastcore", "apiserver", "--tls", "--faults", "--kubeconfig", str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.stdout.readline()
        cluster = json.loads(place.read_text())["clusters"][0]["cluster"]
        assert cluster["server"] == url
        client = Client(url, "", base64.b64decode(cluster["certificate-authority-data"]).decode())
        assert client.get("/fastcore/faults").body == {"faults": [], "clock_offset": 0}
        client.close()
        process.terminate()
        assert process.wait(20) == 0
