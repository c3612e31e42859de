"""The official kubernetes client with three primitives around it: ask less, write less, never hammer a sick server.

fastcore apiserver --kubeconfig /tmp/kubeconfig &
python examples/plain_client.py --kubeconfig /tmp/kubeconfig
"""

import argparse

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from fastcore import CircuitBreaker, TokenBucket, TTLCache, covers

DESIRED = {"metadata": {"name": "settings", "labels": {"app": "example"}}, "data": {"LEVEL": "info"}}


class Settings:
    """Reads ConfigMaps at most once in ten seconds each, and writes only what differs."""

    def __init__(self, api: client.CoreV1Api) -> None:
        self._api = api
        self._cache: TTLCache[tuple[str, str], dict] = TTLCache(maxsize=1000, ttl=10.0)
        self._bucket = TokenBucket(rate=20, burst=40)
        # A missing object is an answer, not a failure of the server.
        self._breaker = CircuitBreaker("kube-apiserver", failure_threshold=5, open_for=15.0, exclude=(ApiException,))
        self.requests = 0

    def read(self, namespace: str, name: str) -> dict:
        """The ConfigMap; {} if there is none."""
        return self._cache.get_or_load((namespace, name), lambda: self._fetch(namespace, name))

    def ensure(self, namespace: str, desired: dict) -> bool:
        """Make the live object satisfy `desired`; whether a write was needed."""
        name = desired["metadata"]["name"]
        live = self.read(namespace, name)
        if covers(live, desired):
            return False
        if live:
            self._call(self._api.patch_namespaced_config_map, name, namespace, desired)
        else:
            self._call(self._api.create_namespaced_config_map, namespace, desired)
        self._cache.invalidate((namespace, name))
        return True

    def _fetch(self, namespace: str, name: str) -> dict:
        try:
            found = self._call(self._api.read_namespaced_config_map, name, namespace)
        except ApiException as error:
            if error.status == 404:
                return {}
            raise
        return self._api.api_client.sanitize_for_serialization(found)

    def _call(self, function, *arguments):
        self._bucket.wait(timeout=5.0)
        self.requests += 1
        return self._breaker.call(function, *arguments)


def main() -> None:
    """Ensure one ConfigMap a hundred times: three requests in all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig")
    config.load_kube_config(parser.parse_args().kubeconfig)
    with client.ApiClient() as connection:
        settings = Settings(client.CoreV1Api(connection))
        writes = sum(settings.ensure("default", DESIRED) for _ in range(100))
        print(f"100 calls, {writes} write, {settings.requests} requests")


if __name__ == "__main__":
    main()
