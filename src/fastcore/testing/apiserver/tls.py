"""Certificates for the embedded server: an authority of its own, made at start, gone with it."""

import ipaddress
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from fastcore.testing.kube import find_binary

_DAYS = "30"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificates(NamedTuple):
    """What a server needs to serve TLS, and what its clients need to trust it."""

    context: ssl.SSLContext
    ca: str


def make_certificates(host: str) -> Certificates:
    """Make a certificate authority and a server certificate for loopback and `host`; about 50 ms, blocking.

    The authority's key is thrown away at once, so nobody can sign anything else with it.

    Raises:
        FileNotFoundError: there is no `openssl` on PATH.
        OSError: it failed; the message says why.
    """
    openssl = find_binary("openssl")
    if openssl is None:
        raise FileNotFoundError(
            "TLS needs the openssl command on PATH for its certificates; install it, or do without TLS"
        )
    with tempfile.TemporaryDirectory(prefix="fastcore-tls-") as name:
        folder = Path(name)  # readable by its owner only
        _run(
            openssl, "req", "-x509", *_CURVE, "-days", _DAYS, "-subj", "/CN=fastcore embedded API server",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
        )  # fmt: skip
        _run(
            openssl, "req", "-new", *_CURVE, "-subj", "/CN=fastcore-apiserver",
            "-keyout", folder / "server.key", "-out", folder / "server.csr",
        )  # fmt: skip
        (folder / "extensions").write_text(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
            f"subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nsubjectAltName={_names(host)}\n",
            encoding="ascii",
        )
        _run(
            openssl, "x509", "-req", "-days", _DAYS, "-in", folder / "server.csr", "-out", folder / "server.crt",
            "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-extfile", folder / "extensions",
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        return Certificates(context, (folder / "ca.crt").read_text(encoding="ascii"))


def _names(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        own = f"DNS:{host}"
    else:
        own = f"IP:{host}"
    return ",".join(dict.fromkeys(("DNS:localhost", "IP:127.0.0.1", "IP:::1", own)))


def _run(*command: str | Path) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise OSError(
            f"openssl failed with status {error.returncode}: {error.stderr.decode(errors='replace')}"
        ) from None
