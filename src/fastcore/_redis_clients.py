"""The clients of redis-py that a limiter asks: one that it was given, or its own, made from a URL when first needed."""

import asyncio
import threading
from inspect import iscoroutinefunction
from typing import Any
from weakref import WeakKeyDictionary


def from_url(url: str, timeout: float, *, asynchronous: bool) -> Any:
    """A client with short timeouts that never tries again by itself; it connects when it is first used."""
    if asynchronous:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
    else:
        from redis import Redis  # type: ignore[assignment]
        from redis.retry import Retry  # type: ignore[assignment]
    from redis.backoff import NoBackoff

    try:
        return Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0), retry_on_error=[]
        )
    except ValueError:
        # Without its cause: the parts of a URL that could not be read may be parts of its password.
        raise ValueError(
            "the URL is not one of Redis: redis://, rediss:// or unix://, with a number as the port and special "
            "characters of the password as %XX"
        ) from None


class Clients:
    """A client for callers that block, and one for each event loop; from a URL both, else the one that was given."""

    def __init__(self, client: Any, timeout: float) -> None:
        self._url = client if isinstance(client, str) else None
        self._timeout = timeout
        self._blocking: Any = None
        self._asynchronous: Any = None
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()
        if self._url is not None:
            self._blocking = from_url(self._url, timeout, asynchronous=False)
        elif iscoroutinefunction(getattr(client, "execute_command", None)):
            self._asynchronous = client
        else:
            self._blocking = client

    def blocking(self) -> Any:
        """The client for this thread."""
        if self._blocking is None:
            raise TypeError("this RedisTokenBucket has an asynchronous client: use the methods named *_async")
        return self._blocking

    def asynchronous(self) -> Any:
        """The client for the running event loop."""
        if self._asynchronous is not None:
            return self._asynchronous
        if self._url is None:
            raise TypeError("this RedisTokenBucket has a blocking client: use the methods not named *_async")
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._by_loop.get(loop)
            if client is None:
                client = self._by_loop[loop] = from_url(self._url, self._timeout, asynchronous=True)
        return client

    def close(self) -> None:
        """Close the blocking client that was made from the URL."""
        if self._url is not None:
            self._blocking.close()

    async def aclose(self) -> None:
        """Close the clients that were made from the URL, those of other event loops excepted."""
        self.close()
        with self._lock:
            client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
