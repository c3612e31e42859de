"""What a transport is: requests to one API server as bytes, and typed errors. No policy: no retries by status.

`HttpTransport` speaks HTTP/1.1; a simulation brings one of its own, with the server in the same process.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

APPLY_PATCH = "application/apply-patch+yaml"


class Answer(NamedTuple):
    """A complete answer; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream(Protocol):
    """An answer whose body is still coming.

    Attributes:
        status: of the answer.
        headers: names in lower case.
    """

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The rest of the body, for an answer that is no stream after all; the caller sets the deadline."""
        ...

    def batches(self, idle_timeout: float) -> AsyncIterator[list[bytes]]:
        """The complete lines that have come, without their newlines, whenever some have; an incomplete last one is
        dropped. Empty lines and empty batches are left out.

        Raises:
            RequestTimeout: nothing came for `idle_timeout` seconds.
            ConnectionFailed: the connection broke.
        """
        ...


class Transport(Protocol):
    """Takes requests to one server; one for every client of it.

    Attributes:
        stats: answers counted by (code, method, host), the code being "<error>" when no answer came.
    """

    stats: dict[tuple[str, str, str], int]

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None,
        content_type: str | None,
        *,
        refused: bool = False,
        fence: Callable[[], None] | None = None,
    ) -> Answer:
        """One request, one answer of any status. The caller sets the deadline.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            target: quoted path with the query, "/api/v1/pods?limit=1".
            body: sent as it is.
            content_type: of the body.
            refused: the server answered 401 to the last try, so new credentials are needed.
            fence: called just before the bytes go out, each time that they do; what it raises is raised, and nothing
                is sent (LE-8).

        Raises:
            ConnectionFailed: no complete answer came.
        """
        ...

    def stream(self, target: str, *, timeout: float, refused: bool = False) -> AbstractAsyncContextManager[Stream]:
        """A GET whose body is read while it comes; leaving the context ends it.

        Raises:
            RequestTimeout: the answer's head did not come within `timeout` seconds.
            ConnectionFailed: no answer came.
        """
        ...

    async def close(self) -> None:
        """End everything that is open; safe to call twice."""
        ...
