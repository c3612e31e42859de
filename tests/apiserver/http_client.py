"""A small client for tests of API servers: plain requests in, parsed answers out, nothing interpreted."""

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TIMEOUT_S = 20.0


class Answer:
    """What a server said: `code`, parsed `body` (bytes if it is no JSON), `headers`."""

    def __init__(self, code: int, raw: bytes, headers: dict[str, str]) -> None:
        self.code = code
        self.raw = raw
        self.headers = headers
        try:
            self.body: Any = json.loads(raw)
        except ValueError:
            self.body = raw

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    def __repr__(self) -> str:
        return f"<{self.code} {self.raw[:2000]!r}>"

    @property
    def reason(self) -> str:
        return self.body.get("reason", "")

    @property
    def message(self) -> str:
        return self.body["message"]

    @property
    def causes(self) -> list[dict[str, str]]:
        return self.body["details"].get("causes", [])

    @property
    def meta(self) -> dict[str, Any]:
        return self.body["metadata"]

    @property
    def revision(self) -> str:
        return self.body["metadata"]["resourceVersion"]

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]


class Client:
    """Requests to one server; paths are relative to `base`, such as "/clusters/a"."""

    def __init__(self, url: str, token: str = "", ca: str = "", base: str = "") -> None:
        self.url = url
        self.token = token
        self.base = base
        self._context = ssl.create_default_context(cadata=ca) if ca else None
        self._address = urlsplit(url).netloc
        self._kept: http.client.HTTPConnection | None = None

    def within(self, base: str) -> "Client":
        """The same server below another path."""
        other = Client(self.url, self.token, "", base)
        other._context = self._context
        return other

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is not None:
            return http.client.HTTPSConnection(self._address, timeout=TIMEOUT_S, context=self._context)
        return http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)

    def _headers(self, content_type: str, accept: str) -> dict[str, str]:
        headers = {"Content-Type": content_type, "Accept": accept, "User-Agent": "conformance"}
        return {**headers, "Authorization": f"Bearer {self.token}"} if self.token else headers

    def _path(self, path: str, query: dict[str, Any]) -> str:
        text = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}
        return self.base + path + ("?" + urlencode(text, quote_via=quote) if text else "")

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON, **query: Any
    ) -> Answer:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if self._kept is None:
            self._kept = self._connect()
        try:
            self._kept.request(method, self._path(path, query), data, self._headers(content_type, accept))
            response = self._kept.getresponse()
            raw = response.read()
        except BaseException:
            self.close()
            raise
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self.close()
        return Answer(response.status, raw, headers)

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def get(self, path: str, **query: Any) -> Answer:
        return self.call("GET", path, **query)

    def post(self, path: str, body: Any, **query: Any) -> Answer:
        return self.call("POST", path, body, **query)

    def put(self, path: str, body: Any, **query: Any) -> Answer:
        return self.call("PUT", path, body, **query)

    def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        return self.call("DELETE", path, body, **query)

    def patch(self, path: str, body: Any, content_type: str = MERGE, **query: Any) -> Answer:
        return self.call("PATCH", path, body, content_type, **query)

    def apply(self, path: str, body: Any, manager: str = "me", **query: Any) -> Answer:
        return self.call("PATCH", path, body, APPLY, fieldManager=manager, **query)

    @contextmanager
    def watch(self, path: str, **query: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a watch, which ends with the block; one that stays silent for 20 s raises."""
        accept = query.pop("accept", JSON)
        connection = self._connect()
        try:
            connection.request("GET", self._path(path, {"watch": "true", **query}), headers=self._headers(JSON, accept))
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response)
        finally:
            connection.close()
