"""TLS contexts: from files that may rotate, and from data that must not stay on disk."""

import os
import ssl
import tempfile
from pathlib import Path
from typing import NamedTuple

from fastcore.controller.endpoint import ConfigError


class Material(NamedTuple):
    """What a TLS context is made of; of data and a file for the same, the data counts.

    Attributes:
        authority: path of the authorities' certificates (PEM), or "" for the system's trust.
        authority_data: the same as PEM, or b"".
        certificate: path of the client's certificate (PEM), or "".
        certificate_data: the same as PEM, or b"".
        key: path of its key, or "".
        key_data: the same as PEM, or b"".
        verify: whether the server is verified.
    """

    authority: str = ""
    authority_data: bytes = b""
    certificate: str = ""
    certificate_data: bytes = b""
    key: str = ""
    key_data: bytes = b""
    verify: bool = True

    def version(self) -> tuple[object, ...]:
        """Differs as soon as a file is another one."""
        files = [
            self.authority if not self.authority_data else "",
            self.certificate if not self.certificate_data else "",
            self.key if not self.key_data else "",
        ]
        return (self.certificate_data, self.key_data, *[_stamp(path) for path in files if path])

    def context(self) -> ssl.SSLContext:
        """A client's TLS context.

        Raises:
            ConfigError: a file cannot be read, or a certificate or key is none; no content is shown.
        """
        try:
            context = tls_context(self.authority or None, self.authority_data.decode() or None)
        except (OSError, ValueError) as error:
            raise ConfigError(f"the certificate authority {self.authority or '(data)'!r}: {error}") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate or self.certificate_data:
            self._identify(context)
        return context

    def _identify(self, context: ssl.SSLContext) -> None:
        written: list[str] = []
        try:
            certificate = _as_file(self.certificate_data, written) if self.certificate_data else self.certificate
            key = _as_file(self.key_data, written) if self.key_data else self.key
            context.load_cert_chain(certificate, key or None, password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigError(f"the client certificate {self.certificate or '(data)'!r}: {error}") from error
        finally:
            for path in written:
                os.unlink(path)


def tls_context(ca_file: str | None = None, ca_data: str | None = None) -> ssl.SSLContext:
    """A TLS client context that verifies the server against a CA (PEM), or the system's trust without one.

    Clusters' own authorities often lack extensions that Python 3.13 began to insist on, so that one strictness is
    off: chain, validity and host name are verified.
    """
    context = ssl.create_default_context(cafile=None if ca_data else ca_file, cadata=ca_data)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        found = Path(path).stat()
    except OSError:  # it is between two versions; reading it will tell
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _as_file(data: bytes, written: list[str]) -> str:
    """A file that only we can read, for the moment in which OpenSSL reads it: it takes keys from files alone."""
    descriptor, path = tempfile.mkstemp(prefix="fastcore-")
    written.append(path)
    with open(descriptor, "wb") as file:
        file.write(data)
    return path


def _no_password() -> str:
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")
